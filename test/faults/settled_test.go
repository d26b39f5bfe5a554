package faults

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// settledOne is a claim that both clusters agree about.
func settledOne() *stored {
	size := corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}
	claim := corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "data", UID: "1", Annotations: map[string]string{selectedNode: node}},
		Spec: corev1.PersistentVolumeClaimSpec{
			VolumeName: "pvc-1", Resources: corev1.VolumeResourceRequirements{Requests: size},
		},
		Status: corev1.PersistentVolumeClaimStatus{
			Phase: corev1.ClaimBound, Capacity: size, Conditions: []corev1.PersistentVolumeClaimCondition{
				{Type: contract.ConditionRemoteBound, Status: corev1.ConditionTrue},
			},
		},
	}
	volume := corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: "pvc-1", UID: "2"},
		Spec: corev1.PersistentVolumeSpec{
			Capacity: size,
			PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{
				VolumeAttributes: map[string]string{contract.AttributeRemoteUID: "3"},
			}},
		},
		Status: corev1.PersistentVolumeStatus{Phase: corev1.VolumeBound},
	}
	other := corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "faults-ns", Name: "pvc-1", UID: "3", Annotations: map[string]string{contract.AnnotationVolume: "2"},
		},
		Spec:   corev1.PersistentVolumeClaimSpec{Resources: corev1.VolumeResourceRequirements{Requests: size}},
		Status: corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimBound, Capacity: size},
	}
	return &stored{
		claims:  []corev1.PersistentVolumeClaim{claim},
		volumes: []corev1.PersistentVolume{volume},
		remotes: []corev1.PersistentVolumeClaim{other},
	}
}

func TestSettled(t *testing.T) {
	t.Parallel()
	larger := corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("2Gi")}
	released := func(policy corev1.PersistentVolumeReclaimPolicy) func(*stored) {
		return func(s *stored) {
			s.claims, s.volumes[0].Status.Phase, s.volumes[0].Spec.PersistentVolumeReclaimPolicy = nil, corev1.VolumeReleased, policy
		}
	}
	cases := map[string]struct {
		change func(*stored)
		want   string
	}{
		"Settled": {func(*stored) {}, ""},
		"Unused": {func(s *stored) {
			*s = stored{claims: []corev1.PersistentVolumeClaim{{Status: corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimPending}}}}
		}, ""},
		"Kept":     {released(corev1.PersistentVolumeReclaimRetain), ""},
		"Released": {released(corev1.PersistentVolumeReclaimDelete), "Released"},
		"Deleted":  {func(s *stored) { s.claims[0].DeletionTimestamp = second(1) }, "being deleted"},
		"Waiting":  {func(s *stored) { s.claims[0].Spec.VolumeName, s.claims[0].Status.Phase = "", corev1.ClaimPending }, "Pending"},
		"Orphan":   {func(s *stored) { s.volumes = nil }, "no local volume"},
		"Lost":     {func(s *stored) { s.remotes = nil }, "does not exist"},
		"Replaced": {func(s *stored) { s.remotes[0].UID = "4" }, "another one"},
		"Unmarked": {func(s *stored) { s.remotes[0].Annotations = nil }, "not marked"},
		"Ending":   {func(s *stored) { s.remotes[0].DeletionTimestamp = second(1) }, "being deleted"},
		"Untold":   {func(s *stored) { s.claims[0].Status.Conditions = nil }, "says"},
		"Late":     {func(s *stored) { s.remotes[0].Status.Phase = corev1.ClaimPending }, "says"},
		"Grown":    {func(s *stored) { s.remotes[0].Status.Capacity = larger }, "1Gi"},
		"Growing":  {func(s *stored) { s.claims[0].Spec.Resources.Requests = larger }, "requests 2Gi"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := settledOne()
			tc.change(s)
			err := s.disagreement()
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
}
