package install

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/command"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/failure"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/output"
)

// uninstallOptions are those of kubectl actual uninstall.
type uninstallOptions struct {
	env        *command.Env
	node       string
	force      bool
	keepRemote bool
	quiet      bool
	timeout    time.Duration
}

// NewUninstall returns the command uninstall.
func NewUninstall(env *command.Env) *cobra.Command {
	o := &uninstallOptions{env: env}
	cmd := &cobra.Command{
		Use:   "uninstall NODE --remote-context CONTEXT",
		Short: "Remove a node and everything that was installed for it",
		Long: `Remove a node and everything that was installed for it, in both clusters. What
all nodes share goes with the last one.`,
		Example: `  # Move the node's pods elsewhere, and remove the node
  kubectl drain vk-ak-example --ignore-daemonsets --delete-emptydir-data
  kubectl actual uninstall vk-ak-example --remote-context=remote

  # Remove a node whose remote cluster is gone
  kubectl actual uninstall vk-ak-example --keep-remote --force`,
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
	flags.DurationVar(&o.timeout, "timeout", 3*time.Minute, "how long to wait")
	flags.BoolVarP(&o.quiet, "quiet", "q", false, "print only results and errors")
	return cmd
}

// Validate checks what can be checked without a cluster.
func (o *uninstallOptions) Validate() error { return failure.Usage(contract.CheckNodeName(o.node)) }

// Run removes the node.
func (o *uninstallOptions) Run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	both, err := o.connect(ctx)
	if err != nil {
		return err
	}
	running, err := runningPods(ctx, both.Local, o.node)
	if err != nil {
		return err
	}
	recorded := map[kubeclient.Side][]schema.GroupKind{}
	for _, c := range []*kubeclient.Cluster{both.Local, both.Remote} {
		if c == nil {
			continue
		}
		if recorded[c.Side], err = readKinds(ctx, c, o.node); err != nil {
			return err
		}
	}
	plan, err := planUninstall(o.node, recorded, running, o.force)
	if err != nil {
		return err
	}
	u := &uninstaller{node: o.node, both: both}
	steps := output.NewSteps(o.env.ErrOut(), o.quiet)
	for _, s := range plan {
		if err := steps.Do(ctx, s.name, func(ctx context.Context) (string, error) { return u.do(ctx, s) }); err != nil {
			return err
		}
	}
	o.env.Out().Printf("node/%s uninstalled: %d objects removed\n", o.node, u.removed)
	return nil
}

// connect reaches both clusters, or the local one if the other is to be kept.
func (o *uninstallOptions) connect(ctx context.Context) (kubeclient.Clusters, error) {
	if o.keepRemote {
		return o.env.Access.ConnectLocal(ctx)
	}
	both, err := o.env.Access.Connect(ctx)
	if err != nil && !failure.IsUsage(err) {
		err = failure.Hintf(err, "if the remote cluster is gone for good, remove only what is local with --keep-remote")
	}
	return both, err
}

// runningPods names the pods that would end with the node.
func runningPods(ctx context.Context, local *kubeclient.Cluster, node string) ([]string, error) {
	pods, err := local.Client.CoreV1().Pods("").List(ctx, metav1.ListOptions{FieldSelector: "spec.nodeName=" + node})
	if err != nil {
		return nil, fmt.Errorf("list the node's pods: %w", err)
	}
	var running []string
	for i := range pods.Items {
		pod := &pods.Items[i]
		probe := pod.Namespace == contract.SystemNamespace && pod.Labels[kubeclient.LabelManagedBy] == kubeclient.FieldManager
		if !probe && pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed {
			running = append(running, pod.Namespace+"/"+pod.Name)
		}
	}
	return running, nil
}

// The actions of uninstall.
const (
	stopAKD          action = "stop akd"
	removeNamespaces action = "remove namespaces"
	removeObjects    action = "remove objects"
	awaitRanges      action = "await ranges"
	removeNode       action = "remove node"
)

// removalStep is one line of what a user sees of an uninstall.
type removalStep struct {
	name   string
	action action
	side   kubeclient.Side
	kinds  []schema.GroupKind // of removeObjects
}

// planUninstall orders a removal: akd first, so that it does not create again
// what is removed, and the local node when its pods cannot come back. recorded
// has an entry for each cluster that is reached, with the kinds that are recorded
// there.
func planUninstall(node string, recorded map[kubeclient.Side][]schema.GroupKind, running []string, force bool) ([]removalStep, error) {
	if len(running) > 0 && !force {
		const most = 10
		err := fmt.Errorf("%d pods run on node %s: %s", len(running), node, strings.Join(running[:min(len(running), most)], ", "))
		return nil, failure.Hintf(err,
			"move them with kubectl drain %s --ignore-daemonsets --delete-emptydir-data, or end them with --force", node)
	}
	kinds := func(side kubeclient.Side) []schema.GroupKind {
		if len(recorded[side]) == 0 {
			return unrecordedKinds()
		}
		return recorded[side]
	}
	steps := []removalStep{{name: "local akd", action: stopAKD, side: kubeclient.Local}}
	if _, reached := recorded[kubeclient.Remote]; reached {
		steps = append(steps,
			removalStep{name: "remote akd", action: stopAKD, side: kubeclient.Remote},
			removalStep{name: "remote pods and their namespaces", action: removeNamespaces, side: kubeclient.Remote},
			removalStep{name: "remote rights", action: removeObjects, side: kubeclient.Remote, kinds: kinds(kubeclient.Remote)},
			removalStep{name: "remote service range", action: awaitRanges, side: kubeclient.Remote},
		)
	}
	return append(steps,
		removalStep{name: "local node", action: removeNode, side: kubeclient.Local},
		removalStep{name: "local rights", action: removeObjects, side: kubeclient.Local, kinds: kinds(kubeclient.Local)},
	), nil
}
