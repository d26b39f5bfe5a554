package inspect

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/command"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/failure"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
)

type logsOptions struct {
	env *command.Env

	follow   bool
	previous bool
	since    time.Duration
	tail     int64
}

// NewLogs returns kubectl actual logs.
func NewLogs(env *command.Env) *cobra.Command {
	o := &logsOptions{env: env}
	cmd := &cobra.Command{
		Use:   "logs NODE",
		Short: "Print the logs of the akd that serves a node",
		Long: `Print the logs of the akd that serves a node. If there are several replicas, it
prints those of the active one.

If akd runs in the remote cluster, name that with --remote-context.`,
		Example: `  # Print the last 20 lines, and follow the log
  kubectl actual logs vk-ak-example --tail=20 -f

  # Print the log of an akd before its last restart
  kubectl actual logs vk-ak-example -p`,
		Args: command.OneNode,
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), args[0]) },
	}
	// The sentences are those of kubectl logs.
	flags := cmd.Flags()
	flags.BoolVarP(&o.follow, "follow", "f", false, "specify if the logs should be streamed")
	flags.BoolVarP(&o.previous, "previous", "p", false,
		"if true, print the logs for the previous instance of the container in a pod if it exists")
	flags.DurationVar(&o.since, "since", 0, "only return logs newer than a relative duration like 5s, 2m, or 3h (default: all logs)")
	flags.Int64Var(&o.tail, "tail", -1, "lines of recent log file to display; -1 shows all")
	return cmd
}

func (o *logsOptions) run(ctx context.Context, node string) error {
	both, err := o.env.Access.ConnectNamed(ctx)
	if err != nil {
		return err
	}
	for _, host := range []*kubeclient.Cluster{both.Local, both.Remote} {
		if host == nil {
			continue
		}
		pod, err := activeAKD(ctx, both.Local, host, node)
		if err != nil {
			return err
		}
		if pod != "" {
			return o.stream(ctx, host, pod)
		}
	}
	err = fmt.Errorf("no akd of node %s was found", node)
	if both.Remote == nil {
		err = failure.Hintf(err, "if akd runs in the remote cluster, name that: %s", both.Commands().Actual("logs", node))
	}
	return failure.Hintf(err, "see the nodes that there are: %s", both.Commands().ActualLocal("status"))
}

// activeAKD returns the pod of a node's akd in one cluster: the leader, otherwise
// the newest. It returns "" if there is none.
func activeAKD(ctx context.Context, local, host *kubeclient.Cluster, node string) (string, error) {
	pods, err := host.Client.CoreV1().Pods(contract.SystemNamespace).List(ctx, kubeclient.AKDPods(node))
	if err != nil {
		return "", fmt.Errorf("find the akd of node %s: %w", node, err)
	}
	if len(pods.Items) == 0 {
		return "", nil
	}
	leader := Leader(ctx, local, node)
	if slices.ContainsFunc(pods.Items, func(p corev1.Pod) bool { return p.Name == leader }) {
		return leader, nil
	}
	newest := slices.MaxFunc(pods.Items, func(a, b corev1.Pod) int { return a.CreationTimestamp.Compare(b.CreationTimestamp.Time) })
	return newest.Name, nil
}

func (o *logsOptions) stream(ctx context.Context, host *kubeclient.Cluster, pod string) error {
	options := &corev1.PodLogOptions{Follow: o.follow, Previous: o.previous}
	if o.since > 0 {
		seconds := int64(o.since.Seconds())
		options.SinceSeconds = &seconds
	}
	if o.tail >= 0 {
		options.TailLines = &o.tail
	}
	stream, err := host.Client.CoreV1().Pods(contract.SystemNamespace).GetLogs(pod, options).Stream(ctx)
	if err != nil {
		return fmt.Errorf("read the log of %s pod %s/%s: %w", host.Side, contract.SystemNamespace, pod, err)
	}
	defer func() { _ = stream.Close() }()
	err = o.env.Out().Copy(stream)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}
