package storage

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/internal/volume"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/command"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/failure"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/output"
)

// importOptions are those of kubectl actual volumes import.
type importOptions struct {
	env   *command.Env
	from  remoteName
	claim string
	class string
}

func newImport(env *command.Env) *cobra.Command {
	o := &importOptions{env: env}
	cmd := &cobra.Command{
		Use:   "import NAMESPACE/CLAIM --remote-context CONTEXT",
		Short: "Offer the data of a remote claim to a local claim",
		Long: `Offer the data of a remote claim to a local claim: that of a volume that was kept,
or of an orphan. NAMESPACE/CLAIM is the remote claim, as kubectl actual volumes
shows it.

The local PersistentVolume is created, or made available again. Its policy is Retain.
The command prints a local claim that binds it: its namespace is the local one that
the remote namespace serves, and its name that of the last local claim, or --claim.
A local claim whose PersistentVolume was deleted is bound to it again.`,
		Example: `  # Use the data of a kept volume again, in a claim of the same name
  kubectl actual volumes import --remote-context=remote \
    vk-ak-example-d05fe343c4951ecb/pvc-7c1d2f84-6b0e-4a55-9d0e-2f6a1b3c4d5e | kubectl apply -f -

  # Use it in a claim of another name
  kubectl actual volumes import --remote-context=remote --claim=old-data \
    vk-ak-example-d05fe343c4951ecb/pvc-7c1d2f84-6b0e-4a55-9d0e-2f6a1b3c4d5e | kubectl apply -f -`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.validate(cmd.CommandPath(), args); err != nil {
				return err
			}
			return o.run(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&o.claim, "claim", "", "name of the local claim (default: the name of the last one)")
	cmd.Flags().StringVar(&o.class, "storage-class", "",
		"local StorageClass of a new volume (default: one of the node's for the remote class, with policy Retain if possible)")
	return cmd
}

func (o *importOptions) validate(command string, args []string) (err error) {
	if o.from, err = parseName(command, args); err != nil {
		return err
	}
	for flag, value := range map[string]string{"claim": o.claim, "storage-class": o.class} {
		if value != "" && len(validation.IsDNS1123Subdomain(value)) > 0 {
			return failure.Usagef("--%s %q is not a name", flag, value)
		}
	}
	return nil
}

func (o *importOptions) run(ctx context.Context) error {
	both, err := o.env.Access.Connect(ctx)
	if err != nil {
		return err
	}
	return o.do(ctx, both)
}

func (o *importOptions) do(ctx context.Context, both kubeclient.Clusters) error {
	t, err := findTarget(ctx, both, o.from)
	if err != nil {
		return err
	}
	if err := t.refuseUnusable(both.Commands()); err != nil {
		return err
	}
	claim, err := o.localClaim(ctx, both.Local, t)
	if err != nil {
		return err
	}
	pv, err := o.offer(ctx, both, t, claim)
	if err != nil {
		return err
	}
	if err := t.commit(ctx, both.Remote, pv, claim.Name); err != nil {
		return err
	}
	o.env.ErrOut().Printf("persistentvolume/%s leads to the remote claim %s, for the local claim %s/%s\n",
		pv.Name, t.remoteName, claim.Namespace, claim.Name)
	if claim.UID != "" {
		return nil // it is there, and names the volume
	}
	manifest, err := output.YAML(claimFor(pv))
	if err != nil {
		return fmt.Errorf("encode the local claim: %w", err)
	}
	_, err = o.env.Out().Write(manifest)
	return err
}

// refuseUnusable refuses a remote claim whose data cannot be had any more.
func (t *target) refuseUnusable(commands kubeclient.Commands) error {
	switch {
	case t.claim == nil:
		return t.missing(commands)
	case t.claim.DeletionTimestamp != nil:
		return fmt.Errorf("the remote claim %s is being deleted", t.remoteName)
	case t.claim.Status.Phase == corev1.ClaimLost:
		return fmt.Errorf("the remote claim %s has lost its volume %s", t.remoteName, t.claim.Spec.VolumeName)
	}
	return nil
}

// localClaim returns the local claim that is to get the volume. It has a UID if it is there
// and names the volume already: Kubernetes binds a claim that was bound before only to a
// volume with its UID.
func (o *importOptions) localClaim(ctx context.Context, local *kubeclient.Cluster, t *target) (volume.Claim, error) {
	claim := volume.Claim{Namespace: t.local, Name: o.claim}
	if claim.Name == "" {
		claim.Name = t.claim.Annotations[contract.AnnotationClaim]
	}
	if claim.Name == "" {
		err := failure.Usagef("the remote claim %s does not say which local claim it was made for", t.remoteName)
		return claim, failure.Hintf(err, "name the local claim with --claim")
	}
	found, err := local.Client.CoreV1().PersistentVolumeClaims(claim.Namespace).Get(ctx, claim.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return claim, nil
	case err != nil:
		return claim, fmt.Errorf("get the local claim %s/%s: %w", claim.Namespace, claim.Name, err)
	case found.Spec.VolumeName == t.name:
		claim.UID = found.UID
		return claim, nil
	}
	err = fmt.Errorf("the local claim %s/%s exists and has another volume, or waits for one", claim.Namespace, claim.Name)
	return claim, failure.Hintf(err, "choose another name with --claim, or delete that claim")
}

// offer makes the local volume available to the claim: a new one, or the one that is there.
func (o *importOptions) offer(
	ctx context.Context, both kubeclient.Clusters, t *target, claim volume.Claim,
) (*corev1.PersistentVolume, error) {
	pv, err := volumeNamed(ctx, both.Local, t.name)
	if err != nil {
		return nil, err
	}
	if pv == nil {
		return o.create(ctx, both, t, claim)
	}
	ref := pv.Spec.ClaimRef
	switch {
	case !leadsTo(pv, t.claim):
		return nil, fmt.Errorf("the local PersistentVolume %s exists, and its data is elsewhere", pv.Name)
	case volume.Adopted(pv) != t.claim.UID:
		err := fmt.Errorf("the local PersistentVolume %s is for a remote claim with UID %s, and %s has UID %s",
			pv.Name, volume.Adopted(pv), t.remoteName, t.claim.UID)
		return nil, failure.Hintf(err, "if it was restored with the data: %s", both.Commands().Actual("volumes", "adopt", pv.Name))
	case pv.DeletionTimestamp != nil:
		err := fmt.Errorf("the local PersistentVolume %s is being deleted", pv.Name)
		return nil, failure.Hintf(err, "once it is gone, run this command again")
	case pv.Status.Phase == corev1.VolumeBound:
		return nil, boundError(pv)
	case pv.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimDelete && ref != nil && ref.UID != "":
		return nil, fmt.Errorf("akd makes or deletes the volume of the remote claim %s: its policy is Delete", t.remoteName)
	case ref != nil && ref.Namespace == claim.Namespace && ref.Name == claim.Name && ref.UID == claim.UID:
		return pv, nil
	case ref != nil && ref.UID != "" && pv.Status.Phase != corev1.VolumeReleased && pv.Status.Phase != corev1.VolumeFailed:
		return nil, fmt.Errorf("the local PersistentVolume %s is about to be bound to the local claim %s/%s", pv.Name, ref.Namespace, ref.Name)
	}
	return release(ctx, both.Local, pv, claim)
}

func boundError(pv *corev1.PersistentVolume) error {
	return fmt.Errorf("the local PersistentVolume %s is bound to the local claim %s", pv.Name, claimKey(pv))
}

// release makes a volume available to a claim. It is refused if the volume has changed
// since it was read.
func release(
	ctx context.Context, local *kubeclient.Cluster, pv *corev1.PersistentVolume, claim volume.Claim,
) (*corev1.PersistentVolume, error) {
	changed := pv.DeepCopy()
	changed.Spec.ClaimRef = volume.New(volume.Spec{Claim: claim}).Spec.ClaimRef
	options := metav1.UpdateOptions{FieldManager: kubeclient.FieldManager}
	released, err := local.Client.CoreV1().PersistentVolumes().Update(ctx, changed, options)
	if err != nil {
		return nil, fmt.Errorf("make the local PersistentVolume %s available: %w", pv.Name, err)
	}
	return released, nil
}

// create creates the volume. Nothing deletes its data, whatever the policy of its class is.
func (o *importOptions) create(
	ctx context.Context, both kubeclient.Clusters, t *target, claim volume.Claim,
) (*corev1.PersistentVolume, error) {
	class, err := o.localClass(ctx, both.Local, t)
	if err != nil {
		return nil, err
	}
	made := volume.New(volume.Spec{
		Node: t.node,
		Remote: volume.Remote{
			Namespace:  t.namespace,
			Claim:      t.name,
			UID:        t.claim.UID,
			ClusterUID: both.Remote.UID,
		},
		Claim:       claim,
		Class:       class,
		AccessModes: t.claim.Spec.AccessModes,
		Mode:        t.claim.Spec.VolumeMode,
		Capacity:    volume.Size(t.claim),
		Reclaim:     corev1.PersistentVolumeReclaimRetain,
	})
	options := metav1.CreateOptions{FieldManager: kubeclient.FieldManager}
	created, err := both.Local.Client.CoreV1().PersistentVolumes().Create(ctx, made, options)
	if err != nil {
		return nil, fmt.Errorf("create the local PersistentVolume %s: %w", made.Name, err)
	}
	return created, nil
}

// localClass returns the local StorageClass of a new volume: the given one, or one of the
// node's for the class of the remote claim. One with the policy Retain comes first, because
// it is likely that the data was kept by it. A volume can be without a class.
func (o *importOptions) localClass(ctx context.Context, local *kubeclient.Cluster, t *target) (string, error) {
	if o.class != "" {
		return o.class, nil
	}
	classes, err := Classes(ctx, local, t.node)
	if err != nil {
		return "", err
	}
	remote, found := classOf(t.claim), ""
	for i := range classes {
		class := &classes[i]
		if class.Parameters[contract.ParameterRemoteClass] != remote {
			continue
		}
		if class.ReclaimPolicy != nil && *class.ReclaimPolicy == corev1.PersistentVolumeReclaimRetain {
			return class.Name, nil
		}
		found = cmp.Or(found, class.Name)
	}
	return found, nil
}

// Classes returns the local StorageClasses whose volumes a node can have, by name.
func Classes(ctx context.Context, local *kubeclient.Cluster, node string) ([]storagev1.StorageClass, error) {
	list, err := local.Client.StorageV1().StorageClasses().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list the local StorageClasses: %w", err)
	}
	classes := slices.DeleteFunc(list.Items, func(c storagev1.StorageClass) bool {
		return c.Provisioner != contract.StorageDriver || !allows(c.AllowedTopologies, node)
	})
	slices.SortFunc(classes, func(a, b storagev1.StorageClass) int { return cmp.Compare(a.Name, b.Name) })
	return classes, nil
}

