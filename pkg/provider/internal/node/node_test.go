package node

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	quantity "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/utils/clock"
	testingclock "k8s.io/utils/clock/testing"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/internal/remotenodes"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/cluster"
)

func remoteNode(cpu string, ready corev1.ConditionStatus, unschedulable bool) corev1.Node {
	list := corev1.ResourceList{corev1.ResourceCPU: quantity.MustParse(cpu)}
	return corev1.Node{
		Spec: corev1.NodeSpec{Unschedulable: unschedulable},
		Status: corev1.NodeStatus{
			Capacity: list, Allocatable: list,
			Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: ready}},
			NodeInfo: corev1.NodeSystemInfo{
				KubeletVersion: "v1.37.1", MachineID: "a-real-machine", OperatingSystem: "linux", Architecture: "arm64",
			},
		},
	}
}

// The node offers the sum of the remote nodes that accept pods, except for
// resources that the operator configures.
func TestNodeCapacity(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		reason     string
		remote     []corev1.Node
		configured corev1.ResourceList
		want       map[corev1.ResourceName]string
	}{
		"added up": {
			reason: "two nodes' resources are one node's",
			remote: []corev1.Node{remoteNode("2", corev1.ConditionTrue, false), remoteNode("3", corev1.ConditionTrue, false)},
			want:   map[corev1.ResourceName]string{"cpu": "5"},
		},
		"cordoned and lost": {
			reason: "nodes that take no pods add nothing",
			remote: []corev1.Node{remoteNode("2", corev1.ConditionTrue, true), remoteNode("3", corev1.ConditionUnknown, false)},
			want:   map[corev1.ResourceName]string{},
		},
		"configured": {
			reason:     "a configured resource replaces the discovered one, and no other",
			remote:     []corev1.Node{remoteNode("2", corev1.ConditionTrue, false)},
			configured: corev1.ResourceList{corev1.ResourcePods: quantity.MustParse("50")},
			want:       map[corev1.ResourceName]string{"cpu": "2", "pods": "50"},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := testNode()
			n.Spec.Capacity = tc.configured
			n.remote = remotenodes.Of(tc.remote, n.Spec.Placement)
			got := map[corev1.ResourceName]string{}
			for name, found := range n.Object().Status.Allocatable {
				got[name] = found.String()
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func testNode() *Node {
	clock := testingclock.NewFakeClock(time.Unix(0, 0))
	remote := cluster.NewRemote(fake.NewClientset(), contract.Owner{Node: "ak"})
	return New(Config{
		Spec:              Spec{Name: "ak", Hostname: "ak", Address: "192.0.2.5", Port: 10250},
		Remote:            remote,
		Probe:             NewProbe(remote, 40*time.Second, clock),
		OrphansKept:       func() bool { return false },
		CertificateSigned: func() (bool, string) { return true, "" },
		Clock:             clock,
		Logger:            slog.New(slog.DiscardHandler),
	})
}

// The identifiers of a machine must not become those of this node: it represents
// several machines, and others tomorrow.
func TestNodeIsNoMachine(t *testing.T) {
	t.Parallel()
	n := testNode()
	n.remote = remotenodes.Of([]corev1.Node{remoteNode("2", corev1.ConditionTrue, false)}, n.Spec.Placement)
	info := n.Object().Status.NodeInfo
	if info.MachineID != "" || info.KubeletVersion != "v1.37.1" || info.Architecture != "arm64" {
		t.Errorf("node info %+v: want the remote's version and architecture, and no machine ID", info)
	}
}

// The Node says what the remote nodes agree on, and that it is no machine; the
// configuration has the last word.
func TestNodeLabels(t *testing.T) {
	t.Parallel()
	own := map[string]string{
		corev1.LabelHostname: "ak", contract.LabelNode: "true", corev1.LabelNodeExcludeBalancers: "true", "type": "virtual-kubelet",
		contract.LabelNodeName: "ak",
	}
	with := func(more map[string]string) map[string]string {
		labels := maps.Clone(own)
		maps.Copy(labels, more)
		return labels
	}
	tests := map[string]struct {
		reason     string
		remote     remotenodes.Together
		configured map[string]string
		want       map[string]string
	}{
		"unknown": {
			reason: "without a right to list the nodes, the API server's system is the best guess",
			remote: remotenodes.Together{Info: corev1.NodeSystemInfo{OperatingSystem: "linux", Architecture: "arm64"}},
			want:   with(map[string]string{corev1.LabelOSStable: "linux", corev1.LabelArchStable: "arm64"}),
		},
		"not shared": {
			reason: "the remote nodes have several architectures",
			remote: remotenodes.Together{
				Info:   corev1.NodeSystemInfo{OperatingSystem: "linux", Architecture: "arm64"},
				Labels: map[string]string{corev1.LabelOSStable: "linux", corev1.LabelTopologyZone: "a"},
			},
			want: with(map[string]string{corev1.LabelOSStable: "linux", corev1.LabelTopologyZone: "a"}),
		},
		"configured": {
			reason:     "install has found that they have several architectures, and an administrator calls the zone otherwise",
			remote:     remotenodes.Together{Labels: map[string]string{corev1.LabelArchStable: "arm64", corev1.LabelTopologyZone: "a"}},
			configured: map[string]string{corev1.LabelArchStable: "", corev1.LabelTopologyZone: "remote", "rack": ""},
			want:       with(map[string]string{corev1.LabelTopologyZone: "remote", "rack": ""}),
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := testNode()
			n.remote, n.Spec.Labels = tc.remote, tc.configured
			if diff := cmp.Diff(tc.want, n.Object().Labels); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// A label is reported when the remote nodes come to agree on it, and when they do not any
// more. Labels that others have set are not akd's.
func TestNodeReportsLabels(t *testing.T) {
	t.Parallel()
	n := testNode()
	var reported []*corev1.Node
	n.NotifyNodeStatus(t.Context(), func(node *corev1.Node) { reported = append(reported, node) })
	n.due = n.Clock.Now().Add(time.Hour)
	left := n.Object()
	left.Labels["example.org/by"] = "somebody"
	n.last = left
	n.refresh(t.Context())
	if len(reported) != 0 {
		t.Fatalf("reported %v, although nothing has changed", reported[0].Labels)
	}
	for i, labels := range []map[string]string{{corev1.LabelTopologyZone: "a"}, {}} {
		n.remote.Labels = labels
		n.refresh(t.Context())
		n.refresh(t.Context())
		if len(reported) != i+1 || reported[i].Labels[corev1.LabelTopologyZone] != labels[corev1.LabelTopologyZone] {
			t.Fatalf("%d reports after labels %v, want %d", len(reported), labels, i+1)
		}
	}
}

// While no remote node takes pods, the node has no room, and is what it was.
func TestNodeWithoutNodes(t *testing.T) {
	t.Parallel()
	ready := remoteNode("2", corev1.ConditionTrue, false)
	ready.Name, ready.Labels = "one", map[string]string{corev1.LabelTopologyZone: "a"}
	lost := ready.DeepCopy()
	lost.Status.Conditions[0].Status = corev1.ConditionUnknown
	client := fake.NewClientset(&ready)
	n := testNode()
	n.Remote = cluster.NewRemote(client, contract.Owner{Node: "ak"})
	if err := n.ReadRemote(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := client.CoreV1().Nodes().Update(t.Context(), lost, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	n.due = time.Time{}
	if err := n.ReadRemote(t.Context()); err != nil {
		t.Fatal(err)
	}
	node := n.Object()
	version, cpus := node.Status.NodeInfo.KubeletVersion, node.Status.Capacity.Cpu()
	if node.Labels[corev1.LabelTopologyZone] != "a" || version != "v1.37.1" || !cpus.IsZero() {
		t.Errorf("labels %v, version %s, %s CPUs: want zone a, v1.37.1 and 0", node.Labels, version, cpus)
	}
	if sizes := n.Sizes(); len(sizes) != 1 || sizes[0].Cpu().Value() != 2 {
		t.Errorf("sizes %v, want that of the node that is to come back", sizes)
	}
	n.Spec.Capacity = corev1.ResourceList{corev1.ResourceCPU: quantity.MustParse("64")}
	n.due = time.Time{}
	if err := n.ReadRemote(t.Context()); err != nil {
		t.Fatal(err)
	}
	if sizes := n.Sizes(); len(sizes) != 1 || len(sizes[0]) != 0 {
		t.Errorf("sizes %v, want none of a resource that is configured", sizes)
	}
}

// A deleted Node is reported again although nothing about it has changed.
func TestNodeComesBack(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := testNode()
	reported := make(chan *corev1.Node, 1)
	n.NotifyNodeStatus(ctx, func(node *corev1.Node) { reported <- node })
	n.refresh(ctx)
	<-reported
	done := make(chan struct{})
	go func() { n.Run(ctx); close(done) }()
	n.Changed(nil)
	if back := <-reported; back.Name != "ak" {
		t.Errorf("told of node %q, want ak", back.Name)
	}
	cancel()
	<-done
}

// A restart of akd is not a transition of an unchanged condition.
func TestNodeAdoptsConditions(t *testing.T) {
	t.Parallel()
	n := testNode()
	since := metav1.NewTime(time.Unix(-3600, 0))
	left := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "ak"}, Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{
		{Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastTransitionTime: since},
		{Type: corev1.NodeDiskPressure, Status: corev1.ConditionUnknown, LastTransitionTime: since},
	}}}
	n.Adopt(t.Context(), cluster.NewLocal(cluster.Clients{Node: fake.NewClientset(left)}, "ak"))
	times := map[corev1.NodeConditionType]metav1.Time{}
	for _, condition := range n.Object().Status.Conditions {
		times[condition.Type] = condition.LastTransitionTime
	}
	if got := times[corev1.NodeReady]; !got.Equal(&since) {
		t.Errorf("Ready since %s, want since %s", got, since)
	}
	if got := times[corev1.NodeDiskPressure]; got.Equal(&since) {
		t.Error("DiskPressure became False and is said to have been so before")
	}
}

// The node stays ready through short outages, and recovers only when the remote
// cluster answers reliably.
func TestProbe(t *testing.T) {
	t.Parallel()
	failure := errors.New("no answer")
	failures := func(n int, then ...error) []error { return append(slices.Repeat([]error{failure}, n), then...) }
	tests := map[string]struct {
		reason  string
		answers []error // one every 10 s
		want    bool
	}{
		"answers":           {"a remote that answers is ready", []error{nil, nil}, true},
		"short silence":     {"less than 40 s is nothing", []error{nil, failure, failure, failure}, true},
		"long silence":      {"40 s without an answer is too long", []error{nil, failure, failure, failure, failure}, false},
		"first answer":      {"one answer may be luck", failures(5, nil), false},
		"answers again":     {"two in a row are not", failures(5, nil, nil), true},
		"flapping link":     {"one in two is not enough to come back", failures(5, nil, failure, nil, failure), false},
		"never was reached": {"a remote that never answered is not ready after 40 s", failures(5), false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			clock := testingclock.NewFakeClock(time.Unix(0, 0))
			p := NewProbe(cluster.NewRemote(fake.NewClientset(), contract.Owner{Node: "ak"}), 40*time.Second, clock)
			for _, answer := range tc.answers {
				clock.SetTime(clock.Now().Add(10 * time.Second))
				p.record(answer)
			}
			if got, reason := p.ready(); got != tc.want {
				t.Errorf("%s: ready %v (%s), want %v", tc.reason, got, reason, tc.want)
			}
		})
	}
}

// kubectl actual status reads the expiry of the credential from an annotation:
// the message of the condition is for people.
func TestNodeTellsWhenCredentialExpires(t *testing.T) {
	t.Parallel()
	expires := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	n := testNode()
	if got, found := n.Object().Annotations[contract.AnnotationTokenExpires]; found {
		t.Errorf("a node without a credential of akd's has the annotation %q", got)
	}
	n.Credential = expiring(expires)
	if got, want := n.Object().Annotations[contract.AnnotationTokenExpires], "2030-01-02T03:04:05Z"; got != want {
		t.Errorf("annotation %q, want %q", got, want)
	}
}

// expiring is a credential that is renewed and that expires at this time.
type expiring time.Time

func (e expiring) Expires() time.Time { return time.Time(e) }

func (e expiring) Problem() error { return nil }

// virtual-kubelet's notify waits for its controller, and waits for ever if that
// has ended: the node must not, or akd's work would never end.
func TestNotifyNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := New(Config{
			Spec:              Spec{Name: "ak", Capacity: corev1.ResourceList{corev1.ResourceCPU: quantity.MustParse("1")}},
			Remote:            cluster.NewRemote(fake.NewClientset(), contract.Owner{Node: "ak"}),
			Probe:             NewProbe(nil, time.Minute, clock.RealClock{}),
			OrphansKept:       func() bool { return false },
			CertificateSigned: func() (bool, string) { return true, "" },
			Clock:             clock.RealClock{},
			Logger:            slog.New(slog.DiscardHandler),
		})
		controller, end := context.WithCancel(t.Context())
		forever := make(chan struct{})
		n.NotifyNodeStatus(controller, func(*corev1.Node) { <-forever })
		refreshed := make(chan struct{})
		go func() { n.refresh(t.Context()); close(refreshed) }()
		synctest.Wait()
		end()
		<-refreshed
		close(forever)
	})
}
