// Package completion completes the words after kubectl actual: kubectl actual
// completion, and what the arguments and flags of all commands can be.
//
// kubectl runs a program of another name to complete a plugin's command line. It
// is this program, or a script that calls it.
//
//	kubectl ─→ kubectl_complete-actual WORDS ─→ Arguments ─→ cobra ─→ suggestions of AddTo
package completion
