// Package env is the environment of the end-to-end tests: two real clusters,
// akd processes between them, and what tests use to act on both and to wait.
//
// It owns everything that starts and ends: the clusters of test/clusters, akd
// and kubectl processes, namespaces, tenants, installed nodes, certificates
// and tokens. Each function that starts something registers its end with
// t.Cleanup. What a test is about stays in the test: env contains no
// expectation about akd but that it starts, becomes ready and ends. It must
// not reach into akd, and sees both API servers, akd's metrics, exit code and
// log, as an operator does.
//
//	Up ──► Env ──┬── Kubectl, Actual, Apply ──► programs that users run
//	             ├── Local, Remote ───────────► client-go, as administrators
//	             ├── StartAKD ────────────────► AKD     (a process in the local cluster's network)
//	             ├── InstallTenant ───────────► Tenant  (a node's rights in the remote cluster)
//	             ├── InstallNode ─────────────► Node    (a node's rights in both)
//	             ├── StartStorage, … ─────────► a node with storage
//	             ├── LoadWriter ──────────────► an image that finds a second writer of a volume
//	             ├── Claim ───────────────────► Claim, Volume (waits for what becomes of both)
//	             ├── Administrator, … ────────► Caller  (of akd's kubelet API)
//	             └── Pod ─────────────────────► Pod     (waits for what becomes of one pod)
//
// Eventually waits for a condition; nothing sleeps.
//
// All but this file carries the build tag e2e: entering network namespaces
// needs Linux, and nothing else needs this package.
//
// sigs.k8s.io/e2e-framework offers the same outline (environment, features,
// conditions). It is not used: its providers start clusters by kind and others
// that need Docker, its clients are controller-runtime's, which this
// repository does without, and what remains is Eventually.
package env
