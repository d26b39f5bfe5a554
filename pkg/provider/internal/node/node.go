package node

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/cluster"
)

const (
	// refreshInterval is how often the node's status is computed anew.
	refreshInterval = time.Second
	// capacityRefresh is how often the remote nodes are listed, and capacityRetry
	// how soon again where that failed.
	capacityRefresh = time.Minute
	capacityRetry   = 10 * time.Second
)

// Spec is what the configuration says about the node.
type Spec struct {
	Name     string
	Hostname string
	Address  string              // InternalIP
	Port     int32               // of the kubelet API
	Capacity corev1.ResourceList // replaces what the remote nodes add up to
	Labels   map[string]string
	Taints   []corev1.Taint
}

// Addresses returns the addresses of the Node.
func (s Spec) Addresses() []corev1.NodeAddress {
	return []corev1.NodeAddress{
		{Type: corev1.NodeInternalIP, Address: s.Address},
		{Type: corev1.NodeHostName, Address: s.Hostname},
	}
}

// Config is what a node works with.
type Config struct {
	Spec   Spec
	Remote *cluster.Remote
	Probe  *Probe
	// OrphansKept reports whether remote pods without a local pod are kept because
	// they are too many.
	OrphansKept func() bool
	// CertificateSigned reports whether callers of the kubelet API can verify its
	// certificate, and otherwise says why not.
	CertificateSigned func() (signed bool, message string)
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

// Node makes the Node object, and says when it has changed. It implements
// virtual-kubelet's NodeProvider.
type Node struct {
	Config

	deleted chan struct{} // somebody deleted the Node

	mu     sync.Mutex
	notify func(*corev1.Node)
	last   *corev1.Node
	remoteNodes
	due time.Time // when the remote nodes are listed next
}

// New returns a node that knows nothing of the remote nodes yet; see
// ReadRemote.
func New(config Config) *Node {
	return &Node{Config: config, deleted: make(chan struct{}, 1)}
}

// Ping implements virtual-kubelet's NodeProvider. The lease says that akd is
// alive; that the remote does not answer is the Ready condition's to say.
func (n *Node) Ping(context.Context) error { return nil }

// NotifyNodeStatus implements virtual-kubelet's NodeProvider.
func (n *Node) NotifyNodeStatus(_ context.Context, notify func(*corev1.Node)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.notify = notify
}

// Adopt takes over the conditions of the Node that an earlier akd left, so that
// a restart is no transition of what stays as it is.
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
			n.last = nil // what was told last has gone with it
			n.mu.Unlock()
			n.refresh(ctx)
		}
	}
}

// Changed is told of the Node as the local cluster has it, nil when it was
// deleted. A deleted Node must be back within 40 s, or the pod garbage collector deletes its pods.
// https://github.com/kubernetes/kubernetes/blob/v1.37.1/pkg/controller/podgc/gc_controller.go
func (n *Node) Changed(node *corev1.Node) {
	if node != nil {
		return
	}
	select {
	case n.deleted <- struct{}{}:
	default: // it is known already
	}
}

func (n *Node) refresh(ctx context.Context) {
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

// Object builds the Node as it should be now.
func (n *Node) Object() *corev1.Node {
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
