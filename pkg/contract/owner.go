package contract

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Owner identifies the owner of a remote object: a node of a local cluster. An
// object with the name of the node but the UID of another cluster belongs to
// someone else.
type Owner struct {
	// Node is the name of the virtual node; see CheckNodeName.
	Node string
	// ClusterUID is the UID of the local kube-system namespace.
	ClusterUID types.UID
}

// OwnsNamespace returns nil if a remote namespace serves the given local
// namespace of this node and cluster. Otherwise the error gives the reason in one
// sentence. The hash in the name is no proof: two local names may have the same
// hash, and two clusters may have nodes of the same name.
func (o Owner) OwnsNamespace(remote *corev1.Namespace, local string) error {
	node, namespace := remote.Labels[LabelNodeName], remote.Labels[LabelNamespace]
	cluster := remote.Labels[LabelClusterUID]
	switch {
	case node == "" && namespace == "":
		return fmt.Errorf("remote namespace %s exists, but akd did not make it: delete it, or give the node another name", remote.Name)
	case !IsRemoteNamespace(remote.Name, o.Node, local):
		return fmt.Errorf("remote namespace %s is not the one of local namespace %q on node %s, which is %s",
			remote.Name, local, o.Node, RemoteNamespace(o.Node, local))
	case node != o.Node:
		return fmt.Errorf("remote namespace %s belongs to node %q, not to %s: give this node another name", remote.Name, node, o.Node)
	case namespace != local:
		return fmt.Errorf("remote namespace %s serves local namespace %q, not %q", remote.Name, namespace, local)
	case cluster != string(o.ClusterUID):
		return fmt.Errorf("remote namespace %s belongs to another local cluster (%s: %q, this one is %q): give this node another name",
			remote.Name, LabelClusterUID, cluster, o.ClusterUID)
	}
	return nil
}

// ServesAnother reports whether a remote namespace serves a local namespace of this
// node and cluster other than the given one, whose name has the same hash.
func (o Owner) ServesAnother(remote *corev1.Namespace, local string) bool {
	serves := remote.Labels[LabelNamespace]
	return serves != local && o.OwnsNamespace(remote, serves) == nil
}

// ForeignRecords returns, in order, the keys of a node's record (see RecordName) that
// cannot be the node's: names that do not follow from the local namespaces that they
// are said to serve. akd writes no such key.
func (o Owner) ForeignRecords(record map[string]string) []string {
	var foreign []string
	for remote, local := range record {
		if !IsRemoteNamespace(remote, o.Node, local) {
			foreign = append(foreign, remote)
		}
	}
	slices.Sort(foreign)
	return foreign
}

// OwnsPod returns nil if akd created the remote pod for some local pod of the
// given namespace. Otherwise the error gives the reason in one sentence.
func (o Owner) OwnsPod(remote *corev1.Pod, namespace string) error {
	switch {
	case remote.Labels[LabelUID] == "" || remote.Labels[LabelNodeName] != o.Node || remote.Labels[LabelClusterUID] != string(o.ClusterUID):
		return fmt.Errorf("remote pod %s/%s exists, but akd on node %s did not make it: delete or rename it",
			remote.Namespace, remote.Name, o.Node)
	case remote.Labels[LabelNamespace] != namespace || !IsRemoteNamespace(remote.Namespace, o.Node, namespace):
		return fmt.Errorf("remote pod %s/%s is not of local namespace %s, but of %q: delete or rename it",
			remote.Namespace, remote.Name, namespace, remote.Labels[LabelNamespace])
	}
	return nil
}

// OwnsPodFor reports whether the remote pod was created for exactly this local
// pod.
func (o Owner) OwnsPodFor(remote, local *corev1.Pod) bool {
	return remote != nil && local != nil && remote.Name == local.Name &&
		remote.Labels[LabelUID] == string(local.UID) && o.OwnsPod(remote, local.Namespace) == nil
}

// ObjectLabels returns the labels of every remote object of the node: they select
// what belongs to it.
func (o Owner) ObjectLabels() map[string]string {
	return map[string]string{LabelNodeName: o.Node, LabelClusterUID: string(o.ClusterUID)}
}

// NamespaceLabels returns the labels of the objects that akd creates for a local
// namespace.
func (o Owner) NamespaceLabels(namespace string) map[string]string {
	labels := o.ObjectLabels()
	labels[LabelNamespace] = namespace
	return labels
}

// Labels returns the labels of a remote object created from a local one.
func (o Owner) Labels(namespace string, uid types.UID) map[string]string {
	labels := o.NamespaceLabels(namespace)
	labels[LabelUID] = string(uid)
	return labels
}
