package plugin

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/utils/clock"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// Conditions that akd gives its node, beside Ready.
const (
	conditionSweepStopped = "actual.vk/OrphanDeletionPaused"
	conditionCertificate  = "actual.vk/ServingCertificateSigned"
	conditionCredential   = "actual.vk/CredentialRenewed"
)

// unhealthyError says that what was looked at is not as it should be: exit
// code 3.
type unhealthyError struct{ error }

func (e unhealthyError) Unwrap() error { return e.error }

// nodeStatus is how one node does: an item of a NodeStatusList.
type nodeStatus struct {
	Node    string `json:"node"`
	Ready   bool   `json:"ready"`
	Kubelet string `json:"kubeletVersion,omitempty"` // of the remote cluster's nodes
	Address string `json:"address,omitempty"`
	// akd, where it runs in the local cluster.
	Image          string         `json:"image,omitempty"`
	Replicas       int32          `json:"replicas"`
	ReadyReplicas  int32          `json:"readyReplicas"`
	Leader         string         `json:"leader,omitempty"`
	CredentialEnds string         `json:"credentialExpires,omitempty"` // RFC 3339
	RemoteSilence  *int           `json:"secondsSinceRemoteAnswered,omitempty"`
	OrphansKept    bool           `json:"orphansKept"`
	Pods           map[string]int `json:"pods"` // by phase
	Capacity       int64          `json:"podCapacity"`
	Problems       []problem      `json:"problems,omitempty"`
	Age            string         `json:"-"`
}

// problem is what is wrong, and what mends it.
type problem struct {
	What string `json:"what"`
	Mend string `json:"mend"`
}

type status struct {
	access  *access
	style   *style
	streams genericiooptions.IOStreams
	output  *output
	clock   clock.Clock

	watch   bool
	wait    bool
	timeout time.Duration
}

func newStatus(access *access, style *style, streams genericiooptions.IOStreams) *cobra.Command {
	s := &status{access: access, style: style, streams: streams, clock: clock.RealClock{}}
	cmd := &cobra.Command{
		Use:   "status [NODE...]",
		Short: "Show how nodes do, and what is wrong with them",
		Long: `Show the nodes that akds serve: whether they are ready, what runs on them,
until when akd's credential lives, and what is wrong, with the command that
mends it. It exits with 3 when something is wrong.`,
		Example: `  kubectl actual status
  kubectl actual status vk-ak-example --wait --timeout 2m`,
		RunE: func(cmd *cobra.Command, args []string) error { return s.run(cmd.Context(), args) },
	}
	s.output = newOutput(cmd)
	flags := cmd.Flags()
	flags.BoolVarP(&s.watch, "watch", "w", false, "show it again whenever it changes, until interrupted")
	flags.BoolVar(&s.wait, "wait", false, "wait until nothing is wrong")
	flags.DurationVar(&s.timeout, "timeout", 5*time.Minute, "how long to wait with --wait")
	return cmd
}

func (s *status) run(ctx context.Context, args []string) error {
	if err := s.output.check(); err != nil {
		return err
	}
	if s.watch && s.wait {
		return usagef("--watch and --wait exclude each other: use one of the two")
	}
	c, err := s.access.connectLocal(ctx)
	if err != nil {
		return err
	}
	limit := s.clock.Now().Add(s.timeout)
	for shown := ""; ; {
		found, err := s.look(ctx, c.local, args)
		if err != nil {
			return err
		}
		unhealthy := unhealthy(found)
		if s.wait && unhealthy != nil && s.clock.Now().Before(limit) {
			if err := s.pause(ctx); err != nil {
				return err
			}
			continue
		}
		var text strings.Builder
		if err := s.show(&text, found); err != nil {
			return err
		}
		if text.String() != shown {
			shown = text.String()
			printf(s.streams.Out, "%s", shown)
		}
		if !s.watch {
			return unhealthy
		}
		if err := s.pause(ctx); err != nil {
			return err
		}
	}
}

func (s *status) pause(ctx context.Context) error {
	const interval = 2 * time.Second
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-s.clock.After(interval):
		return nil
	}
}

