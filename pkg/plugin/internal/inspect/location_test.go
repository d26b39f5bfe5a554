package inspect

import (
	"maps"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
)

// remoteUID is one that an API server could give.
const remoteUID = "01234567-89ab-cdef-0123-456789abcdef"

func TestLocate(t *testing.T) {
	t.Parallel()
	started := map[string]string{
		contract.AnnotationRemoteNamespace: contract.RemoteNamespace("vk", "shop"),
		contract.AnnotationRemoteNode:      "remote-1",
		contract.AnnotationRemoteUID:       remoteUID,
	}
	forged := func(annotation, value string) map[string]string {
		annotations := maps.Clone(started)
		annotations[annotation] = value
		return annotations
	}
	unproved := func(annotation string) Location {
		return Location{
			Node:    "vk",
			Actual:  true,
			Reason:  ReasonNotProved,
			Message: "the pod's annotation " + annotation + " is not akd's",
		}
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
				RemoteNamespace: contract.RemoteNamespace("vk", "shop"),
				RemotePod:       "web",
				RemoteNode:      "remote-1",
				RemoteUID:       remoteUID,
			},
		},
		"Second name": {
			reason:      "the hash collides",
			node:        "vk",
			annotations: map[string]string{contract.AnnotationRemoteNamespace: contract.RemoteNamespaces("vk", "shop")[1]},
			want:        Location{Node: "vk", Actual: true, RemoteNamespace: contract.RemoteNamespaces("vk", "shop")[1], RemotePod: "web"},
		},
		"Forged namespace": {
			reason:      "the pod's owner, or a restored backup, says that it is in kube-system",
			node:        "vk",
			annotations: forged(contract.AnnotationRemoteNamespace, "kube-system"),
			want:        unproved(contract.AnnotationRemoteNamespace),
		},
		"Another's namespace": {
			reason:      "that of another local namespace",
			node:        "vk",
			annotations: forged(contract.AnnotationRemoteNamespace, contract.RemoteNamespace("vk", "bank")),
			want:        unproved(contract.AnnotationRemoteNamespace),
		},
		"Forged node": {
			reason:      "no node has such a name",
			node:        "vk",
			annotations: forged(contract.AnnotationRemoteNode, "remote-1; rm -rf"),
			want:        unproved(contract.AnnotationRemoteNode),
		},
		"Forged UID": {
			reason:      "no API server gives such a UID",
			node:        "vk",
			annotations: forged(contract.AnnotationRemoteUID, "r0"),
			want:        unproved(contract.AnnotationRemoteUID),
		},
		"Forged on a machine": {
			reason:      "akd does not serve the node, whatever annotations say",
			node:        "local-1",
			annotations: map[string]string{contract.AnnotationRemoteNamespace: contract.RemoteNamespace("local-1", "shop")},
			want:        Location{Node: "local-1"},
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
		"Container waits": {
			reason: "kubectl get shows the same", node: "vk",
			status: corev1.PodStatus{Phase: corev1.PodPending, ContainerStatuses: []corev1.ContainerStatus{
				{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}}},
				{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: "no such image"}}},
			}},
			want: Location{
				Phase:           "Pending",
				Node:            "vk",
				Actual:          true,
				RemoteNamespace: contract.RemoteNamespace("vk", "shop"),
				RemotePod:       "web",
				Reason:          "ImagePullBackOff",
				Message:         "no such image",
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
			if diff := cmp.Diff(tc.want, Locate(pod, map[string]bool{"vk": true}), cmpopts.IgnoreUnexported(Location{})); diff != "" {
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
			ObjectMeta: metav1.ObjectMeta{
				Namespace: "vk-shop",
				Name:      "web",
				UID:       remoteUID,
				Labels:    map[string]string{contract.LabelUID: "u0", contract.LabelNamespace: "shop"},
			},
			Spec: corev1.PodSpec{
				NodeName:       "remote-2",
				InitContainers: []corev1.Container{{Name: "setup"}, {Name: "mesh-init"}},
				Containers:     []corev1.Container{{Name: "main"}, {Name: "mesh"}},
			},
			Status: corev1.PodStatus{Phase: corev1.PodRunning},
		},
		event("Pulled", "web", 2), event("Scheduled", "web", 1), event("Killing", "other", 3),
	)}
	locations := []Location{
		{
			Namespace:       "shop",
			Pod:             "web",
			Actual:          true,
			RemoteNamespace: "vk-shop",
			RemotePod:       "web",
			RemoteNode:      "remote-1",
			localUID:        "u0",
			containers:      []string{"setup", "main"},
		},
		{
			Namespace:       "bank",
			Pod:             "claims",
			Actual:          true,
			RemoteNamespace: "vk-shop",
			RemotePod:       "web",
			localUID:        "u1",
		},
		{Pod: "gone", Actual: true, RemoteNamespace: "vk-shop", RemotePod: "gone"},
		{Pod: "local"},
	}
	if err := addRemote(t.Context(), remote, locations); err != nil {
		t.Fatal(err)
	}
	want := []Location{
		{
			Namespace:       "shop",
			Pod:             "web",
			Actual:          true,
			RemoteNamespace: "vk-shop",
			RemotePod:       "web",
			RemoteUID:       remoteUID,
			RemoteNode:      "remote-2",
			RemotePhase:     "Running",
			LastEvent:       "Pulled: message",
			Injected:        []string{"mesh-init", "mesh"},
		},
		{
			Namespace:       "bank",
			Pod:             "claims",
			Actual:          true,
			RemoteNamespace: "vk-shop",
			RemotePod:       "web",
			RemotePhase:     "NotFound",
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
	if diff := cmp.Diff(want, locations, cmpopts.IgnoreUnexported(Location{})); diff != "" {
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
