package storage

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/failure"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
)

// remoteName is a remote claim as a person names it.
type remoteName struct{ namespace, name string }

func (r remoteName) String() string { return contract.VolumeHandle(r.namespace, r.name) }

// parseName reads the argument NAMESPACE/CLAIM of a command.
func parseName(command string, args []string) (remoteName, error) {
	if len(args) != 1 {
		return remoteName{}, failure.Usagef("give one remote claim: %s NAMESPACE/CLAIM", command)
	}
	namespace, claim, ok := contract.ParseVolumeHandle(args[0])
	if !ok || len(validation.IsDNS1123Label(namespace)) > 0 || len(validation.IsDNS1123Subdomain(claim)) > 0 {
		err := failure.Usagef("%q is not the name of a remote claim: want NAMESPACE/CLAIM", args[0])
		return remoteName{}, failure.Hintf(err, "it is a claim of the remote cluster, such as vk-ak-example-d05fe343c4951ecb/pvc-0a1b…")
	}
	return remoteName{namespace, claim}, nil
}

// target is a remote claim that is proved to be of a node of the local cluster.
type target struct {
	remoteName

	node  string
	local string // the local namespace
	claim *corev1.PersistentVolumeClaim
}

// findTarget reads a remote claim and proves whose it is. claim is nil if it is gone.
func findTarget(ctx context.Context, both kubeclient.Clusters, at remoteName) (*target, error) {
	namespace, err := both.Remote.Client.CoreV1().Namespaces().Get(ctx, at.namespace, metav1.GetOptions{})
	if err != nil {
		err = fmt.Errorf("get the remote namespace %s: %w", at.namespace, err)
		return nil, failure.Hintf(err, "list the volumes and their remote claims: %s", both.Commands().Actual("volumes"))
	}
	if err := refuseForeign(both, namespace); err != nil {
		return nil, err
	}
	t := &target{remoteName: at, node: namespace.Labels[contract.LabelNodeName], local: namespace.Labels[contract.LabelNamespace]}
	if err := both.Owner(t.node).OwnsNamespace(namespace, t.local); err != nil {
		return nil, err
	}
	claim, err := both.Remote.Client.CoreV1().PersistentVolumeClaims(at.namespace).Get(ctx, at.name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return t, nil
	}
	if err != nil {
		return nil, fmt.Errorf("get the remote claim %s: %w", at, err)
	}
	t.claim = claim
	return t, proveClaim(both, namespace, claim)
}

// missing is the error that the remote claim does not exist.
func (t *target) missing(commands kubeclient.Commands) error {
	err := fmt.Errorf("there is no remote claim %s", t.remoteName)
	return failure.Hintf(err, "list the volumes and their remote claims: %s", commands.Actual("volumes"))
}

// users returns the local claims that name the volume of the remote claim, or for which
// akd has made it.
func (t *target) users(ctx context.Context, local *kubeclient.Cluster) ([]corev1.PersistentVolumeClaim, error) {
	list, err := local.Client.CoreV1().PersistentVolumeClaims(t.local).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list the local claims of %s: %w", t.local, err)
	}
	var users []corev1.PersistentVolumeClaim
	for i := range list.Items {
		claim := &list.Items[i]
		if claim.Spec.VolumeName == t.name || claim.Spec.VolumeName == "" && claim.UID == contract.ClaimUID(t.name) {
			users = append(users, *claim)
		}
	}
	return users, nil
}

// commit marks the remote claim as one that a local volume leads to.
func (t *target) commit(ctx context.Context, remote *kubeclient.Cluster, pv *corev1.PersistentVolume, name string) error {
	annotations := map[string]any{contract.AnnotationVolume: string(pv.UID)}
	if name != "" {
		annotations[contract.AnnotationClaim] = name
	}
	patch, err := patchOf(t.claim.UID, annotations, nil)
	if err != nil {
		return err
	}
	_, err = remote.Client.CoreV1().PersistentVolumeClaims(t.namespace).Patch(ctx, t.name, types.MergePatchType, patch,
		metav1.PatchOptions{FieldManager: kubeclient.FieldManager})
	if err != nil {
		return fmt.Errorf("mark the remote claim %s as used: %w", t.remoteName, err)
	}
	return nil
}

// patchOf returns the merge patch of the object with that UID, and of no other one.
func patchOf(uid types.UID, annotations, spec map[string]any) ([]byte, error) {
	metadata := map[string]any{"uid": string(uid)}
	if annotations != nil {
		metadata["annotations"] = annotations
	}
	patch := map[string]any{"metadata": metadata}
	if spec != nil {
		patch["spec"] = spec
	}
	return json.Marshal(patch)
}

// joined are the names of pods, as the end of a sentence.
func joined(pods []RemotePod) string {
	names := make([]string, 0, len(pods))
	for _, pod := range pods {
		names = append(names, pod.Name)
	}
	return strings.Join(names, ", ")
}
