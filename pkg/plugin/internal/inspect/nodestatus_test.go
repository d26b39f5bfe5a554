package inspect

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
)

func TestStatusOf(t *testing.T) {
	t.Parallel()
	const (
		logs    = "kubectl actual logs vk"
		install = "kubectl actual install vk --remote-context=CONTEXT"
		rotate  = "kubectl actual token rotate vk --remote-context=CONTEXT"
	)
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	condition := func(kind corev1.NodeConditionType, status corev1.ConditionStatus) corev1.NodeCondition {
		return corev1.NodeCondition{Type: kind, Status: status, Reason: "Why", Message: "message"}
	}
	unsignedProblem := Problem{
		What: "pods run, but kubectl logs, exec, attach, port-forward and top may fail: " +
			"the certificate of its kubelet API is not signed, as after akd has moved to another address",
		Fix: "approve it: " + install,
	}
	cases := map[string]struct {
		reason     string
		conditions []corev1.NodeCondition
		expires    string
		credential string
		want       []Problem
		warnings   []Problem
	}{
		"Well": {
			reason: "nothing to say",
			conditions: []corev1.NodeCondition{
				condition(corev1.NodeReady, corev1.ConditionTrue),
				condition(contract.ConditionOrphanDeletionPaused, corev1.ConditionFalse),
				condition(contract.ConditionServingCertificateSigned, corev1.ConditionTrue),
				condition(contract.ConditionCredentialRenewed, corev1.ConditionTrue),
			},
			expires: "2030-01-02T09:04:05Z", credential: "6h left",
		},
		"Ill": {
			reason: "one problem for each",
			conditions: []corev1.NodeCondition{
				condition(corev1.NodeReady, corev1.ConditionFalse),
				condition(contract.ConditionOrphanDeletionPaused, corev1.ConditionTrue),
				condition(contract.ConditionServingCertificateSigned, corev1.ConditionFalse),
				condition(contract.ConditionCredentialRenewed, corev1.ConditionFalse),
			},
			expires:    "2030-01-01T00:00:00Z",
			credential: "expired",
			want: []Problem{
				{What: "the node is not ready: Why: message", Fix: logs},
				{What: "message", Fix: "delete the namespaces that nobody needs: kubectl get namespaces -l actual.vk/node-name=vk --context=CONTEXT"},
				{What: "akd's credential is not renewed: message", Fix: rotate},
				{What: "akd's credential has expired", Fix: rotate},
			},
			warnings: []Problem{unsignedProblem},
		},
		"Away": {
			reason: "for longer than its credential was valid: the log says no more",
			conditions: []corev1.NodeCondition{
				{Type: corev1.NodeReady, Status: corev1.ConditionFalse, Reason: contract.ReasonCredentialRejected, Message: "message"},
			},
			credential: "-",
			want:       []Problem{{What: "the node is not ready: CredentialRejected: message", Fix: rotate}},
		},
		"Moved": {
			reason: "akd has another address: its pods run, which is no outage",
			conditions: []corev1.NodeCondition{
				condition(corev1.NodeReady, corev1.ConditionTrue),
				condition(contract.ConditionServingCertificateSigned, corev1.ConditionFalse),
			},
			credential: "-",
			warnings:   []Problem{unsignedProblem},
		},
		"Silent":     {reason: "akd has no token of its own", credential: "-"},
		"Unreadable": {reason: "as if it were missing", expires: "tomorrow", credential: "-"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			node := &corev1.Node{
				ObjectMeta: metav1.ObjectMeta{Name: "vk", Annotations: map[string]string{contract.AnnotationTokenExpires: tc.expires}},
				Status:     corev1.NodeStatus{Conditions: tc.conditions},
			}
			got := statusOf(node, now, kubeclient.Commands{})
			if diff := cmp.Diff(tc.want, got.Problems); diff != "" {
				t.Errorf("%s: problems (-want +got):\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(tc.warnings, got.Warnings); diff != "" {
				t.Errorf("%s: warnings (-want +got):\n%s", tc.reason, diff)
			}
			if got.credential(now) != tc.credential {
				t.Errorf("%s: credential %q, want %q", tc.reason, got.credential(now), tc.credential)
			}
		})
	}
}

func TestAddDeployment(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason     string
		registered bool
		replicas   *int32
		ready      int32
		shown      string
		want       []string
	}{
		"All": {
			reason:     "nothing to say",
			registered: true,
			replicas:   new(int32(2)),
			ready:      2,
			shown:      "2/2",
		},
		"Default": {reason: "one replica, unless it says otherwise", registered: true, ready: 1, shown: "1/1"},
		"Some": {
			reason:     "worth a look",
			registered: true,
			replicas:   new(int32(2)),
			ready:      1,
			shown:      "1/2",
			want:       []string{"1 of 2 akd replicas are ready"},
		},
		"Unregistered": {
			reason: "akd cannot reach the API server",
			ready:  1,
			shown:  "1/1",
			want:   []string{"akd is installed, but the node is not registered"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := &NodeStatus{Node: "vk"}
			if tc.registered {
				n.age = "5d"
			}
			n.addDeployment(&appsv1.Deployment{
				Spec:   appsv1.DeploymentSpec{Replicas: tc.replicas},
				Status: appsv1.DeploymentStatus{ReadyReplicas: tc.ready},
			})
			var got []string
			for _, problem := range n.Problems {
				got = append(got, problem.What)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: problems (-want +got):\n%s", tc.reason, diff)
			}
			if n.replicas() != tc.shown {
				t.Errorf("%s: shown as %q, want %q", tc.reason, n.replicas(), tc.shown)
			}
		})
	}
}

