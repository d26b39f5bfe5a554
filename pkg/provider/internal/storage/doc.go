// Package storage gives claims of the local cluster volumes whose data is in the remote
// cluster: akd is the provisioner and the resizer of driver contract.StorageDriver.
//
// Each local claim has one remote claim, named after the local one's UID, and one local
// PersistentVolume, which Kubernetes itself binds. translate.NextVolume says what to do
// next. This package carries it out, and asks the API servers themselves before it deletes
// anything: what is absent from a cache is no evidence.
//
// It owns the caches of local claims, volumes and classes. It must not write the phase or the
// volume of a claim, which belong to the controllers of Kubernetes, and never deletes a
// remote claim but for a released volume, or one that was never used.
//
//	local claim ─▶ remote claim ─▶ local volume ─▶ commit mark ─▶ pods
//	                (data)          (bound by Kubernetes)
package storage
