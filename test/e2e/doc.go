// Package e2e runs akd between two real clusters and looks at what users see.
//
// It owns the end-to-end tests: what is created, broken and expected. How
// clusters, akd and its callers start and end is in package env, how the
// rights of a credential are found out in package audit. Tests must not reach
// into akd: they see both API servers, akd's metrics, exit code and log, as an
// operator does.
//
//	go test ── clusters up ──► local cluster ◄── akd (a process) ──► remote cluster
//	      └──── client-go, kubectl ──┘                                    │
//	      └───────────────────────── client-go, kubectl ──────────────────┘
//
// The tests need root on Linux and carry the build tag e2e; `make test-e2e`
// builds what they need and runs them. E2E_CLUSTERS_DIR names another run
// folder for the clusters, and -keep leaves them running. Tests that take
// minutes by their nature run with E2E_SLOW=1 only, as make e2e sets it. With
// E2E_TENANT=1, which it sets too, akd has a tenant's credential in the remote
// cluster in all tests, and an administrator's otherwise.
package e2e
