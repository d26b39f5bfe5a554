package storage

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/internal/volume"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/command"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/failure"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
)

// deleteOptions are those of kubectl actual volumes delete.
type deleteOptions struct {
	env     *command.Env
	at      remoteName
	yes     bool
	timeout time.Duration
}

func newDelete(env *command.Env) *cobra.Command {
	o := &deleteOptions{env: env}
	cmd := &cobra.Command{
		Use:   "delete NAMESPACE/CLAIM --remote-context CONTEXT",
		Short: "Delete the data of a volume that was kept, or of an orphan",
		Long: `Delete the data of a volume that was kept, or of an orphan: the remote claim and,
if there is one, the local PersistentVolume. NAMESPACE/CLAIM is the remote claim, as
kubectl actual volumes shows it.

It shows what it will delete, and asks. A volume that a local claim or a remote pod
uses is refused: delete these first.`,
		Example: `  # Delete the data of a volume that was kept
  kubectl actual volumes delete --remote-context=remote \
    vk-ak-example-d05fe343c4951ecb/pvc-7c1d2f84-6b0e-4a55-9d0e-2f6a1b3c4d5e`,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if o.at, err = parseName(cmd.CommandPath(), args); err != nil {
				return err
			}
			return o.run(cmd.Context())
		},
	}
	cmd.Flags().BoolVarP(&o.yes, "yes", "y", false, "do not ask")
	cmd.Flags().DurationVar(&o.timeout, "timeout", time.Minute, "how long to wait for the remote claim to be gone")
	return cmd
}

// doomed is what a deletion deletes.
type doomed struct {
	*target

	// pv is nil for an orphan.
	pv *corev1.PersistentVolume
}

func (o *deleteOptions) run(ctx context.Context) error {
	both, err := o.env.Access.Connect(ctx)
	if err != nil {
		return err
	}
	return o.do(ctx, both)
}

func (o *deleteOptions) do(ctx context.Context, both kubeclient.Clusters) error {
	found, err := o.find(ctx, both)
	if err != nil {
		return err
	}
	if !o.yes {
		if err := o.ask(ctx, both, found); err != nil {
			return err
		}
		// A person may take long to answer.
		again, err := o.find(ctx, both)
		if err != nil {
			return err
		}
		if !again.same(found) {
			return errors.New("the volume has changed meanwhile: nothing was deleted")
		}
	}
	if err := o.deleteRemote(ctx, both.Remote, found); err != nil {
		return err
	}
	if err := found.deleteLocal(ctx, both.Local); err != nil {
		return err
	}
	o.env.Out().Printf("remote claim %s deleted\n", o.at)
	return nil
}

// find reads what is to be deleted, and refuses what somebody uses.
func (o *deleteOptions) find(ctx context.Context, both kubeclient.Clusters) (*doomed, error) {
	pv, err := volumeNamed(ctx, both.Local, o.at.name)
	if err != nil {
		return nil, err
	}
	if pv != nil {
		_, place, ours := volume.Of(pv)
		if !ours || place.Namespace != o.at.namespace || place.Claim != o.at.name || place.ClusterUID != both.Remote.UID {
			pv = nil
		}
	}
	t, err := findTarget(ctx, both, o.at)
	if apierrors.IsNotFound(err) && pv != nil { // with its namespace
		t, err = &target{remoteName: o.at, local: claimKey(pv).Namespace}, nil
	}
	if err != nil {
		return nil, err
	}
	found := &doomed{target: t, pv: pv}
	if t.claim == nil && pv == nil {
		return nil, t.missing(both.Commands())
	}
	return found, found.refuseUsed(ctx, both)
}

// refuseUsed refuses a volume that a local claim or a remote pod uses, or that akd is about
// to make or delete.
func (d *doomed) refuseUsed(ctx context.Context, both kubeclient.Clusters) error {
	users, err := d.users(ctx, both.Local)
	if err != nil {
		return err
	}
	for i := range users {
		err := fmt.Errorf("the local claim %s/%s uses the data of the remote claim %s", users[i].Namespace, users[i].Name, d.remoteName)
		return failure.Hintf(err, "delete that claim first: %s",
			both.Commands().Kubectl(kubeclient.Local, "delete", "pvc", users[i].Name, "-n", users[i].Namespace))
	}
	if d.pv != nil {
		if d.pv.Status.Phase == corev1.VolumeBound {
			return boundError(d.pv)
		}
		if uid := volume.Adopted(d.pv); d.claim != nil && uid != d.claim.UID {
			err := fmt.Errorf("the local PersistentVolume %s is for a remote claim with UID %s, and %s has UID %s",
				d.pv.Name, uid, d.remoteName, d.claim.UID)
			return failure.Hintf(err, "if it was restored with the data, adopt it first: %s", both.Commands().Actual("volumes", "adopt", d.pv.Name))
		}
	}
	pods, err := podsWith(ctx, both.Remote, d.namespace, d.name)
	if err != nil {
		return err
	}
	if len(pods) > 0 {
		err := fmt.Errorf("remote pods use the remote claim %s: %s", d.remoteName, joined(pods))
		return failure.Hintf(err, "see them: %s", both.Commands().Kubectl(kubeclient.Remote, "get", "pods", "-n", d.namespace))
	}
	return nil
}

