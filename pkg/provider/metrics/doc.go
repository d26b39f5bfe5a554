// Package metrics is what akd tells about itself: Prometheus metrics, and the
// HTTP server for them and for the probes.
//
// It owns the metrics' names and labels, the registry, and the paths /metrics,
// /healthz, /readyz and /debug/pprof/. It must not touch clusters or caches:
// the loops count through its methods, and what is counted when somebody asks
// comes through functions. No label holds a name of a pod or a namespace, so
// the number of series is bounded whatever users do.
//
//	controller ─ ObserveReconcile ─┐
//	workqueue  ─ Queues ───────────┤             ┌─ GET /metrics
//	tokens     ─ CountTokenRenewal ┼→ Metrics ───┤  GET /healthz, /readyz ← Checks
//	rest.Config ─ Transport ───────┤  (registry) └─ GET /debug/pprof/, with Profiling
//	caches     ─ Count… functions ─┘                        Server
//
// docs/metrics.md lists all metrics and is made by go generate.
package metrics

//go:generate go test -run ^TestReference$ -update .
