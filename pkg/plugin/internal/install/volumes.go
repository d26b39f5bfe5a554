package install

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/internal/volume"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/failure"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
)

// volumes are the PersistentVolumeClaims in remote namespaces of a node, whoever made them:
// with their namespaces their data would be gone for good.
type volumes struct {
	claims     int
	size       resource.Quantity // what they have or, before they have it, ask for
	namespaces []string
}

// add adds the claims of a namespace.
func (v *volumes) add(namespace string, claims []corev1.PersistentVolumeClaim) {
	if len(claims) == 0 {
		return
	}
	v.claims += len(claims)
	v.namespaces = append(v.namespaces, namespace)
	for n := range claims {
		size, has := claims[n].Status.Capacity[corev1.ResourceStorage]
		if !has {
			size = claims[n].Spec.Resources.Requests[corev1.ResourceStorage]
		}
		v.size.Add(size)
	}
}

// String is their number and size, and where they are.
func (v *volumes) String() string {
	const most = 10
	number, places := fmt.Sprintf("%d volumes", v.claims), "remote namespaces"
	if v.claims == 1 {
		number = "1 volume"
	}
	if len(v.namespaces) == 1 {
		places = "remote namespace"
	}
	text := fmt.Sprintf("%s, %s, in %s %s", number, v.size.String(), places, strings.Join(v.namespaces[:min(len(v.namespaces), most)], ", "))
	if more := len(v.namespaces) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// refusal says what the node holds, and what its user can do about it.
func (v *volumes) refusal(node string) error {
	return fmt.Errorf("node %s holds %s: delete their claims, keep them with --keep-volumes, or give up the data with --delete-volumes",
		node, v)
}

// findVolumes looks for claims in all remote namespaces of a node. An error is not an empty
// list.
func findVolumes(ctx context.Context, remote *kubeclient.Cluster, owner contract.Owner) (*volumes, error) {
	options := metav1.ListOptions{LabelSelector: labels.Set(owner.ObjectLabels()).String()}
	namespaces, err := remote.Client.CoreV1().Namespaces().List(ctx, options)
	if err != nil {
		return nil, fmt.Errorf("list the node's remote namespaces: %w", err)
	}
	found := &volumes{}
	for n := range namespaces.Items {
		claims, err := claimsIn(ctx, remote, namespaces.Items[n].Name)
		if err != nil {
			return nil, err
		}
		found.add(namespaces.Items[n].Name, claims)
	}
	return found, nil
}

func claimsIn(ctx context.Context, c *kubeclient.Cluster, namespace string) ([]corev1.PersistentVolumeClaim, error) {
	claims, err := c.Client.CoreV1().PersistentVolumeClaims(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		err = fmt.Errorf("list the claims in %s namespace %s: %w", c.Side, namespace, err)
		return nil, failure.Hintf(err, "a namespace is deleted only if it is known that it holds no volumes, or with --delete-volumes")
	}
	return claims.Items, nil
}

// checkVolumes refuses, before anything is deleted, to give up volumes without being told to.
func (o *uninstallOptions) checkVolumes(ctx context.Context, remote *kubeclient.Cluster, who contract.Owner) error {
	if remote == nil || o.keepVolumes || o.deleteVolumes {
		return nil
	}
	found, err := findVolumes(ctx, remote, who)
	if err != nil || found.claims == 0 {
		return err
	}
	return found.refusal(o.node)
}

// removeNamespace deletes one of the node's namespaces, unless it holds volumes: those are
// looked for directly before, because somebody else than akd can make a claim at any time.
// It reports whether the namespace stays and, if so, whether all is gone from it that is to go.
func (u *uninstaller) removeNamespace(
	ctx context.Context, remote *kubeclient.Cluster, namespace *corev1.Namespace,
) (stays, done bool, err error) {
	if namespace.DeletionTimestamp != nil {
		return false, false, nil
	}
	if !u.deleteVolumes {
		claims, err := claimsIn(ctx, remote, namespace.Name)
		if err != nil {
			return false, false, err
		}
		u.kept.add(namespace.Name, claims)
		switch {
		case len(claims) > 0 && !u.keepVolumes:
			return false, false, u.kept.refusal(u.owner.Node)
		case len(claims) > 0:
			left, err := u.empty(ctx, remote, namespace.Name)
			return true, left == 0, err
		}
	}
	err = settled(func() error {
		return remote.Client.CoreV1().Namespaces().Delete(ctx, namespace.Name, kubeclient.Exactly(namespace))
	})
	if err := u.count(err); err != nil {
		return false, false, fmt.Errorf("delete remote namespace %s: %w", namespace.Name, err)
	}
	return false, false, nil
}

// empty deletes what akd made in a namespace that stays, except the claims, and reports how
// many objects were there. The namespace keeps its labels: by them, the node has its name in
// the remote cluster, and finds the namespace again.
func (u *uninstaller) empty(ctx context.Context, remote *kubeclient.Cluster, namespace string) (left int, err error) {
	for _, kind := range takenKinds() {
		if kind.Kind == claimKind {
			continue
		}
		mapping, err := remote.Mapper.RESTMapping(kind)
		if err != nil {
			return 0, fmt.Errorf("remote cluster: find %s: %w", kind.Kind, err)
		}
		client := remote.Dynamic.Resource(mapping.Resource).Namespace(namespace)
		list, err := client.List(ctx, metav1.ListOptions{LabelSelector: u.selector()})
		if err != nil {
			return 0, fmt.Errorf("list %s in remote namespace %s: %w", mapping.Resource.Resource, namespace, err)
		}
		left += len(list.Items)
		for n := range list.Items {
			object := &list.Items[n]
			if object.GetDeletionTimestamp() != nil {
				continue
			}
			if err := u.count(deleteExactly(ctx, client, object)); err != nil {
				return 0, fmt.Errorf("delete remote %s: %w", kubeclient.Title(object), err)
			}
		}
	}
	return left, nil
}

// refuseClaims returns an error if a namespace of whichever side holds claims: those in
// actual-system are nobody's that uninstall knows.
func refuseClaims(ctx context.Context, c *kubeclient.Cluster, namespace string) error {
	claims, err := claimsIn(ctx, c, namespace)
	if err != nil || len(claims) == 0 {
		return err
	}
	return failure.Hintf(fmt.Errorf("%s namespace %s holds %d claims, such as %s: it is not deleted with them",
		c.Side, namespace, len(claims), claims[0].Name), "delete them, then run the same command again")
}

// removeStorage deletes the node's StorageClasses and, if the remote claims were deleted, lets
// go of its PersistentVolumes. It deletes neither volumes nor claims: those are the users'.
func (u *uninstaller) removeStorage(ctx context.Context, local *kubeclient.Cluster) (string, error) {
	before := u.removed
	shared, err := u.removeClasses(ctx, local)
	if err != nil {
		return "", err
	}
	outcome := fmt.Sprintf("%d removed", u.removed-before)
	if len(shared) > 0 {
		outcome += fmt.Sprintf("; StorageClass %s stays, because it is for other nodes, too", strings.Join(shared, ", "))
	}
	if !u.deleteVolumes || u.both.Remote == nil {
		return outcome, nil
	}
	released, err := u.releaseVolumes(ctx, local)
	if released > 0 {
		outcome += fmt.Sprintf("; %d PersistentVolumes have no data any more, delete them and their claims", released)
	}
	return outcome, err
}

// removeClasses deletes the StorageClasses that were made for the node, and returns those
// that stay.
func (u *uninstaller) removeClasses(ctx context.Context, local *kubeclient.Cluster) (shared []string, err error) {
	client := local.Client.StorageV1().StorageClasses()
	classes, err := client.List(ctx, metav1.ListOptions{LabelSelector: contract.LabelNodeName + "=" + u.owner.Node})
	if apierrors.IsForbidden(err) {
		return nil, nil // who may not read them has not installed any
	}
	if err != nil {
		return nil, fmt.Errorf("list the node's StorageClasses: %w", err)
	}
	for n := range classes.Items {
		class := &classes.Items[n]
		if class.Provisioner != contract.StorageDriver {
			continue
		}
		if isForOthers(class, u.owner.Node) {
			shared = append(shared, class.Name)
			continue
		}
		if err := u.count(client.Delete(ctx, class.Name, kubeclient.Exactly(class))); err != nil {
			return nil, fmt.Errorf("delete StorageClass %s: %w", class.Name, err)
		}
	}
	return shared, nil
}

// isForOthers reports whether a local administrator lets other nodes use a class, too.
func isForOthers(class *storagev1.StorageClass, node string) bool {
	return slices.ContainsFunc(class.AllowedTopologies, func(term corev1.TopologySelectorTerm) bool {
		return slices.ContainsFunc(term.MatchLabelExpressions, func(label corev1.TopologySelectorLabelRequirement) bool {
			return label.Key == contract.LabelNodeName && slices.ContainsFunc(label.Values, func(value string) bool { return value != node })
		})
	})
}

// releaseVolumes takes akd's finalizer off the node's local PersistentVolumes whose remote
// claims are gone: nobody else would do it any more. All others stay as they are.
func (u *uninstaller) releaseVolumes(ctx context.Context, local *kubeclient.Cluster) (released int, err error) {
	client := local.Client.CoreV1().PersistentVolumes()
	found, err := client.List(ctx, metav1.ListOptions{LabelSelector: contract.LabelNodeName + "=" + u.owner.Node})
	if err != nil {
		return 0, fmt.Errorf("list the node's PersistentVolumes: %w", err)
	}
	for n := range found.Items {
		pv := &found.Items[n]
		if !volume.IsHeld(pv) {
			continue
		}
		gone, err := u.hasLostClaim(ctx, pv)
		if err != nil {
			return released, err
		}
		if !gone {
			continue
		}
		_, err = client.Patch(ctx, pv.Name, types.StrategicMergePatchType, contract.WithoutRemoteClaim(pv.UID), metav1.PatchOptions{})
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) { // another volume of its name
			return released, fmt.Errorf("take the finalizer %s off PersistentVolume %s: %w", contract.FinalizerRemoteClaim, pv.Name, err)
		}
		released++
	}
	return released, nil
}

// hasLostClaim reports whether the remote cluster itself says that the claim of a volume is
// not there. It cannot say so of a volume that is in another remote cluster.
func (u *uninstaller) hasLostClaim(ctx context.Context, pv *corev1.PersistentVolume) (bool, error) {
	_, place, ours := volume.Of(pv)
	if !ours || place.ClusterUID != u.both.Remote.UID {
		return false, nil
	}
	_, err := u.both.Remote.Client.CoreV1().PersistentVolumeClaims(place.Namespace).Get(ctx, place.Claim, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for remote claim %s: %w", contract.VolumeHandle(place.Namespace, place.Claim), err)
	}
	return false, nil
}
