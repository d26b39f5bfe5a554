// Command conformance runs Kubernetes' own end-to-end tests twice, on the
// remote cluster itself and on a local cluster whose only schedulable node is
// AK's, and compares.
//
//	e2e.test ─► remote API server ──────────────────────────────┐
//	                                                            ├─► remote kubelet
//	e2e.test ─► local API server ◄─ akd ─► remote API server ───┘
//
// What fails on the remote cluster itself is not AK's. What passes there has to
// pass through AK as well, but for the few specs in exceptions.yaml, which
// cannot hold for any pod that another cluster runs.
//
// It owns the choice of specs, the runs and the comparison. It knows clusters,
// akd, ginkgo and e2e.test as programs, and nothing of AK's packages.
package main
