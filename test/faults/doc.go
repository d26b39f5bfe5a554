// Package faults lets faults happen to two real clusters and to akd between them,
// under churn, and judges from outside whether a pod was lost, doubled or falsely
// ended, and whether a volume was lost, mixed up, or written by two pods at once.
//
// It owns the kinds of faults, the churn, the recorder and its judgment, and the
// report. How clusters and akd start, end and break is in test/e2e/env. It must not
// believe akd: what it judges by comes from both API servers, over connections that
// no fault of the link touches, and from their audit logs.
//
//	seed ──► choices ──► a kind of fault, its length, what users do meanwhile
//	                                   │
//	  field ── churn ──► local API server ◄── akd, akd ──► link ──► remote API server
//	                        │ recorder                                  │ recorder
//	                        └────────► history of pairs ◄───────────────┘
//	                                   │
//	               both agree again ──► verdict ──► journal ──► report
//
// A fault is over when both clusters agree again, and a pod that was created after
// it has run. Only then are the pods judged, since what is true of two clusters at
// every moment is little.
//
// Pods with claims write to them, each as the only one, and mark them: a pod that finds the
// marker of another claim, or none where one was, and one that meets another writer, say so
// in their termination messages. The recorder of the remote cluster hears them.
//
// Files without the build tag e2e only compute, and their tests need no cluster.
//
//	make faults N=1000            # hours; an interrupted run goes on with RESUME=1
//	make faults CLAIMS=false      # without storage
//	make faults N=1000 SEED=7     # makes the choices of another run again
//	make faults N=25              # in minutes: up to five at once, each in another place
package faults
