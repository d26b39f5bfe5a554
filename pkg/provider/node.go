package provider

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/cluster"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/kubeletapi"
)

const (
	// nodeRefresh is how often the node's status is computed anew.
	nodeRefresh = time.Second
	// capacityRefresh is how often the remote nodes are listed, and capacityRetry
	// how soon again where that failed.
	capacityRefresh = time.Minute
	capacityRetry   = 10 * time.Second
)

// nodeSpec is what the configuration says about the node.
type nodeSpec struct {
	Name     string
	Hostname string
	Address  string              // InternalIP
	Port     int32               // of the kubelet API
	Capacity corev1.ResourceList // replaces what the remote nodes add up to
	Labels   map[string]string
	Taints   []corev1.Taint
}

// Addresses returns the addresses of the Node.
func (s nodeSpec) Addresses() []corev1.NodeAddress {
	return []corev1.NodeAddress{
		{Type: corev1.NodeInternalIP, Address: s.Address},
		{Type: corev1.NodeHostName, Address: s.Hostname},
	}
}

// nodeConfig is what a node works with.
type nodeConfig struct {
	Spec   nodeSpec
	Remote *cluster.Remote
	Probe  *probe
	// OrphansKept reports whether remote pods without a local pod are kept because
	// they are too many.
	OrphansKept func() bool
	// Certificate tells which certificate the kubelet API shows.
	Certificate func() kubeletapi.CertificateState
	// Credential is akd's way into the other cluster, if akd renews it; otherwise
	// nil.
	Credential Credential
	Clock      clock.WithTicker
	Logger     *slog.Logger
}

// Credential is what a node tells of akd's credential for the other cluster.
type Credential interface {
	// Expires returns when it expires, or zero when it does not.
	Expires() time.Time
	// Problem returns why it is not renewed, or nil.
	Problem() error
}

// node makes the Node object, and says when it has changed. It implements
// virtual-kubelet's NodeProvider.
type node struct {
	nodeConfig

	deleted chan struct{} // somebody deleted the Node

	mu     sync.Mutex
	notify func(*corev1.Node)
	last   *corev1.Node
	remoteNodes
	due time.Time // when the remote nodes are listed next
}

// newNode returns a node that knows nothing of the remote nodes yet; see
// ReadRemote.
func newNode(config nodeConfig) *node {
	return &node{nodeConfig: config, deleted: make(chan struct{}, 1)}
}

// remoteNodes is what the remote cluster's nodes add up to.
type remoteNodes struct {
	capacity    corev1.ResourceList
	allocatable corev1.ResourceList
	info        corev1.NodeSystemInfo
}

// Ping implements virtual-kubelet's NodeProvider. The lease says that akd is
// alive; that the remote does not answer is the Ready condition's to say.
func (n *node) Ping(context.Context) error { return nil }

// NotifyNodeStatus implements virtual-kubelet's NodeProvider.
func (n *node) NotifyNodeStatus(_ context.Context, notify func(*corev1.Node)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.notify = notify
}

// Adopt takes over the conditions of the Node that an earlier akd left, so that
// a restart is no transition of what stays as it is.
func (n *node) Adopt(ctx context.Context, local *cluster.Local) {
	left, err := local.GetNode(ctx)
	if err != nil {
		if !apierrors.IsNotFound(err) {
			n.Logger.Warn("the node's conditions start anew", "error", err)
		}
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.last = left
}

// Run refreshes the node until ctx ends.
func (n *node) Run(ctx context.Context) {
	ticker := n.Clock.NewTicker(nodeRefresh)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C():
			n.refresh(ctx)
		case <-n.deleted:
			n.mu.Lock()
			n.last = nil // what was told last has gone with it
			n.mu.Unlock()
			n.refresh(ctx)
		}
	}
}

// Changed is told of the Node as the local cluster has it, nil when it was
// deleted. A deleted Node must be back within 40 s, or the pod garbage collector deletes its pods.
// https://github.com/kubernetes/kubernetes/blob/v1.37.1/pkg/controller/podgc/gc_controller.go
func (n *node) Changed(node *corev1.Node) {
	if node != nil {
		return
	}
	select {
	case n.deleted <- struct{}{}:
	default: // it is known already
	}
}

