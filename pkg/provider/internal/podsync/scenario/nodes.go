package scenario

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/internal/volume"
)

// elsewhere is another virtual node of the local cluster, whose akd is not the one that is
// simulated.
const elsewhere = "elsewhere"

// annotationWanted is on pods that want to be on another node if their claims can be.
const annotationWanted = "example.org/node"

// isElsewhere reports whether a pod is on another node.
func isElsewhere(pod *corev1.Pod) bool { return pod.Spec.NodeName == elsewhere }

// nodeFor is the node for a pod, or an empty string: that of the volumes of its claims, or one
// that all their classes allow.
func (c *fakeServer) nodeFor(pod *corev1.Pod) string {
	node := Node
	if pod.Annotations[annotationWanted] != "" {
		node = pod.Annotations[annotationWanted]
	}
	var must []string
	for _, name := range claimsOf(pod) {
		claim := c.claimNamed(pod.Namespace, name)
		if claim == nil {
			return ""
		}
		of, class := c.volumeNamed(claim.Spec.VolumeName), c.classNamed(claim.Spec.StorageClassName)
		switch {
		case of != nil && of.Labels[contract.LabelNodeName] != "":
			must = append(must, of.Labels[contract.LabelNodeName])
		case of != nil:
		case claim.Annotations[selectedNode] != "":
			must = append(must, claim.Annotations[selectedNode])
		case class != nil && len(nodesOf(class)) == 1:
			must = append(must, nodesOf(class)...)
		}
	}
	if len(must) == 0 {
		return node
	}
	if slices.ContainsFunc(must, func(one string) bool { return one != must[0] }) {
		return ""
	}
	return must[0]
}

// nodesOf are the nodes on which a class has volumes; none for any.
func nodesOf(class *storagev1.StorageClass) []string {
	var nodes []string
	for i := range class.AllowedTopologies {
		for _, requirement := range class.AllowedTopologies[i].MatchLabelExpressions {
			nodes = append(nodes, requirement.Values...)
		}
	}
	return nodes
}

// provideElsewhere is the akd of the other node, as far as the local cluster sees it.
func (c *fakeServer) provideElsewhere() {
	for _, claim := range c.claims() {
		name := contract.VolumeName(claim.UID)
		wanted := claim.Annotations[provisioner] == contract.StorageDriver && claim.Annotations[selectedNode] == elsewhere &&
			claim.Spec.VolumeName == "" && claim.DeletionTimestamp == nil
		if !wanted || c.volumeNamed(name) != nil {
			continue
		}
		_ = c.add(volume.New(volume.Spec{
			Node: elsewhere,
			Remote: volume.Remote{
				Namespace: contract.RemoteNamespace(elsewhere, claim.Namespace), Claim: name, UID: "theirs", ClusterUID: firstCluster,
			},
			Claim: volume.Claim{Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID},
			Class: *claim.Spec.StorageClassName, AccessModes: claim.Spec.AccessModes, Mode: claim.Spec.VolumeMode,
			Capacity: diskFor(sizeOf(&claim.Spec)), Reclaim: corev1.PersistentVolumeReclaimDelete,
		}))
	}
	for _, of := range c.volumes() {
		node, _, ours := volume.Of(of)
		if !ours || node != elsewhere || of.Status.Phase != corev1.VolumeReleased && of.DeletionTimestamp == nil {
			continue
		}
		if volume.IsHeld(of) {
			letGo(&of.ObjectMeta, contract.FinalizerRemoteClaim)
			c.putVolume(of)
		} else if of.DeletionTimestamp == nil {
			_ = c.deleteStored(resourceOf(volumes), "", of.Name)
		}
	}
}

// isHere reports whether the volume of a claim is to be on the node that is simulated, or was,
// as far as its class says that.
func (c *fakeServer) isHere(claim *corev1.PersistentVolumeClaim) bool {
	if selected := claim.Annotations[selectedNode]; selected != "" {
		return selected == Node
	}
	class := c.classNamed(claim.Spec.StorageClassName)
	return class == nil || !isLate(class) && slices.Equal(nodesOf(class), []string{Node})
}
