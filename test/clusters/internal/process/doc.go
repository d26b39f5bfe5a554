// Package process starts, recognises and ends the programs of a run.
//
// It owns the records in the run folder that say which process is which, and
// the trampoline that puts a program into its network namespace, mount
// namespace and control groups before the program's first instruction. It must
// not depend on the purpose of the programs, nor create namespaces or control
// groups.
//
//	Start(Spec) ──fork──► clusters __enter NAME.json
//	     │                     │  joins cgroup, netns, mounts
//	     │                     ▼
//	     └─ NAME.pid      execve(program): same pid, same start time
//
// A process is identified by its pid and its start time, so that a process that
// later got the same pid is never signaled.
package process
