// Package mirror keeps remote copies of local objects in sync: of the ConfigMaps
// and Secrets that pods refer to, and of Services with their EndpointSlices.
//
// It owns which local objects are watched, the comparison before each write, and
// who waits for a copy. It must not decide what a copy looks like (translate
// does), nor write but through cluster.
//
//	pods ──Use──▶ Watcher ──Observe──▶ Referenced ─┐
//	local Services, EndpointSlices ──▶ Services ───┴─ syncer ──▶ remote copies
package mirror