func (n *node) refresh(ctx context.Context) {
	if err := n.ReadRemote(ctx); err != nil {
		n.Logger.Debug("capacity not refreshed", "error", err)
	}
	next := n.Object()
	n.mu.Lock()
	changed := n.last == nil || !sameStatus(&n.last.Status, &next.Status) ||
		n.last.Annotations[contract.AnnotationTokenExpires] != next.Annotations[contract.AnnotationTokenExpires]
	n.last = next
	notify := n.notify
	n.mu.Unlock()
	if changed && notify != nil {
		notify(next.DeepCopy())
	}
}

// sameStatus compares what is not a heartbeat.
func sameStatus(a, b *corev1.NodeStatus) bool {
	a, b = a.DeepCopy(), b.DeepCopy()
	for _, status := range []*corev1.NodeStatus{a, b} {
		for i := range status.Conditions {
			status.Conditions[i].LastHeartbeatTime = metav1.Time{}
		}
	}
	return equality.Semantic.DeepEqual(a, b)
}

// ReadRemote sums up the remote's schedulable nodes. A tenant that may not
// list nodes lives with the configured capacity, and shows its API server's
// version in place of the kubelets'.
func (n *node) ReadRemote(ctx context.Context) error {
	n.mu.Lock()
	now := n.Clock.Now()
	if now.Before(n.due) {
		n.mu.Unlock()
		return nil
	}
	n.due = now.Add(capacityRetry)
	n.mu.Unlock()
	nodes, err := n.Remote.ListNodes(ctx)
	if err != nil && (!apierrors.IsForbidden(err) || len(n.Spec.Capacity) == 0) {
		return err
	}
	total := sum(nodes)
	if err != nil {
		if total.info, err = n.Remote.ServerVersion(ctx); err != nil {
			return err
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.remoteNodes = total
	n.due = now.Add(capacityRefresh)
	return nil
}

// sum adds up the nodes that take pods.
func sum(nodes []corev1.Node) remoteNodes {
	total := remoteNodes{capacity: corev1.ResourceList{}, allocatable: corev1.ResourceList{}}
	slices.SortFunc(nodes, func(a, b corev1.Node) int { return a.CreationTimestamp.Compare(b.CreationTimestamp.Time) })
	for i := range nodes {
		if !takesPods(&nodes[i]) {
			continue
		}
		if total.info.KubeletVersion == "" {
			total.info = nodes[i].Status.NodeInfo
		}
		add(total.capacity, nodes[i].Status.Capacity)
		add(total.allocatable, nodes[i].Status.Allocatable)
	}
	return total
}

func takesPods(node *corev1.Node) bool {
	if node.Spec.Unschedulable {
		return false
	}
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

func add(total, more corev1.ResourceList) {
	for name, quantity := range more {
		sum := total[name]
		sum.Add(quantity)
		total[name] = sum
	}
}

// Object builds the Node as it should be now.
func (n *node) Object() *corev1.Node {
	n.mu.Lock()
	defer n.mu.Unlock()
	info := n.info
	// What identifies a machine is not this node's: there is no machine.
	info.MachineID, info.SystemUUID, info.BootID = "", "", ""
	if info.OperatingSystem == "" {
		info.OperatingSystem, info.Architecture = "linux", "amd64"
	}
	capacity, allocatable := n.capacity.DeepCopy(), n.allocatable.DeepCopy()
	if capacity == nil {
		capacity, allocatable = corev1.ResourceList{}, corev1.ResourceList{}
	}
	maps.Copy(capacity, n.Spec.Capacity)
	maps.Copy(allocatable, n.Spec.Capacity)
	labels := map[string]string{
		corev1.LabelHostname:   n.Spec.Hostname,
		corev1.LabelOSStable:   info.OperatingSystem,
		corev1.LabelArchStable: info.Architecture,
		contract.LabelNode:     "true",
	}
	maps.Copy(labels, n.Spec.Labels)
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: n.Spec.Name, Labels: labels, Annotations: n.annotations()},
		Spec:       corev1.NodeSpec{Taints: n.Spec.Taints},
		Status: corev1.NodeStatus{
			NodeInfo:        info,
			Capacity:        capacity,
			Allocatable:     allocatable,
			Conditions:      n.conditionsLocked(),
			DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: n.Spec.Port}},
			Addresses:       n.Spec.Addresses(),
		},
	}
}

