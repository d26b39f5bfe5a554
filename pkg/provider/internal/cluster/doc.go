// Package cluster reads and writes the two API servers: no other room does.
//
// Local and Remote share no write, so that none can go to the wrong cluster:
// Local cannot create a pod, Remote cannot set a status. Their methods are the
// rights that manifests/ grants; a new one fails the audits in test/e2e until it
// is in their lists, with a reason.
//
// It owns requests, their errors' words, preconditions and selectors. It must
// not decide what is written, nor when.
//
//	store.ListWatch ◀── Local ──▶ the cluster where users create pods
//	                 \  Remote ─▶ the cluster where the containers run
//	                  ▲
//	namespaces, mirror, podsecret, podsync, node
package cluster
