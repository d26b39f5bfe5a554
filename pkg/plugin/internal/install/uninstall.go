package install

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/command"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/failure"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/output"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/owner"
)

// uninstallOptions are those of kubectl actual uninstall.
type uninstallOptions struct {
	env           *command.Env
	node          string
	force         bool
	keepRemote    bool
	keepVolumes   bool
	deleteVolumes bool
	clusterUID    string
	quiet         bool
	timeout       time.Duration
}

// NewUninstall returns the command uninstall.
func NewUninstall(env *command.Env) *cobra.Command {
	o := &uninstallOptions{env: env}
	cmd := &cobra.Command{
		Use:   "uninstall NODE --remote-context CONTEXT",
		Short: "Remove a node and everything that was installed for it",
		Long: `Remove a node and everything that was installed for it, in both clusters. What
all nodes share goes with the last one.

akd's rights and tokens in the remote cluster go first, then the node's namespaces,
and the policies at last. A rerun resumes an uninstall that was interrupted.

If the node's remote namespaces hold PersistentVolumeClaims, whoever made them, nothing
is removed: delete the claims, or say with --keep-volumes or --delete-volumes what
becomes of the data. Local PersistentVolumes and claims are never deleted.`,
		Example: `  # Move the node's pods elsewhere, and remove the node
  kubectl drain vk-ak-example --ignore-daemonsets --delete-emptydir-data
  kubectl actual uninstall vk-ak-example --remote-context=remote

  # Remove a node, and keep its volumes in the remote cluster until it is installed again
  kubectl actual uninstall vk-ak-example --remote-context=remote --keep-volumes

  # Remove a node whose remote cluster is gone
  kubectl actual uninstall vk-ak-example --keep-remote --force

  # Remove from the remote cluster the node of a local cluster that is gone
  kubectl actual uninstall vk-ak-example --remote-context=remote --cluster-uid=5f3c9a52-7a4e-4d4b-9d0c-3f1a5f0a8a11`,
		Args: command.OneNode,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.node = args[0]
			if err := o.Validate(); err != nil {
				return err
			}
			return o.Run(cmd.Context())
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.force, "force", false, "remove the node even if pods run on it; the pods end")
	flags.BoolVar(&o.keepRemote, "keep-remote", false, "leave the remote cluster as it is, for example because it is gone")
	flags.BoolVar(&o.keepVolumes, "keep-volumes", false,
		"leave the remote namespaces that hold volumes, without pods; the node finds them if it is installed again")
	flags.BoolVar(&o.deleteVolumes, "delete-volumes", false, "delete the volumes in the node's remote namespaces; their data is gone for good")
	flags.StringVar(&o.clusterUID, "cluster-uid", "",
		"remove what belongs to the local cluster with this UID, which is gone, and contact the remote cluster only")
	flags.DurationVar(&o.timeout, "timeout", 3*time.Minute, "how long to wait")
	flags.BoolVarP(&o.quiet, "quiet", "q", false, "print only results and errors")
	return cmd
}

// Validate checks what can be checked without a cluster.
func (o *uninstallOptions) Validate() error {
	if o.keepRemote && o.clusterUID != "" {
		return failure.Usagef("--keep-remote and --cluster-uid leave nothing to uninstall")
	}
	if o.keepRemote && o.deleteVolumes {
		return failure.Usagef("--keep-remote keeps the volumes, which --delete-volumes deletes: choose one of them")
	}
	if o.keepVolumes && o.deleteVolumes {
		return failure.Usagef("--keep-volumes and --delete-volumes exclude each other: choose one of them")
	}
	return failure.Usage(contract.CheckNodeName(o.node))
}

