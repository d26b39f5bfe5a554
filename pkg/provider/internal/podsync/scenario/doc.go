// Package scenario plays scripts against akd's loops, between two fake API
// servers and in fake time.
//
// It owns the language of the scripts and the few behaviours of a real API
// server that the lifecycle depends on. Only tests import it; it must not
// access a real cluster.
//
//	testdata/scenarios/*.txtar ──▶ Play ──▶ fake local server ◀──▶ podsync ◀──▶ fake remote server
//	                                 └── show, writes ──▶ the archive's want section
package scenario
