// Package cli is the command clusters: its flags, its output, its exit codes.
//
// It owns what users type and read. It must not touch processes, namespaces or
// API servers itself; package lab does.
//
//	0  done
//	1  it went wrong: the error, and the end of the log of what failed
//	2  the user can mend it: one sentence says how
package cli
