// Package scenario plays scripts against akd's loops, between two fake API
// servers and in fake time.
//
// It owns the language of the scripts (script.go, volumes.go), the few behaviours of
// a real API server that the lifecycle depends on (server.go; storage.go for versions,
// watches and their lag; claims.go for claims and volumes), Kubernetes' controllers of
// claims (binder.go, provisioner.go), the akds and how each reaches the servers
// (process.go), and histories that are generated, explored and judged (generate.go,
// explore.go, judge.go, rest.go). Only tests import it; it must not access a real
// cluster.
//
//	testdata/scenarios/*.txtar ──▶ Play ──▶ fake local server ◀──▶ podsync ◀──▶ fake remote server
//	                                 └── show, writes ──▶ the archive's want section
package scenario
