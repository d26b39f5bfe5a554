package translate

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

func TestLocalText(t *testing.T) {
	remote := `pods "web" is forbidden: exceeded quota: q, in namespace n1-93104c7ea350e1e1; configmap "actual-vk-mesh-ca", ` +
		`secret "actual-vk-token-uid"; ` +
		`User "system:serviceaccount:actual-system:n1" cannot; dial tcp 192.0.2.1:6443: connect: connection refused`
	want := `pods "web" is forbidden: exceeded quota: q, in namespace shop; configmap "mesh-ca", secret "actual-vk-token-uid"; ` +
		`akd cannot; dial tcp: connect: connection refused`
	if got := testMapper().LocalText(localPod(), remote); got != want {
		t.Errorf("LocalText = %q, want %q", got, want)
	}
}

func TestEvent(t *testing.T) {
	mapper, local := testMapper(), localPod(func(p *corev1.Pod) { p.Name = strings.Repeat("a", 230) + "-.b" })
	remote := &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Name: "web.17a", Namespace: "n1-93104c7ea350e1e1", UID: "event-uid", ResourceVersion: "7"},
		InvolvedObject: corev1.ObjectReference{
			Kind:            "Pod",
			Namespace:       "n1-93104c7ea350e1e1",
			Name:            "web",
			UID:             "remote-uid",
			FieldPath:       "spec.containers{main}",
			ResourceVersion: "5",
		},
		Reason:              "BackOff",
		Message:             "restarting failed container in pod web_n1-93104c7ea350e1e1(remote-uid)",
		Type:                corev1.EventTypeWarning,
		Count:               4,
		FirstTimestamp:      metav1.Unix(1, 0),
		LastTimestamp:       metav1.Unix(9, 0),
		Source:              corev1.EventSource{Component: "kubelet", Host: "real-7"},
		ReportingController: "kubelet",
		ReportingInstance:   "real-7",
		Related:             &corev1.ObjectReference{Kind: "Node", Name: "real-7"},
	}
	before := remote.DeepCopy()
	got := mapper.Event(remote, local)
	want := &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Name: got.Name, Namespace: "shop"},
		InvolvedObject: corev1.ObjectReference{
			APIVersion: "v1",
			Kind:       "Pod",
			Namespace:  "shop",
			Name:       local.Name,
			UID:        "local-uid",
			FieldPath:  "spec.containers{main}",
		},
		Reason:              "BackOff",
		Message:             "restarting failed container in pod web_shop(local-uid)",
		Type:                corev1.EventTypeWarning,
		Count:               4,
		FirstTimestamp:      metav1.Unix(1, 0),
		LastTimestamp:       metav1.Unix(9, 0),
		Source:              corev1.EventSource{Component: "kubelet", Host: "n1"},
		ReportingController: "kubelet",
		ReportingInstance:   "n1",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Event (-want +got):\n%s", diff)
	}
	if len(got.Name) > 253 || mapper.Event(remote, local).Name != got.Name {
		t.Errorf("the name %q is too long, or another one each time", got.Name)
	}
	if diff := cmp.Diff(before, remote); diff != "" {
		t.Errorf("the remote event was changed (-before +after):\n%s", diff)
	}
}

// An event whose message became longer than the API allows was lost.
func TestEventMessageFits(t *testing.T) {
	local := localPod(func(p *corev1.Pod) { p.Namespace = strings.Repeat("s", 63) })
	mapper := testMapper()
	from := contract.RemoteNamespace(mapper.Node, local.Namespace)
	remote := &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Name: "web.17a", Namespace: from},
		Message:    strings.Repeat(from+"ä ", 1024/(len(from)+3)),
	}
	got := mapper.Event(remote, local).Message
	if len(got) > 1024 || len(got) < 1000 || !utf8.ValidString(got) || !strings.HasSuffix(got, "…") {
		t.Errorf("the message has %d bytes and ends with %q", len(got), got[max(0, len(got)-10):])
	}
}
