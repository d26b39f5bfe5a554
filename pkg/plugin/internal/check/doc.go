// Package check examines two clusters and a node, and says how to fix what is
// wrong: kubectl actual check.
//
// A Check is a named value with a function from the Subject to a Finding. Run
// makes a list of them in order, each after those that it needs, and skips the ones whose
// needs failed. The check node-installed finds the Node that all later checks
// examine; no other check changes the Subject. docs/checks.md has a section for
// every check.
//
//	All, Early: Clusters, Rights, Confinement, Node, Pods, Storage
//	     │
//	     ▼             ┌─ a need did not pass ─→ skipped ─┐
//	    Run ── Check ──┤                                  ├─→ Result ─→ text, CheckList
//	                   └─ examine(Subject) ─→ Finding ────┘
//
// Checks read, review rights and ask for dry runs. One of them, the probe, runs a
// pod, and can be left out. The package must not import install's commands: what
// they share is in kubeclient and rights.
package check
