package storage

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/internal/volume"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

// CountStates counts the volumes of the node by their states in package volume. It does not
// count those that are being deleted, nor those whose remote claim akd cannot read now: what is
// unknown is not lost.
func (v *Volumes) CountStates() map[string]int {
	counts := map[string]int{}
	for _, key := range v.keysOf(v.claims.All(), v.volumes.All(), v.Opener.Namespaces.All()) {
		o := v.local(key)
		if o.namespace = v.Opener.Get(key.Namespace); o.namespace != nil && o.namespace.Claims.Refusal() == nil {
			o.Remote = o.namespace.Claims.Get(o.namespace.Name, key.Name)
		} else if o.Volume != nil {
			continue // not read yet, refused, or unreachable
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
		return volume.StateKept
	case translate.VolumeLost:
		return volume.StateLost
	case translate.VolumeOrphan:
		return volume.StateOrphan
	case translate.VolumeCreateRemote:
		return volume.StateWaiting
	case translate.VolumeWait:
		if o.Volume == nil {
			return volume.StateWaiting
		}
	case translate.VolumeMirror, translate.VolumeCommit, translate.VolumeEnding, translate.VolumeCreate:
		if o.Remote.Status.Phase == corev1.ClaimBound {
			return volume.StateBound
		}
		return volume.StateWaiting
	}
	return ""
}