// Run removes the node.
func (o *uninstallOptions) Run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	both, err := o.connect(ctx)
	if err != nil {
		return err
	}
	who := contract.Owner{Node: o.node, ClusterUID: types.UID(o.clusterUID)}
	if both.Local != nil {
		who = both.Owner(o.node)
	}
	left, err := o.checkOwner(ctx, both, who)
	if err != nil {
		return err
	}
	plan, err := o.plan(ctx, both)
	if err != nil {
		return err
	}
	if err := o.checkVolumes(ctx, both.Remote, who); err != nil {
		return err
	}
	sharing := sharing(ctx, both, o.node)
	u := &uninstaller{owner: who, both: both, keepVolumes: o.keepVolumes, deleteVolumes: o.deleteVolumes}
	steps := output.NewSteps(o.env.ErrOut(), o.quiet)
	for _, s := range plan {
		if err := steps.Do(ctx, s.name, func(ctx context.Context) (string, error) { return u.do(ctx, s) }); err != nil {
			return err
		}
	}
	if u.kept.claims > 0 {
		left += fmt.Sprintf("; %s, stay until node %s is installed again", &u.kept, o.node)
	}
	o.env.Out().Printf("node/%s uninstalled: %d objects removed%s\n", o.node, u.removed, left)
	if len(sharing) > 0 {
		o.env.ErrOut().Printf("warning: pods on %s reached the local Services by the copies of node %s, which are gone: "+
			"install one of these nodes again with --services=mirror\n", strings.Join(sharing, ", "), o.node)
	}
	return nil
}

// connect reaches both clusters, or the one that is not to be kept.
func (o *uninstallOptions) connect(ctx context.Context) (kubeclient.Clusters, error) {
	switch {
	case o.keepRemote:
		return o.env.Access.ConnectLocal(ctx)
	case o.clusterUID != "":
		return o.env.Access.ConnectRemote(ctx)
	}
	both, err := o.env.Access.Connect(ctx)
	if err != nil && !failure.IsUsage(err) {
		err = failure.Hintf(err, "if the remote cluster is gone for good, remove only what is local with --keep-remote; "+
			"if the local cluster is, remove only what is remote with --cluster-uid")
	}
	return both, err
}

// checkOwner refuses, before anything is deleted, if the clusters are not those of the
// node. It says what belongs to others and stays.
func (o *uninstallOptions) checkOwner(ctx context.Context, both kubeclient.Clusters, who contract.Owner) (left string, err error) {
	claims := &owner.Claims{Owner: who}
	if both.Remote != nil {
		if claims, err = owner.Find(ctx, both.Remote, who); err != nil {
			return "", failure.Usage(err)
		}
		if err := claims.RefusalWithoutOwn(); err != nil {
			return "", failure.Hintf(err, "if that local cluster is gone, and nobody needs its pods: "+
				"%s", both.Commands().Actual("uninstall", o.node, "--cluster-uid=UID"))
		}
	}
	if len(claims.Foreign) > 0 {
		left = fmt.Sprintf("; %d remote objects of that name belong to others and stay", len(claims.Foreign))
	}
	if both.Local == nil {
		if len(claims.Own) == 0 {
			return "", fmt.Errorf("the remote cluster has nothing of node %s of the local cluster with UID %s", o.node, o.clusterUID)
		}
		return left, nil
	}
	if err := refuseForeignNode(ctx, both.Local, o.node); err != nil {
		return "", err
	}
	installed, err := isInstalled(ctx, both.Local, o.node)
	if err != nil {
		return "", err
	}
	if !installed && len(claims.Own) == 0 {
		return "", failure.Hintf(fmt.Errorf("the local cluster has no node %s", o.node), "name the right local cluster with --context")
	}
	if both.Remote == nil {
		return left, nil
	}
	return left, failure.Hintf(checkPeer(ctx, both, o.node), "if that cluster is gone for good, remove only what is local with --keep-remote")
}

// plan reads what is installed, and who would lose it.
func (o *uninstallOptions) plan(ctx context.Context, both kubeclient.Clusters) ([]removalStep, error) {
	var running []string
	recorded := map[kubeclient.Side][]schema.GroupKind{}
	for _, c := range []*kubeclient.Cluster{both.Local, both.Remote} {
		if c == nil {
			continue
		}
		kinds, err := readKinds(ctx, c, o.node)
		if err != nil {
			return nil, err
		}
		recorded[c.Side] = kinds
	}
	if both.Local != nil {
		var err error
		if running, err = runningPods(ctx, both.Local, o.node); err != nil {
			return nil, err
		}
	}
	steps, err := planUninstall(o.node, recorded, running, o.force)
	return steps, failure.Hintf(err, "end them with --force, or move them: %s",
		both.Commands().Kubectl(kubeclient.Local, "drain", o.node, "--ignore-daemonsets", "--delete-emptydir-data"))
}

