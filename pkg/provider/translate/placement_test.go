package translate

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// kubectl drain refuses to delete a pod without a controller, and an autoscaler to move it.
func TestController(t *testing.T) {
	const namespace = "n1-0123456789abcdef"
	own := []metav1.OwnerReference{{APIVersion: "v1", Kind: "Namespace", Name: namespace, UID: "uid", Controller: new(true)}}
	replicaSet := metav1.OwnerReference{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web", UID: "owner", Controller: new(true)}
	for name, tc := range map[string]struct {
		reason string
		owners []metav1.OwnerReference
		uid    bool
		want   []metav1.OwnerReference
	}{
		"Controlled": {reason: "somebody replaces it", owners: []metav1.OwnerReference{replicaSet}, uid: true, want: own},
		"Naked":      {reason: "it would be lost", uid: true},
		"Owned": {
			reason: "an owner that is no controller replaces nothing",
			owners: []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "web", UID: "owner"}}, uid: true,
		},
		"Unknown": {reason: "an owner of another UID is gone, and its pods with it", owners: []metav1.OwnerReference{replicaSet}},
	} {
		t.Run(name, func(t *testing.T) {
			site := testMapper().In(namespace)
			if tc.uid {
				site = site.WithUID("uid")
			}
			local := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "local", OwnerReferences: tc.owners}}
			remote, err := site.Pod(local, PodContext{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, remote.OwnerReferences); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// A pod that its owner holds on to is not moved, and neither is one that nobody replaces.
func TestSafeToEvict(t *testing.T) {
	for name, tc := range map[string]struct {
		configured, controlled bool
		own, want              string
	}{
		"Default":    {controlled: true},
		"Configured": {configured: true, controlled: true, want: "true"},
		"Refused":    {configured: true, controlled: true, own: "false", want: "false"},
		"Naked":      {configured: true},
		"OwnWord":    {controlled: true, own: "true"},
	} {
		t.Run(name, func(t *testing.T) {
			mapper := testMapper()
			mapper.SafeToEvict = tc.configured
			local := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "local"}}
			if tc.controlled {
				local.OwnerReferences = []metav1.OwnerReference{{Kind: "ReplicaSet", Name: "web", Controller: new(true)}}
			}
			if tc.own != "" {
				local.Annotations = map[string]string{annotationSafeToEvict: tc.own}
			}
			remote, err := siteOf(mapper, "shop").Pod(local, PodContext{})
			if err != nil {
				t.Fatal(err)
			}
			if got := remote.Annotations[annotationSafeToEvict]; got != tc.want {
				t.Errorf("the remote pod has %q, want %q", got, tc.want)
			}
			if !mapper.upToDate(local, remote) {
				t.Errorf("the remote pod would be updated at once: %s", remote.Annotations[contract.AnnotationApplied])
			}
		})
	}
}
