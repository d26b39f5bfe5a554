// Package storage knows the volumes of a local cluster whose data is in a remote one: it
// reads them for kubectl actual where, status and check, and has the command volumes.
//
// A volume is a local PersistentVolume, the local claim that is bound to it, and the
// remote claim with its data; pkg/internal/volume knows their shape. What the local
// cluster says is enough to find the data. Whether the data is still there, and which
// remote claims no volume leads to, only the remote cluster says.
//
//	local PersistentVolumes and claims ──┐
//	                                     ├→ List, OfClaim ─→ Volume ─→ volumes, where, status, check
//	remote claims, if the user named it ─┘                     │
//	                                                           └→ import, adopt, delete
//
// That a remote claim is gone is believed of an answer about that claim alone, from the
// cluster that the volume names. Only import, adopt and delete write. They first prove
// whose the remote claim is, and every change of theirs is for one UID.
package storage
