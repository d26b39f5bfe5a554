package storage

import (
	"strings"

	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/output"
)

// LocationList returns volumes as where shows them. withRemote adds what the remote
// cluster says.
func LocationList(volumes []Volume, withRemote bool) *output.List {
	list := &output.List{
		Kind:   "ClaimLocationList",
		Items:  volumes,
		Head:   []string{"NAMESPACE", "CLAIM", "STATE", "NODE", "REMOTE NAMESPACE", "REMOTE CLAIM"},
		Narrow: 6,
	}
	if withRemote {
		list.Head = append(list.Head, "REMOTE PHASE", "REMOTE VOLUME", "REMOTE PODS", "REMOTE NODES")
		list.Narrow = len(list.Head)
	}
	list.Head = append(list.Head, "REASON", "REMOTE UID")
	for i := range volumes {
		v := &volumes[i]
		namespace := v.RemoteNamespace
		switch {
		case !v.Actual:
			namespace = "not in a remote cluster"
		case namespace == "":
			namespace = "<unknown>"
		default:
			list.Names = append(list.Names, v.handle())
		}
		row := []string{v.Namespace, v.Claim, string(v.State), v.Node, namespace, v.RemoteClaim}
		if withRemote {
			pods, nodes := v.users()
			row = append(row, v.RemotePhase, v.RemoteVolume, pods, nodes)
		}
		list.Rows = append(list.Rows, append(row, v.Reason, v.RemoteUID))
	}
	return list
}

// users are the remote pods that use the volume, and their nodes.
func (v *Volume) users() (pods, nodes string) {
	var names, places []string
	seen := map[string]bool{"": true}
	for _, pod := range v.RemotePods {
		names = append(names, pod.Name)
		if !seen[pod.Node] {
			seen[pod.Node] = true
			places = append(places, pod.Node)
		}
	}
	return strings.Join(names, ","), strings.Join(places, ",")
}

// volumeList returns volumes as the command volumes shows them.
func volumeList(volumes []Volume) *output.List {
	list := &output.List{
		Kind:  "VolumeList",
		Items: volumes,
		Head: []string{
			"NAMESPACE", "CLAIM", "STATE", "SIZE", "CLASS", "NODE", "REMOTE CLAIM",
			"REASON", "REMOTE CLASS", "REMOTE VOLUME", "VOLUME",
		},
		Narrow: 7,
	}
	for i := range volumes {
		v := &volumes[i]
		place := ""
		if v.RemoteNamespace != "" {
			place = v.handle()
			list.Names = append(list.Names, place)
		}
		list.Rows = append(list.Rows, []string{
			v.Namespace,
			v.Claim,
			string(v.State),
			v.Capacity,
			v.Class,
			v.Node,
			place,
			v.Reason,
			v.RemoteClass,
			v.RemoteVolume,
			v.Volume,
		})
	}
	return list
}
