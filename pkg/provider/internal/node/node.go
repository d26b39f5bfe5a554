package node

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
	"github.com/actual-kubelets/actual-kubelets/pkg/internal/remotenodes"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/cluster"
)

const (
	// refreshInterval is how often the status of the node is computed.
	refreshInterval = time.Second
	// capacityRefresh is how often the remote nodes are listed, and capacityRetry
	// is the delay before a retry if that failed.
	capacityRefresh = time.Minute
	capacityRetry   = 10 * time.Second
)

// Spec is the configuration of the node.
type Spec struct {
	Name     string
	Hostname string
	Address  string              // InternalIP
	Port     int32               // of the kubelet API
	Capacity corev1.ResourceList // overrides the sum of the remote nodes
	Features []string            // are declared if akd may not list the remote nodes
	Labels   map[string]string
	Taints   []corev1.Taint
	// Placement is where remote pods may run.
	Placement remotenodes.Placement
}

// Addresses returns the addresses of the Node.
func (s Spec) Addresses() []corev1.NodeAddress {
	return []corev1.NodeAddress{
		{Type: corev1.NodeInternalIP, Address: s.Address},
		{Type: corev1.NodeHostName, Address: s.Hostname},
	}
}

// Config holds the settings and dependencies of a Node.
type Config struct {
	Spec   Spec
	Remote *cluster.Remote
	Probe  *Probe
	// OrphansKept reports whether akd keeps remote pods without a local pod
	// because there are too many of them.
	OrphansKept func() bool
	// CertificateSigned reports whether clients of the kubelet API can verify its
	// certificate. If they cannot, message gives the reason.
	CertificateSigned func() (signed bool, message string)
	// Credential is akd's credential for the other cluster if akd renews it, and
	// nil otherwise.
	Credential Credential
	Clock      clock.WithTicker
	Logger     *slog.Logger
}

// Credential is the state of akd's credential for the other cluster that the Node
// reports.
type Credential interface {
	// Expires returns when the credential expires, or zero if it does not.
	Expires() time.Time
	// Problem returns the reason why the credential is not renewed, or nil.
	Problem() error
}

// Node builds the Node object and reports when it has changed. It implements
// virtual-kubelet's NodeProvider.
type Node struct {
	Config

	deleted chan struct{} // notifies Run that someone deleted the Node

	mu     sync.Mutex
	notify func(*corev1.Node)
	heard  <-chan struct{} // closed when nobody hears notify any more
	last   *corev1.Node
	labels map[string]string // those that were reported last
	remote remotenodes.Together
	due    time.Time // next time to list the remote nodes
}

// New returns a node without data about the remote nodes; see ReadRemote.
func New(config Config) *Node {
	return &Node{Config: config, deleted: make(chan struct{}, 1)}
}

// Ping implements virtual-kubelet's NodeProvider. The lease reports that akd is
// alive; the Ready condition reports whether the remote cluster answers.
func (n *Node) Ping(context.Context) error { return nil }

// NotifyNodeStatus implements virtual-kubelet's NodeProvider.
func (n *Node) NotifyNodeStatus(ctx context.Context, notify func(*corev1.Node)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.notify, n.heard = notify, ctx.Done()
}

// Adopt copies the conditions from the Node that an earlier akd left, so that a
// restart is not a transition of unchanged conditions.
func (n *Node) Adopt(ctx context.Context, local *cluster.Local) {
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
func (n *Node) Run(ctx context.Context) {
	ticker := n.Clock.NewTicker(refreshInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C():
			n.refresh(ctx)
		case <-n.deleted:
			n.mu.Lock()
			n.last = nil // the status reported last was deleted with it
			n.mu.Unlock()
			n.refresh(ctx)
		}
	}
}

