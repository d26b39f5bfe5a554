// Command conformance runs Kubernetes' own end-to-end tests twice, on the
// remote cluster itself and on a local cluster whose only schedulable node is
// AK's, and compares.
//
//	e2e.test ─► remote API server ──────────────────────────────┐
//	                                                            ├─► remote kubelet
//	e2e.test ─► local API server ◄─ akd ─► remote API server ───┘
//
// A spec that fails on the remote cluster itself says nothing about AK. A spec
// that passes there must pass through AK as well. The only exceptions are the
// few in exceptions.yaml, which no pod can pass if another cluster runs it.
//
// The package owns the choice of specs, the runs and the comparison. It runs
// clusters, akd, ginkgo and e2e.test as programs, and imports none of AK's
// packages.
package main
