package storage

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

// The states of a volume, in the words of kubectl actual volumes.
const (
	StateBound   = "bound"   // the remote claim has its storage
	StateWaiting = "waiting" // it does not yet
	StateKept    = "kept"    // the local claim is gone, and the data is to be retained
	StateLost    = "lost"    // the remote claim is gone
	StateOrphan  = "orphan"  // the local volume is gone, and the data is there
)

// CountStates counts the volumes of the node by state. It does not count those that are being
// deleted.
func (v *Volumes) CountStates() map[string]int {
	counts := map[string]int{}
	known := v.keysOf(v.claims.All(), v.Opener.Namespaces.All(), func(local string) bool { return local != "" })
	for _, key := range known {
		o := v.local(key)
		if o.namespace = v.Opener.Get(key.Namespace); o.namespace != nil {
			o.Remote = o.namespace.Claims.Get(o.namespace.Name, key.Name)
		} else if o.Volume != nil {
			continue // not read yet, or unreachable
		}
		if state := v.state(&o); state != "" {
			counts[state]++
		}
	}
	return counts
}

func (v *Volumes) state(o *one) string {
	switch v.Mapper.NextVolume(o.VolumeState) { //nolint:exhaustive // the others lead to these, or to the end
	case translate.VolumeKeep:
		return StateKept
	case translate.VolumeLost:
		return StateLost
	case translate.VolumeOrphan:
		return StateOrphan
	case translate.VolumeCreateRemote:
		return StateWaiting
	case translate.VolumeWait:
		if o.Volume == nil {
			return StateWaiting
		}
	case translate.VolumeMirror, translate.VolumeCommit, translate.VolumeEnding, translate.VolumeCreate:
		if o.Remote.Status.Phase == corev1.ClaimBound {
			return StateBound
		}
		return StateWaiting
	}
	return ""
}
