package inspect

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
)

func TestLocate(t *testing.T) {
	t.Parallel()
	started := map[string]string{
		contract.AnnotationRemoteNamespace: "vk-shop",
		contract.AnnotationRemoteNode:      "remote-1",
		contract.AnnotationRemoteUID:       "r0",
	}
	cases := map[string]struct {
		reason      string
		node        string
		annotations map[string]string
		status      corev1.PodStatus
		want        Location
	}{
		"Started": {
			reason:      "the annotations say where",
			node:        "vk",
			annotations: started,
			status:      corev1.PodStatus{Phase: corev1.PodRunning},
			want: Location{
				Phase:           "Running",
				Node:            "vk",
				Actual:          true,
				RemoteNamespace: "vk-shop",
				RemotePod:       "web",
				RemoteNode:      "remote-1",
				RemoteUID:       "r0",
			},
		},
		"Not started": {
			reason: "the namespace's name can be computed", node: "vk",
			want: Location{Node: "vk", Actual: true, RemoteNamespace: contract.RemoteNamespace("vk", "shop"), RemotePod: "web"},
		},
		"Blocked": {
			reason: "akd's conditions say why", node: "vk",
			status: corev1.PodStatus{Conditions: []corev1.PodCondition{
				{Type: corev1.PodReady, Status: corev1.ConditionFalse, Reason: "NotReady", Message: "of no interest"},
				{Type: contract.ConditionRemoteScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "no room"},
			}},
			want: Location{
				Node:            "vk",
				Actual:          true,
				RemoteNamespace: contract.RemoteNamespace("vk", "shop"),
				RemotePod:       "web",
				Reason:          "Unschedulable",
				Message:         "no room",
			},
		},
		"Elsewhere": {
			reason: "a machine", node: "local-1", status: corev1.PodStatus{Phase: corev1.PodFailed, Reason: "Evicted", Message: "no room"},
			want: Location{Phase: "Failed", Node: "local-1", Reason: "Evicted", Message: "no room"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pod := &corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", Annotations: tc.annotations},
				Spec:       corev1.PodSpec{NodeName: tc.node},
				Status:     tc.status,
			}
			tc.want.Namespace, tc.want.Pod = "shop", "web"
			if diff := cmp.Diff(tc.want, Locate(pod, map[string]bool{"vk": true})); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestAddRemote(t *testing.T) {
	t.Parallel()
	at := func(minute int) metav1.Time { return metav1.NewTime(time.Date(2030, 1, 1, 0, minute, 0, 0, time.UTC)) }
	event := func(name, pod string, minute int) *corev1.Event {
		return &corev1.Event{
			ObjectMeta:     metav1.ObjectMeta{Namespace: "vk-shop", Name: name},
			InvolvedObject: corev1.ObjectReference{Kind: "Pod", Name: pod},
			Reason:         name,
			Message:        "message",
			LastTimestamp:  at(minute),
		}
	}
	remote := &kubeclient.Cluster{Side: kubeclient.Remote, Client: fake.NewClientset(
		&corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "vk-shop", Name: "web"},
			Spec:       corev1.PodSpec{NodeName: "remote-2"},
			Status:     corev1.PodStatus{Phase: corev1.PodRunning},
		},
		event("Pulled", "web", 2), event("Scheduled", "web", 1), event("Killing", "other", 3),
	)}
	locations := []Location{
		{
			Pod:             "web",
			Actual:          true,
			RemoteNamespace: "vk-shop",
			RemotePod:       "web",
			RemoteNode:      "remote-1",
		},
		{Pod: "gone", Actual: true, RemoteNamespace: "vk-shop", RemotePod: "gone"},
		{Pod: "local"},
	}
	if err := addRemote(t.Context(), remote, locations); err != nil {
		t.Fatal(err)
	}
	want := []Location{
		{
			Pod:             "web",
			Actual:          true,
			RemoteNamespace: "vk-shop",
			RemotePod:       "web",
			RemoteNode:      "remote-2",
			RemotePhase:     "Running",
			LastEvent:       "Pulled: message",
		},
		{
			Pod:             "gone",
			Actual:          true,
			RemoteNamespace: "vk-shop",
			RemotePod:       "gone",
			RemotePhase:     "NotFound",
		},
		{Pod: "local"},
	}
	if diff := cmp.Diff(want, locations); diff != "" {
		t.Errorf("locations (-want +got):\n%s", diff)
	}
}

// With the remote cluster, more columns are shown; a cell is where its head is.
func TestLocationList(t *testing.T) {
	t.Parallel()
	location := Location{
		Namespace:       "shop",
		Pod:             "web",
		Phase:           "Running",
		Node:            "vk",
		Actual:          true,
		RemoteNamespace: "vk-shop",
		RemotePod:       "web",
		RemoteNode:      "remote-1",
		RemoteUID:       "uid",
		RemotePhase:     "remote phase",
		Reason:          "reason",
		LastEvent:       "last event",
	}
	for _, withRemote := range []bool{false, true} {
		list := locationList([]Location{location}, withRemote)
		cell := map[string]string{}
		for i, head := range list.Head {
			cell[head] = list.Rows[0][i]
		}
		if cell["REASON"] != "reason" || cell["REMOTE UID"] != "uid" || withRemote && cell["LAST EVENT"] != "last event" {
			t.Errorf("with the remote cluster %t: %v", withRemote, cell)
		}
		if diff := cmp.Diff([]string{"vk-shop/web"}, list.Names); diff != "" {
			t.Errorf("names (-want +got):\n%s", diff)
		}
	}
}
