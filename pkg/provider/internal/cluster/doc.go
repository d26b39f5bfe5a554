// Package cluster reads and writes the two API servers. Of the packages beside
// it, only credential uses a client of its own.
//
// Local and Remote have no write in common, so no write can go to the wrong
// cluster: Local cannot create a pod, and Remote cannot set a status. Their
// methods correspond to the permissions that manifests/ grants. A new method
// fails the audits in test/e2e until it is in their lists, with a reason.
//
// It owns requests, the text of their errors, preconditions and selectors. It
// must not decide which objects are written, nor when.
//
//	store.ListWatch ◀── Local ──▶ the cluster where users create pods
//	                 \  Remote ─▶ the cluster where the containers run
//	                  ▲
//	namespaces, mirror, podsecret, podsync, node
package cluster