// Changed handles a change of the Node in the local cluster. node is nil if it
// was deleted. A deleted Node must be recreated within 40 s; otherwise the pod
// garbage collector deletes its pods.
// https://github.com/kubernetes/kubernetes/blob/v1.37.1/pkg/controller/podgc/gc_controller.go
func (n *Node) Changed(node *corev1.Node) {
	if node != nil {
		return
	}
	select {
	case n.deleted <- struct{}{}:
	default: // Run is already notified
	}
}

func (n *Node) refresh(ctx context.Context) {
	if err := n.ReadRemote(ctx); err != nil {
		n.Logger.Debug("capacity not refreshed", "error", err)
	}
	next := n.Object()
	n.mu.Lock()
	changed := n.last == nil || !sameStatus(&n.last.Status, &next.Status) ||
		n.last.Annotations[contract.AnnotationTokenExpires] != next.Annotations[contract.AnnotationTokenExpires] ||
		!hasLabels(n.last, n.labels, next.Labels)
	n.labels = next.Labels
	n.last = next
	notify, heard := n.notify, n.heard
	n.mu.Unlock()
	if !changed || notify == nil {
		return
	}
	// virtual-kubelet's notify waits until its controller takes the status, which a
	// controller that has ended never does.
	taken := make(chan struct{})
	go func() { defer close(taken); notify(next.DeepCopy()) }()
	select {
	case <-taken:
	case <-heard:
	}
}

// hasLabels reports whether a Node has the labels that it should, and none that akd has set
// and that it should not have any more. Others set labels, too.
func hasLabels(node *corev1.Node, former, want map[string]string) bool {
	for key, value := range want {
		if have, ok := node.Labels[key]; !ok || have != value {
			return false
		}
	}
	for key := range former {
		if _, ok := want[key]; !ok {
			return false
		}
	}
	return true
}

// sameStatus compares two statuses without their heartbeats.
func sameStatus(a, b *corev1.NodeStatus) bool {
	a, b = a.DeepCopy(), b.DeepCopy()
	for _, status := range []*corev1.NodeStatus{a, b} {
		for i := range status.Conditions {
			status.Conditions[i].LastHeartbeatTime = metav1.Time{}
		}
	}
	return equality.Semantic.DeepEqual(a, b)
}

// Object builds the current desired state of the Node.
func (n *Node) Object() *corev1.Node {
	n.mu.Lock()
	defer n.mu.Unlock()
	info := n.remote.Info
	// The identifiers of a machine do not apply to this node: there is no
	// machine.
	info.MachineID, info.SystemUUID, info.BootID = "", "", ""
	if info.OperatingSystem == "" {
		info.OperatingSystem, info.Architecture = "linux", "amd64"
	}
	capacity, allocatable := n.remote.Capacity.DeepCopy(), n.remote.Allocatable.DeepCopy()
	if capacity == nil {
		capacity, allocatable = corev1.ResourceList{}, corev1.ResourceList{}
	}
	maps.Copy(capacity, n.Spec.Capacity)
	maps.Copy(allocatable, n.Spec.Capacity)
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: n.Spec.Name, Labels: n.labelsLocked(info), Annotations: n.annotations()},
		Spec:       corev1.NodeSpec{Taints: n.Spec.Taints},
		Status: corev1.NodeStatus{
			NodeInfo:        info,
			Capacity:        capacity,
			Allocatable:     allocatable,
			Conditions:      n.conditionsLocked(),
			DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: n.Spec.Port}},
			Addresses:       n.Spec.Addresses(),
			// The API server refuses a pod that needs a feature which the node does not declare.
			// https://kubernetes.io/docs/concepts/scheduling-eviction/node-declared-features/
			DeclaredFeatures: slices.Clone(n.remote.Features),
		},
	}
}

// annotations returns the Node's annotations: the expiry of akd's credential for
// the other cluster.
func (n *Node) annotations() map[string]string {
	annotations := map[string]string{}
	if n.Credential == nil {
		return annotations
	}
	if expires := n.Credential.Expires(); !expires.IsZero() {
		annotations[contract.AnnotationTokenExpires] = expires.UTC().Format(time.RFC3339)
	}
	return annotations
}
