// Package metrics defines the Prometheus metrics of akd, and the HTTP server for
// metrics and probes.
//
// It owns the names and labels of metrics, the registry, and the paths /metrics,
// /healthz, /readyz and /debug/pprof/. It must not touch clusters or caches:
// others count through its methods, or register functions that return values
// when metrics are read. No label holds the name of a pod or a namespace, so
// that the number of series is bounded whatever users do.
//
//	controller ─ ObserveReconcile ─┐
//	workqueue  ─ Queues ───────────┤             ┌─ GET /metrics
//	tokens     ─ CountTokenRenewal ┼→ Metrics ───┤  GET /healthz, /readyz ← Checks
//	rest.Config ─ Transport ───────┤  (registry) └─ GET /debug/pprof/, with Profiling
//	caches     ─ Count… functions ─┘                        Server
//
// docs/metrics.md lists all metrics; go generate writes it.
package metrics

//go:generate go test -run ^TestReference$ -update .