// annotations say when akd's credential for the other cluster expires.
func (n *node) annotations() map[string]string {
	annotations := map[string]string{}
	if n.Credential == nil {
		return annotations
	}
	if expires := n.Credential.Expires(); !expires.IsZero() {
		annotations[contract.AnnotationTokenExpires] = expires.UTC().Format(time.RFC3339)
	}
	return annotations
}

func (n *node) conditionsLocked() []corev1.NodeCondition {
	conditions := []corev1.NodeCondition{n.readyCondition(), n.orphansCondition(), n.certificateCondition()}
	if n.Credential != nil {
		conditions = append(conditions, credentialCondition(n.Credential))
	}
	for _, pressure := range []corev1.NodeConditionType{corev1.NodeMemoryPressure, corev1.NodeDiskPressure, corev1.NodePIDPressure} {
		conditions = append(conditions, corev1.NodeCondition{
			Type: pressure, Status: corev1.ConditionFalse, Reason: "RemoteNodesDecide", Message: "each remote node guards itself",
		})
	}
	for i := range conditions {
		conditions[i].LastHeartbeatTime = metav1.NewTime(n.Clock.Now())
		conditions[i].LastTransitionTime = n.transitionLocked(conditions[i])
	}
	return conditions
}

func (n *node) readyCondition() corev1.NodeCondition {
	if ok, reason := n.Probe.ready(); !ok {
		return corev1.NodeCondition{Type: corev1.NodeReady, Status: corev1.ConditionFalse, Reason: "RemoteUnreachable", Message: reason}
	}
	return corev1.NodeCondition{
		Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "RemoteReady", Message: "the remote cluster answers",
	}
}

func (n *node) orphansCondition() corev1.NodeCondition {
	condition := corev1.NodeCondition{Type: contract.ConditionOrphanDeletionPaused}
	if n.OrphansKept() {
		condition.Status, condition.Reason = corev1.ConditionTrue, "TooManyOrphans"
		condition.Message = "most remote pods lack a local pod and are kept: " +
			"check that akd serves the right cluster, then delete the remote namespaces by hand"
		return condition
	}
	condition.Status, condition.Reason = corev1.ConditionFalse, "FewOrphans"
	condition.Message = "few remote pods lack a local pod"
	return condition
}

func (n *node) certificateCondition() corev1.NodeCondition {
	condition := corev1.NodeCondition{Type: contract.ConditionServingCertificateSigned}
	if state := n.Certificate(); state.SelfSigned || state.Message != "" {
		condition.Status, condition.Reason, condition.Message = corev1.ConditionFalse, "NotSigned", state.Message
		return condition
	}
	condition.Status, condition.Reason = corev1.ConditionTrue, "Signed"
	condition.Message = "callers can verify the kubelet API"
	return condition
}

func credentialCondition(c Credential) corev1.NodeCondition {
	condition := corev1.NodeCondition{Type: contract.ConditionCredentialRenewed, Status: corev1.ConditionTrue, Reason: "Renewed", Message: "it does not expire"}
	if expires := c.Expires(); !expires.IsZero() {
		condition.Message = "it expires at " + expires.UTC().Format(time.RFC3339)
	}
	if err := c.Problem(); err != nil {
		condition.Status, condition.Reason = corev1.ConditionFalse, "NotRenewed"
		condition.Message += ": " + err.Error()
	}
	return condition
}

// transitionLocked keeps the time of a condition whose status stays the same.
func (n *node) transitionLocked(next corev1.NodeCondition) metav1.Time {
	if n.last != nil {
		for _, old := range n.last.Status.Conditions {
			if old.Type == next.Type && old.Status == next.Status {
				return old.LastTransitionTime
			}
		}
	}
	return metav1.NewTime(n.Clock.Now())
}