// The approver's Deployment counted as akd's, whose replicas and image it replaced; and
// install is no remedy for a request that the approver leaves.
func TestAddApprover(t *testing.T) {
	t.Parallel()
	const logs = "kubectl logs deployment/vk.approver -n actual-system"
	deployment := func(name string, ready int32, image string) *appsv1.Deployment {
		return &appsv1.Deployment{
			ObjectMeta: metav1.ObjectMeta{
				Name: name, Namespace: contract.SystemNamespace, Labels: map[string]string{contract.LabelNodeName: "vk"},
			},
			Spec:   appsv1.DeploymentSpec{Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{{Image: image}}}}},
			Status: appsv1.DeploymentStatus{ReadyReplicas: ready},
		}
	}
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "vk", Labels: map[string]string{contract.LabelNode: "true"}}}
	node.Status.Conditions = []corev1.NodeCondition{{Type: contract.ConditionServingCertificateSigned, Status: corev1.ConditionFalse}}
	local := &kubeclient.Cluster{Side: kubeclient.Local, Client: fake.NewClientset(node,
		deployment("vk", 1, "akd:v1"), deployment("vk.approver", 0, "akd:v2"))}
	found, err := ReadNodes(t.Context(), local, nil, time.Now())
	if err != nil || len(found) != 1 {
		t.Fatalf("%d nodes, %v", len(found), err)
	}
	if got := found[0]; got.Image != "akd:v1" || got.replicas() != "1/1" || len(got.Problems) > 0 {
		t.Errorf("image %s, replicas %s, problems %v", got.Image, got.replicas(), got.Problems)
	}
	want := []Problem{
		{What: unsigned, Fix: "see why its approver leaves the request: " + logs},
		{
			What: "the approver of akd's certificates is not ready: after akd has moved to another address, its certificate is not approved",
			Fix:  logs,
		},
	}
	if diff := cmp.Diff(want, found[0].Warnings); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
}

func TestAddPods(t *testing.T) {
	t.Parallel()
	pod := func(name string, phase corev1.PodPhase, conditions ...corev1.PodCondition) *corev1.Pod {
		return &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name},
			Spec:       corev1.PodSpec{NodeName: "vk"},
			Status:     corev1.PodStatus{Phase: phase, Conditions: conditions},
		}
	}
	denied := corev1.PodCondition{
		Type: contract.ConditionRemoteCreated, Status: corev1.ConditionFalse, Reason: "QuotaExceeded", Message: "no room",
	}
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	unscheduled := func(since time.Duration) corev1.PodCondition {
		return corev1.PodCondition{
			Type: contract.ConditionRemoteScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "too small",
			LastTransitionTime: metav1.NewTime(now.Add(-since)),
		}
	}
	local := &kubeclient.Cluster{Side: kubeclient.Local, Client: fake.NewClientset(
		pod("web", corev1.PodRunning), pod("new", corev1.PodPending), pod("db", corev1.PodPending, denied),
		pod("large", corev1.PodPending, unscheduled(5*time.Minute)), pod("larger", corev1.PodPending, unscheduled(time.Second)))}
	node := &NodeStatus{Node: "vk", Pods: map[string]int{}}
	if err := node.addPods(t.Context(), local, now); err != nil {
		t.Fatal(err)
	}
	if want := "1/5 running, 2 remotely pending (5m)"; node.running() != want {
		t.Errorf("shown as %q, want %q", node.running(), want)
	}
	if diff := cmp.Diff(map[string]int{"Running": 1, "Pending": 4}, node.Pods); diff != "" {
		t.Errorf("pods (-want +got):\n%s", diff)
	}
	want := []Problem{
		{
			What: "1 of 5 pods cannot start: shop/db: QuotaExceeded: no room",
			Fix:  "kubectl describe pod db -n shop\nkubectl actual where db -n shop --remote-context=CONTEXT",
		},
		{
			What: "1 of 5 pods wait for a node of the remote cluster, for up to 5m: shop/large; the remote scheduler says: too small",
			Fix: "make room in the remote cluster, or have the pods request less: kubectl describe nodes --context=CONTEXT\n" +
				"kubectl describe pod large -n shop\nkubectl actual where large -n shop --remote-context=CONTEXT",
		},
	}
	if diff := cmp.Diff(want, node.Warnings); diff != "" {
		t.Errorf("the node works, but not all of it (-want +got):\n%s", diff)
	}
}
