package storage

import (
	"context"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/internal/volume"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
)

// answer is what the remote cluster says of one claim.
type answer struct {
	// known says that it was asked. Otherwise there is nothing to conclude.
	known bool
	// elsewhere says that it was not asked because the claim is in another cluster.
	elsewhere bool
	// claim is nil if it is known to be gone.
	claim *corev1.PersistentVolumeClaim
}

// remoteClaims are the remote claims of the local cluster's nodes. They are nil if the
// user named no remote cluster.
type remoteClaims struct {
	cluster *kubeclient.Cluster
	// places are the remote namespaces that belong to the nodes, and proved that they do.
	places map[string]*corev1.Namespace
	// claims are those of akd in places, by handle.
	claims map[string]*corev1.PersistentVolumeClaim
}

// remoteOf returns claims that are asked for one by one.
func remoteOf(both kubeclient.Clusters) *remoteClaims {
	if both.Remote == nil {
		return nil
	}
	return &remoteClaims{cluster: both.Remote}
}

// listRemote returns the remote claims of a node, or of all nodes if node is empty.
func listRemote(ctx context.Context, both kubeclient.Clusters, node string) (*remoteClaims, error) {
	r := remoteOf(both)
	if r == nil {
		return nil, nil //nolint:nilnil // documented
	}
	selected := labels.Set{contract.LabelClusterUID: string(both.Local.UID)}
	if node != "" {
		selected[contract.LabelNodeName] = node
	}
	options := metav1.ListOptions{LabelSelector: selected.String()}
	namespaces, err := r.cluster.Client.CoreV1().Namespaces().List(ctx, options)
	if err != nil {
		return nil, fmt.Errorf("list the remote namespaces of akd: %w", err)
	}
	r.places, r.claims = map[string]*corev1.Namespace{}, map[string]*corev1.PersistentVolumeClaim{}
	for i := range namespaces.Items {
		r.places[namespaces.Items[i].Name] = &namespaces.Items[i]
	}
	options.Limit = pageSize
	for {
		page, err := r.cluster.Client.CoreV1().PersistentVolumeClaims(metav1.NamespaceAll).List(ctx, options)
		if err != nil {
			return nil, fmt.Errorf("list the remote claims of akd: %w", err)
		}
		for i := range page.Items {
			claim := &page.Items[i]
			if place := r.places[claim.Namespace]; place != nil && proveClaim(both, place, claim) == nil {
				r.claims[contract.VolumeHandle(claim.Namespace, claim.Name)] = claim
			}
		}
		if options.Continue = page.Continue; options.Continue == "" {
			return r, nil
		}
	}
}

// ask returns what the remote cluster says of the claim of a volume. A claim that was not
// listed is asked for: somebody may have taken its labels off.
func (r *remoteClaims) ask(ctx context.Context, place volume.Remote) (answer, error) {
	switch {
	case r == nil:
		return answer{}, nil
	case place.ClusterUID != r.cluster.UID:
		return answer{elsewhere: true}, nil
	}
	handle := contract.VolumeHandle(place.Namespace, place.Claim)
	if claim := r.claims[handle]; claim != nil {
		return answer{known: true, claim: claim}, nil
	}
	claim, err := r.cluster.Client.CoreV1().PersistentVolumeClaims(place.Namespace).Get(ctx, place.Claim, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return answer{known: true}, nil
	}
	if err != nil {
		return answer{}, fmt.Errorf("get the remote claim %s: %w", handle, err)
	}
	return answer{known: true, claim: claim}, nil
}

// askPending returns what the remote cluster says of the remote claim of a local one
// without PersistentVolume. It can be that akd has not made it yet.
func (r *remoteClaims) askPending(ctx context.Context, claim *corev1.PersistentVolumeClaim) (answer, error) {
	if r == nil || claim.Annotations[volume.AnnotationSelectedNode] == "" {
		return answer{}, nil
	}
	place := placeOf(claim)
	place.ClusterUID = r.cluster.UID
	said, err := r.ask(ctx, place)
	if said.claim == nil {
		return answer{}, err
	}
	return said, err
}

