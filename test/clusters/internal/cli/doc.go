// Package cli is the command clusters: its flags, its output, its exit codes.
//
// It owns what users type and read. It must not touch processes, namespaces or
// API servers: package lab does.
//
//	0  success
//	1  failure: the error, and the end of the log of the component that failed
//	2  a mistake that the user can fix: the error says how
package cli