// runningPods names the pods that would end with the node, and that kubectl drain
// --ignore-daemonsets would have moved.
func runningPods(ctx context.Context, local *kubeclient.Cluster, node string) ([]string, error) {
	pods, err := local.Client.CoreV1().Pods("").List(ctx, metav1.ListOptions{FieldSelector: "spec.nodeName=" + node})
	if err != nil {
		return nil, fmt.Errorf("list the node's pods: %w", err)
	}
	var running []string
	for i := range pods.Items {
		pod := &pods.Items[i]
		probe := pod.Namespace == contract.SystemNamespace && pod.Labels[kubeclient.LabelManagedBy] == kubeclient.FieldManager
		if !probe && !drainLeaves(pod) {
			running = append(running, pod.Namespace+"/"+pod.Name)
		}
	}
	return running, nil
}

// drainLeaves reports whether kubectl drain --ignore-daemonsets leaves a pod on its
// node: no controller would replace it elsewhere, or it has ended.
// https://github.com/kubernetes/kubectl/blob/v0.37.1/pkg/drain/filters.go
func drainLeaves(pod *corev1.Pod) bool {
	owner := metav1.GetControllerOf(pod)
	_, mirror := pod.Annotations[corev1.MirrorPodAnnotationKey]
	return ended(pod) || mirror || owner != nil && owner.Kind == "DaemonSet"
}

func ended(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// The actions of uninstall.
const (
	stopAKD          action = "stop akd"
	revokeRights     action = "revoke rights"
	removeNamespaces action = "remove namespaces"
	removeObjects    action = "remove objects"
	awaitRanges      action = "await ranges"
	removeNode       action = "remove node"
	removeStorage    action = "remove storage"
)

// removalStep is one line of what a user sees of an uninstall.
type removalStep struct {
	name   string
	action action
	side   kubeclient.Side
	kinds  []schema.GroupKind // of removeObjects
}

// planUninstall orders a removal: akd first, so that it does not create again
// what is removed; its remote rights before all that takes time; and the local node
// when its pods cannot come back. recorded
// has an entry for each cluster that is reached, with the kinds that are recorded
// there.
func planUninstall(node string, recorded map[kubeclient.Side][]schema.GroupKind, running []string, force bool) ([]removalStep, error) {
	if len(running) > 0 && !force {
		const most = 10
		return nil, fmt.Errorf("%d pods run on node %s: %s", len(running), node, strings.Join(running[:min(len(running), most)], ", "))
	}
	kinds := func(side kubeclient.Side) []schema.GroupKind {
		if len(recorded[side]) == 0 {
			return unrecordedKinds()
		}
		// Which of the node's classes go is for removeStorage to say.
		return slices.DeleteFunc(slices.Clone(recorded[side]), func(kind schema.GroupKind) bool { return kind.Kind == "StorageClass" })
	}
	_, local := recorded[kubeclient.Local]
	_, remote := recorded[kubeclient.Remote]
	var steps []removalStep
	if local {
		steps = append(steps, removalStep{name: "local akd", action: stopAKD, side: kubeclient.Local})
	}
	if remote {
		steps = append(steps,
			removalStep{name: "remote akd", action: stopAKD, side: kubeclient.Remote},
			removalStep{name: "remote rights and tokens", action: revokeRights, side: kubeclient.Remote},
			removalStep{name: "remote pods and their namespaces", action: removeNamespaces, side: kubeclient.Remote},
			removalStep{name: "remote objects", action: removeObjects, side: kubeclient.Remote, kinds: kinds(kubeclient.Remote)},
			removalStep{name: "remote service range", action: awaitRanges, side: kubeclient.Remote},
		)
	}
	if local {
		steps = append(steps,
			removalStep{name: "local node", action: removeNode, side: kubeclient.Local},
			removalStep{name: "local storage", action: removeStorage, side: kubeclient.Local},
			removalStep{name: "local objects", action: removeObjects, side: kubeclient.Local, kinds: kinds(kubeclient.Local)},
		)
	}
	return steps, nil
}
