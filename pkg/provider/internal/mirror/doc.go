// Package mirror keeps remote copies of local objects in sync: ConfigMaps and
// Secrets that pods refer to, Services with their EndpointSlices, and
// PodDisruptionBudgets.
//
// It owns the choice of local objects to watch, the comparison before each
// write, and the list of pods that wait for a copy. It must not decide the
// content of a copy (translate does), nor write except through cluster.
//
//	pods ──Use──▶ Watcher ──Observe──▶ Referenced ─┐
//	local Services, EndpointSlices ──▶ Services ───┼─ syncer ──▶ remote copies
//	pods, PodDisruptionBudgets ──────▶ Budgets ────┘
package mirror
