package storage

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/internal/volume"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/command"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/failure"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/output"
)

func newAdopt(env *command.Env) *cobra.Command {
	return &cobra.Command{
		Use:   "adopt PERSISTENTVOLUME --remote-context CONTEXT",
		Short: "Let a lost volume use the remote claim that was restored for it",
		Long: `Let a lost volume use the remote claim that was restored for it.

A volume belongs to one remote claim for life, by its UID. A claim that was restored
from a backup under the same name has another UID: whether it has the data, only a
person knows. The volume gets the annotation actual.vk/adopted-uid, and its pods
start.`,
		Example: `  # Use a remote claim that was restored from a backup
  kubectl actual volumes adopt pvc-7c1d2f84-6b0e-4a55-9d0e-2f6a1b3c4d5e --remote-context=remote`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return failure.Usagef("give one local PersistentVolume: %s PERSISTENTVOLUME", cmd.CommandPath())
			}
			if len(validation.IsDNS1123Subdomain(args[0])) > 0 {
				return failure.Usagef("%q is not the name of a PersistentVolume", args[0])
			}
			both, err := env.Access.Connect(cmd.Context())
			if err != nil {
				return err
			}
			return adopt(cmd.Context(), env.Out(), both, args[0])
		},
	}
}

// adopt lets a volume use the remote claim that has the name of its own one.
func adopt(ctx context.Context, to *output.Console, both kubeclient.Clusters, name string) error {
	pv, place, err := ownVolume(ctx, both, name)
	if err != nil {
		return err
	}
	t, err := findTarget(ctx, both, remoteName{place.Namespace, place.Claim})
	if err != nil {
		return err
	}
	if t.claim == nil {
		return failure.Hintf(fmt.Errorf("there is no remote claim %s", t.remoteName), "restore it under that name, and run this again")
	}
	if err := t.refuseUnusable(both.Commands()); err != nil {
		return err
	}
	former := volume.Adopted(pv)
	if former == t.claim.UID {
		to.Printf("persistentvolume/%s unchanged: its remote claim %s has UID %s\n", name, t.remoteName, former)
		return nil
	}
	patch, err := patchOf(pv.UID, map[string]any{contract.AnnotationAdoptedUID: string(t.claim.UID)}, nil)
	if err != nil {
		return err
	}
	_, err = both.Local.Client.CoreV1().PersistentVolumes().Patch(ctx, name, types.MergePatchType, patch,
		metav1.PatchOptions{FieldManager: kubeclient.FieldManager})
	if err != nil {
		return fmt.Errorf("adopt the remote claim for the local PersistentVolume %s: %w", name, err)
	}
	if err := t.commit(ctx, both.Remote, pv, ""); err != nil {
		return err
	}
	capacity := volume.Size(t.claim)
	to.Printf("persistentvolume/%s adopted the remote claim %s with UID %s, of %s, created at %s; before, it was UID %s\n",
		name, t.remoteName, t.claim.UID, capacity.String(), t.claim.CreationTimestamp.UTC().Format(time.RFC3339), former)
	return nil
}

// ownVolume returns a local PersistentVolume whose data is in the named remote cluster.
func ownVolume(ctx context.Context, both kubeclient.Clusters, name string) (*corev1.PersistentVolume, volume.Remote, error) {
	pv, err := volumeNamed(ctx, both.Local, name)
	if err != nil {
		return nil, volume.Remote{}, err
	}
	if pv == nil {
		err := fmt.Errorf("there is no local PersistentVolume %s", name)
		return nil, volume.Remote{}, failure.Hintf(err, "list the volumes: %s", both.Commands().Actual("volumes", "-o", "wide"))
	}
	_, place, ours := volume.Of(pv)
	switch {
	case !ours:
		return nil, place, fmt.Errorf("the local PersistentVolume %s is storage of the local cluster: its data is not in a remote claim", name)
	case place.ClusterUID != both.Remote.UID:
		err := fmt.Errorf("the data of the local PersistentVolume %s is in another remote cluster, whose kube-system has UID %s",
			name, place.ClusterUID)
		return nil, place, failure.Hintf(err, "name that cluster with --remote-context")
	}
	return pv, place, nil
}