// same reports whether two finds found the same objects.
func (d *doomed) same(other *doomed) bool { return d.uids() == other.uids() }

func (d *doomed) uids() (both [2]types.UID) {
	if d.claim != nil {
		both[0] = d.claim.UID
	}
	if d.pv != nil {
		both[1] = d.pv.UID
	}
	return both
}

// ask shows what will be deleted, and returns an error unless the user agrees.
func (o *deleteOptions) ask(ctx context.Context, both kubeclient.Clusters, found *doomed) error {
	to := o.env.ErrOut()
	for _, line := range found.describe(ctx, both.Remote) {
		to.Printf("%s\n", line)
	}
	to.Printf("Delete it for good? (y/N): ")
	answer, err := bufio.NewReader(o.env.Streams.In).ReadString('\n')
	if errors.Is(err, io.EOF) {
		to.Printf("\n") // nobody has ended the line
	} else if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if answer := strings.ToLower(strings.TrimSpace(answer)); answer != "y" && answer != "yes" {
		return failure.Hintf(errors.New("nothing was deleted"), "answer with y, or use --yes")
	}
	return nil
}

// describe says what will be deleted, in lines.
func (d *doomed) describe(ctx context.Context, remote *kubeclient.Cluster) []string {
	var lines []string
	if d.claim == nil {
		lines = append(lines, fmt.Sprintf("remote claim %s: gone already", d.remoteName))
	} else {
		capacity := volume.Size(d.claim)
		lines = append(lines,
			fmt.Sprintf("remote claim %s, UID %s, %s, created at %s, with its data",
				d.remoteName, d.claim.UID, capacity.String(), d.claim.CreationTimestamp.UTC().Format(time.RFC3339)),
			fmt.Sprintf("  last used by local claim %s/%s", d.local, d.claim.Annotations[contract.AnnotationClaim]))
		if disk := d.claim.Spec.VolumeName; disk != "" {
			lines = append(lines, "  remote volume "+disk+remotePolicy(ctx, remote, disk))
		}
	}
	if d.pv != nil {
		lines = append(lines, fmt.Sprintf("local PersistentVolume %s, %s, policy %s",
			d.pv.Name, d.pv.Status.Phase, d.pv.Spec.PersistentVolumeReclaimPolicy))
	}
	return lines
}

// remotePolicy says what becomes of a remote volume without its claim, if the user may read
// it.
func remotePolicy(ctx context.Context, remote *kubeclient.Cluster, name string) string {
	pv, err := remote.Client.CoreV1().PersistentVolumes().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return ""
	}
	if pv.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimRetain {
		return ", which the remote cluster keeps: its policy is Retain"
	}
	return fmt.Sprintf(", policy %s", pv.Spec.PersistentVolumeReclaimPolicy)
}

// deleteRemote deletes the remote claim, and waits until it is gone.
func (o *deleteOptions) deleteRemote(ctx context.Context, remote *kubeclient.Cluster, found *doomed) error {
	if found.claim == nil {
		return nil
	}
	client := remote.Client.CoreV1().PersistentVolumeClaims(found.namespace)
	err := client.Delete(ctx, found.name, kubeclient.Exactly(found.claim))
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete the remote claim %s: %w", o.at, err)
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	err = kubeclient.Until(ctx, func(ctx context.Context) (bool, string, error) {
		left, err := client.Get(ctx, found.name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) || err == nil && left.UID != found.claim.UID {
			return true, "", nil
		}
		return false, fmt.Sprintf("the remote claim %s is being deleted", o.at), err
	})
	if err != nil {
		return failure.Hintf(err, "to wait for longer, run it again with --timeout")
	}
	return nil
}

// deleteLocal deletes the local volume. Its finalizer is for akd, which may not serve the
// node any more, and which has nothing left to decide.
func (d *doomed) deleteLocal(ctx context.Context, local *kubeclient.Cluster) error {
	if d.pv == nil {
		return nil
	}
	client := local.Client.CoreV1().PersistentVolumes()
	err := client.Delete(ctx, d.pv.Name, kubeclient.Exactly(d.pv))
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("delete the local PersistentVolume %s: %w", d.pv.Name, err)
	}
	_, err = client.Patch(ctx, d.pv.Name, types.StrategicMergePatchType, contract.WithoutRemoteClaim(d.pv.UID),
		metav1.PatchOptions{FieldManager: kubeclient.FieldManager})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("release the local PersistentVolume %s: %w", d.pv.Name, err)
	}
	return nil
}