// listed is askPending without another request.
func (r *remoteClaims) listed(claim *corev1.PersistentVolumeClaim) answer {
	if r == nil {
		return answer{}
	}
	place := placeOf(claim)
	found := r.claims[contract.VolumeHandle(place.Namespace, place.Claim)]
	return answer{known: found != nil, claim: found}
}

// others returns the listed claims that belong to none of the given volumes. That no
// PersistentVolume leads to one is asked again: somebody may have taken its label off.
func (r *remoteClaims) others(ctx context.Context, local *kubeclient.Cluster, volumes []Volume) ([]Volume, error) {
	if r == nil {
		return nil, nil
	}
	known := map[string]bool{}
	for i := range volumes {
		known[volumes[i].handle()] = true
	}
	var others []Volume
	for _, handle := range slices.Sorted(maps.Keys(r.claims)) {
		claim := r.claims[handle]
		if known[handle] {
			continue
		}
		pv, err := volumeNamed(ctx, local, claim.Name)
		if err != nil {
			return nil, err
		}
		place := r.places[claim.Namespace]
		if pv == nil || !leadsTo(pv, claim) {
			others = append(others, ofRemote(place.Labels[contract.LabelNodeName], place.Labels[contract.LabelNamespace], claim))
			continue
		}
		bound, err := boundClaim(ctx, local, pv)
		if err != nil {
			return nil, err
		}
		v := ofVolume(pv, bound, answer{known: true, claim: claim})
		v.Node = place.Labels[contract.LabelNodeName]
		others = append(others, v)
	}
	return others, nil
}

// volumeNamed returns a local PersistentVolume, or nil if there is none of that name.
func volumeNamed(ctx context.Context, local *kubeclient.Cluster, name string) (*corev1.PersistentVolume, error) {
	pv, err := local.Client.CoreV1().PersistentVolumes().Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // documented
	}
	if err != nil {
		return nil, fmt.Errorf("get the local PersistentVolume %s: %w", name, err)
	}
	return pv, nil
}

// leadsTo reports whether the data of a local volume is in the namespace and under the
// name of a remote claim.
func leadsTo(pv *corev1.PersistentVolume, claim *corev1.PersistentVolumeClaim) bool {
	_, place, ours := volume.Of(pv)
	return ours && place.Namespace == claim.Namespace && place.Claim == claim.Name
}

// proveClaim returns nil if akd of a node of the local cluster made the remote claim for a
// claim in the local namespace that its own namespace serves. Otherwise the error says what
// speaks against it.
func proveClaim(both kubeclient.Clusters, namespace *corev1.Namespace, claim *corev1.PersistentVolumeClaim) error {
	serves := namespace.Labels[contract.LabelNamespace]
	owner := both.Owner(namespace.Labels[contract.LabelNodeName])
	if err := owner.OwnsNamespace(namespace, serves); err != nil {
		return err
	}
	want := owner.Labels(serves, contract.ClaimUID(claim.Name))
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if want[key] == "" || claim.Labels[key] != want[key] {
			return fmt.Errorf("akd did not make the remote claim %s/%s: its label %s is %q, and not %q",
				claim.Namespace, claim.Name, key, claim.Labels[key], want[key])
		}
	}
	return nil
}

// addPods adds the remote pods that use the claim and have not ended.
func (v *Volume) addPods(ctx context.Context, remote *kubeclient.Cluster) error {
	if remote == nil || v.RemoteUID == "" || v.RemotePhase == "" {
		return nil
	}
	pods, err := podsWith(ctx, remote, v.RemoteNamespace, v.RemoteClaim)
	v.RemotePods = pods
	return err
}

// podsWith returns the pods that use a remote claim and have not ended.
func podsWith(ctx context.Context, remote *kubeclient.Cluster, namespace, claim string) ([]RemotePod, error) {
	list, err := remote.Client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list the remote pods of %s: %w", namespace, err)
	}
	var using []RemotePod
	for i := range list.Items {
		pod := &list.Items[i]
		if pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
			continue
		}
		uses := slices.ContainsFunc(pod.Spec.Volumes, func(v corev1.Volume) bool {
			return v.PersistentVolumeClaim != nil && v.PersistentVolumeClaim.ClaimName == claim
		})
		if uses {
			using = append(using, RemotePod{Name: pod.Name, Node: pod.Spec.NodeName})
		}
	}
	return using, nil
}