// allows reports whether volumes can be on a node, as far as its name matters.
func allows(topologies []corev1.TopologySelectorTerm, node string) bool {
	return len(topologies) == 0 || slices.ContainsFunc(topologies, func(term corev1.TopologySelectorTerm) bool {
		return !slices.ContainsFunc(term.MatchLabelExpressions, func(r corev1.TopologySelectorLabelRequirement) bool {
			return r.Key == contract.LabelNodeName && !slices.Contains(r.Values, node)
		})
	})
}

// claimFor returns a local claim that binds a volume. Kubernetes sets the annotation on claims
// that it has AK provision, and on no others; only with it, akd may write the claim's status.
func claimFor(pv *corev1.PersistentVolume) map[string]any {
	return map[string]any{
		"apiVersion": "v1",
		"kind":       "PersistentVolumeClaim",
		"metadata": map[string]any{
			"namespace":   pv.Spec.ClaimRef.Namespace,
			"name":        pv.Spec.ClaimRef.Name,
			"annotations": map[string]string{volume.AnnotationProvisioner: contract.StorageDriver},
		},
		"spec": map[string]any{
			"accessModes":      pv.Spec.AccessModes,
			"volumeMode":       pv.Spec.VolumeMode,
			"storageClassName": pv.Spec.StorageClassName,
			"volumeName":       pv.Name,
			"resources":        map[string]any{"requests": map[string]any{"storage": pv.Spec.Capacity.Storage()}},
		},
	}
}
