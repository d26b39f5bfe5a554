// Package failure tells how a command failed: which exit code it ends with, and
// what its user does next.
//
// An error says what went wrong. What to do about it is a hint, kept apart from
// the error, so that neither becomes part of the other when errors are wrapped.
//
//	kubeclient, install, check ─→ Usagef, Unhealthyf, Hintf ─→ plugin.Main: exit code, "error:", "hint:"
package failure