func unhealthy(found []nodeStatus) error {
	var wrong []string
	for i := range found {
		if len(found[i].Problems) > 0 {
			wrong = append(wrong, found[i].Node)
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return unhealthyError{fmt.Errorf("something is wrong with %s", strings.Join(wrong, ", "))}
}

// look asks the local cluster about the nodes, all of them when none is named.
func (s *status) look(ctx context.Context, local *cluster, names []string) ([]nodeStatus, error) {
	nodes, err := local.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{LabelSelector: nodeLabel})
	if err != nil {
		return nil, fmt.Errorf("list the nodes that akds serve: %w", err)
	}
	deployments, err := local.client.AppsV1().Deployments(contract.SystemNamespace).List(ctx, metav1.ListOptions{LabelSelector: contract.LabelNodeName})
	if err != nil && !apierrors.IsForbidden(err) {
		return nil, fmt.Errorf("list the deployments of akds: %w", err)
	}
	known := map[string]*nodeStatus{}
	get := func(name string) *nodeStatus {
		if known[name] == nil {
			known[name] = &nodeStatus{Node: name, Pods: map[string]int{}}
		}
		return known[name]
	}
	for i := range nodes.Items {
		s.addNode(get(nodes.Items[i].Name), &nodes.Items[i])
	}
	for i := range deployments.Items {
		deployment := &deployments.Items[i]
		addDeployment(get(deployment.Labels[contract.LabelNodeName]), deployment)
	}
	if len(names) == 0 {
		for name := range known {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var found []nodeStatus
	for _, name := range slices.Compact(names) {
		n := known[name]
		if n == nil {
			return nil, fmt.Errorf("no akd serves a node %q: install one with kubectl actual install %s --remote-context=CONTEXT", name, name)
		}
		if err := s.addRest(ctx, local, n); err != nil {
			return nil, err
		}
		found = append(found, *n)
	}
	return found, nil
}

// addNode takes what the Node says.
func (s *status) addNode(n *nodeStatus, node *corev1.Node) {
	n.Kubelet, n.Age = node.Status.NodeInfo.KubeletVersion, duration.HumanDuration(s.clock.Since(node.CreationTimestamp.Time))
	n.Capacity = node.Status.Allocatable.Pods().Value()
	for _, address := range node.Status.Addresses {
		if address.Type == corev1.NodeInternalIP {
			n.Address = address.Address
		}
	}
	for _, condition := range node.Status.Conditions {
		bad := condition.Status != corev1.ConditionTrue
		switch string(condition.Type) {
		case string(corev1.NodeReady):
			if n.Ready = !bad; bad {
				n.add(fmt.Sprintf("the node is not ready: %s: %s", condition.Reason, condition.Message), "kubectl actual logs "+n.Node)
			}
		case conditionSweepStopped:
			if n.OrphansKept = !bad; !bad {
				n.add(condition.Message, "kubectl get namespaces -l actual.vk/node-name="+n.Node+" --context=REMOTE, and delete those that nobody needs")
			}
		case conditionCertificate:
			if bad {
				n.add("the certificate of its kubelet API is not signed: logs and exec may fail", "kubectl actual install "+n.Node+" --remote-context=CONTEXT")
			}
		case conditionCredential:
			if ends := regexp.MustCompile(`expires at (\S+Z)`).FindStringSubmatch(condition.Message); ends != nil {
				n.CredentialEnds = ends[1]
			}
			if bad {
				n.add("akd's credential is not renewed: "+condition.Message, "kubectl actual token rotate "+n.Node+" --remote-context=CONTEXT")
			}
		}
	}
}

func addDeployment(n *nodeStatus, deployment *appsv1.Deployment) {
	n.Replicas, n.ReadyReplicas = 1, deployment.Status.ReadyReplicas
	if deployment.Spec.Replicas != nil {
		n.Replicas = *deployment.Spec.Replicas
	}
	for i := range deployment.Spec.Template.Spec.Containers {
		n.Image = deployment.Spec.Template.Spec.Containers[i].Image
	}
	if n.ReadyReplicas < n.Replicas {
		n.add(fmt.Sprintf("%d of %d akds are ready", n.ReadyReplicas, n.Replicas), "kubectl actual logs "+n.Node)
	}
	if n.Age == "" {
		n.add("akd is installed, but there is no node", "kubectl actual logs "+n.Node)
	}
}

func (n *nodeStatus) add(what, mend string) { n.Problems = append(n.Problems, problem{what, mend}) }

// addRest asks for what concerns one node only.
func (s *status) addRest(ctx context.Context, local *cluster, n *nodeStatus) error {
	options := metav1.ListOptions{FieldSelector: "spec.nodeName=" + n.Node, Limit: pageSize}
	for {
		page, err := local.client.CoreV1().Pods(metav1.NamespaceAll).List(ctx, options)
		if err != nil {
			return fmt.Errorf("list the pods of node %s: %w", n.Node, err)
		}
		for i := range page.Items {
			n.Pods[string(page.Items[i].Status.Phase)]++
		}
		if options.Continue = page.Continue; options.Continue == "" {
			break
		}
	}
	lease, err := local.client.CoordinationV1().Leases(contract.SystemNamespace).Get(ctx, n.Node, metav1.GetOptions{})
	if err == nil && lease.Spec.HolderIdentity != nil {
		n.Leader, _, _ = strings.Cut(*lease.Spec.HolderIdentity, "_")
	}
	if n.Leader != "" {
		n.RemoteSilence = silence(ctx, local, n.Leader)
	}
	if ends, err := time.Parse(time.RFC3339, n.CredentialEnds); err == nil && ends.Before(s.clock.Now()) {
		n.add("akd's credential has expired", "kubectl actual token rotate "+n.Node+" --remote-context=CONTEXT")
	}
	return nil
}

// silence reads from the leader's metrics, where the user may, since when the
// remote API server has not answered, in seconds.
func silence(ctx context.Context, local *cluster, pod string) *int {
	const limit = 3 * time.Second
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	body, err := local.client.CoreV1().Pods(contract.SystemNamespace).ProxyGet("http", pod, "10254", "/metrics", nil).DoRaw(ctx)
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(body)) {
		if value, ok := strings.CutPrefix(line, "akd_remote_silence_seconds "); ok {
			seconds, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				return nil
			}
			whole := int(seconds)
			return &whole
		}
	}
	return nil
}

// show prints the table, and below it what is wrong.
func (s *status) show(out *strings.Builder, found []nodeStatus) error {
	if len(found) == 0 && s.output.format() == "" {
		printf(out, "No akd serves a node: install one with kubectl actual install NODE --remote-context=CONTEXT\n")
		return nil
	}
	r := result{
		kind: "NodeStatusList", items: found, narrow: 6,
		head: []string{"NODE", "READY", "AKD", "PODS", "CREDENTIAL", "AGE", "REMOTE ANSWERED", "KUBELET", "ADDRESS", "LEADER", "IMAGE"},
	}
	for i := range found {
		n := &found[i]
		r.names = append(r.names, "node/"+n.Node)
		r.rows = append(r.rows, []string{
			n.Node, map[bool]string{true: "True", false: "False"}[n.Ready], n.akds(), n.pods(), s.credential(n), n.Age,
			answered(n.RemoteSilence), n.Kubelet, n.Address, n.Leader, n.Image,
		})
	}
	if err := s.output.write(out, r); err != nil {
		return err
	}
	if format := s.output.format(); format != "" && format != "wide" {
		return nil
	}
	cross := s.style.on(s.streams.Out).mark("✗")
	for i := range found {
		for _, p := range found[i].Problems {
			printf(out, "\n%s %s: %s\n  mend it with: %s\n", cross, found[i].Node, p.What, p.Mend)
		}
		if len(found[i].Problems) > 0 {
			printf(out, "\nMore about it: kubectl actual check %s --remote-context=CONTEXT\n", found[i].Node)
		}
	}
	return nil
}

func (n *nodeStatus) akds() string {
	if n.Replicas == 0 {
		return "elsewhere"
	}
	return fmt.Sprintf("%d/%d", n.ReadyReplicas, n.Replicas)
}

// pods counts those that run, and all.
func (n *nodeStatus) pods() string {
	total := 0
	for _, count := range n.Pods {
		total += count
	}
	return fmt.Sprintf("%d/%d running", n.Pods[string(corev1.PodRunning)], total)
}

func (s *status) credential(n *nodeStatus) string {
	ends, err := time.Parse(time.RFC3339, n.CredentialEnds)
	switch {
	case err != nil:
		return ""
	case ends.Before(s.clock.Now()):
		return "expired"
	default:
		return duration.HumanDuration(ends.Sub(s.clock.Now())) + " left"
	}
}

func answered(silence *int) string {
	if silence == nil {
		return ""
	}
	return fmt.Sprintf("%ds ago", *silence)
}

// isUnhealthy reports whether a command ended because something is wrong with
// what it looked at.
func isUnhealthy(err error) bool {
	_, ok := errors.AsType[unhealthyError](err)
	return ok
}
