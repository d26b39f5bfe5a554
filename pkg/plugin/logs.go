package plugin

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

type logs struct {
	access  *access
	streams genericiooptions.IOStreams

	follow   bool
	previous bool
	since    time.Duration
	tail     int64
}

func newLogs(access *access, streams genericiooptions.IOStreams) *cobra.Command {
	l := &logs{access: access, streams: streams}
	cmd := &cobra.Command{
		Use:   "logs NODE",
		Short: "Show the log of the akd that serves a node",
		Long: `Show the log of the akd that serves a node: of the one that works, where
there are several. An akd that runs in the remote cluster is found there, where
--remote-context names it.`,
		Example: "  kubectl actual logs vk-ak-example --tail 20 -f",
		Args:    oneNode,
		RunE:    func(cmd *cobra.Command, args []string) error { return l.run(cmd.Context(), args[0]) },
	}
	flags := cmd.Flags()
	flags.BoolVarP(&l.follow, "follow", "f", false, "go on with what is logged from now on")
	flags.BoolVarP(&l.previous, "previous", "p", false, "of the container before the last restart")
	flags.DurationVar(&l.since, "since", 0, "not what is older, such as 5m")
	flags.Int64Var(&l.tail, "tail", -1, "only so many last lines; -1 for all")
	return cmd
}

func (l *logs) run(ctx context.Context, node string) error {
	connect := l.access.connectLocal
	if l.access.remoteContext != "" || l.access.remoteFile != "" {
		connect = l.access.connect
	}
	c, err := connect(ctx)
	if err != nil {
		return err
	}
	for _, side := range []*cluster{c.local, c.remote} {
		if side == nil {
			continue
		}
		pod, err := akdOf(ctx, c.local, side, node)
		if err != nil {
			return err
		}
		if pod != "" {
			return l.stream(ctx, side, pod)
		}
	}
	return fmt.Errorf("no akd of node %s was found: see kubectl actual status; one that runs in the remote cluster needs --remote-context", node)
}

// akdOf returns the pod of a node's akd on one side, the leader if there is
// one, or "".
func akdOf(ctx context.Context, local, side *cluster, node string) (string, error) {
	selector := labels.Set{"app.kubernetes.io/name": "akd", contract.LabelNodeName: node}
	pods, err := side.client.CoreV1().Pods(contract.SystemNamespace).List(ctx, metav1.ListOptions{LabelSelector: selector.String()})
	if err != nil {
		return "", fmt.Errorf("find the akd of node %s: %w", node, err)
	}
	if len(pods.Items) == 0 {
		return "", nil
	}
	leader := ""
	lease, err := local.client.CoordinationV1().Leases(contract.SystemNamespace).Get(ctx, node, metav1.GetOptions{})
	if err == nil && lease.Spec.HolderIdentity != nil {
		leader, _, _ = strings.Cut(*lease.Spec.HolderIdentity, "_")
	}
	if slices.ContainsFunc(pods.Items, func(p corev1.Pod) bool { return p.Name == leader }) {
		return leader, nil
	}
	newest := slices.MaxFunc(pods.Items, func(a, b corev1.Pod) int { return a.CreationTimestamp.Compare(b.CreationTimestamp.Time) })
	return newest.Name, nil
}

func (l *logs) stream(ctx context.Context, side *cluster, pod string) error {
	options := &corev1.PodLogOptions{Follow: l.follow, Previous: l.previous}
	if l.since > 0 {
		seconds := int64(l.since.Seconds())
		options.SinceSeconds = &seconds
	}
	if l.tail >= 0 {
		options.TailLines = &l.tail
	}
	stream, err := side.client.CoreV1().Pods(contract.SystemNamespace).GetLogs(pod, options).Stream(ctx)
	if err != nil {
		return fmt.Errorf("log of pod %s/%s in the %s cluster: %w", contract.SystemNamespace, pod, side.side, err)
	}
	defer func() { _ = stream.Close() }()
	_, err = io.Copy(l.streams.Out, stream)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}
