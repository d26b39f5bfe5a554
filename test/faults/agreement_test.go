package faults

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// agreed is a view of two clusters that agree about two pods, one of them finished.
func agreed() *view {
	pod := func(uid types.UID, of types.UID, phase corev1.PodPhase) corev1.Pod {
		return corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: string(uid), UID: uid, Labels: map[string]string{contract.LabelUID: string(of)}},
			Status:     corev1.PodStatus{Phase: phase},
		}
	}
	failed := batchv1.JobStatus{Conditions: []batchv1.JobCondition{{Type: batchv1.JobFailed, Status: corev1.ConditionTrue}}}
	return &view{
		node: &corev1.Node{Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}}},
		deployments: []appsv1.Deployment{{
			Spec:   appsv1.DeploymentSpec{Replicas: new(int32(1))},
			Status: appsv1.DeploymentStatus{Replicas: 1, UpdatedReplicas: 1, AvailableReplicas: 1},
		}},
		statefulSets: []appsv1.StatefulSet{{Spec: appsv1.StatefulSetSpec{Replicas: new(int32(0))}}},
		jobs:         []batchv1.Job{{Status: failed}},
		pods: map[side][]corev1.Pod{
			local:  {pod("1", "", corev1.PodRunning), pod("2", "", corev1.PodFailed)},
			remote: {pod("a", "1", corev1.PodRunning)},
		},
	}
}

func TestDisagreement(t *testing.T) {
	t.Parallel()
	deleting := new(metav1.Now())
	cases := map[string]struct {
		change func(*view)
		want   string
	}{
		"Agree":       {func(*view) {}, ""},
		"NotReady":    {func(v *view) { v.node.Status.Conditions = nil }, "not Ready"},
		"Updating":    {func(v *view) { v.deployments[0].Generation = 2 }, "deployment"},
		"Surplus":     {func(v *view) { v.deployments[0].Status.Replicas = 2 }, "deployment"},
		"Unready":     {func(v *view) { v.statefulSets[0].Spec.Replicas = new(int32(1)) }, "statefulset"},
		"Working":     {func(v *view) { v.jobs[0].Status.Conditions = nil }, "job"},
		"Missing":     {func(v *view) { v.pods[remote] = nil }, "no remote pod"},
		"Orphan":      {func(v *view) { v.pods[local] = v.pods[local][1:] }, "does not exist"},
		"Second":      {func(v *view) { v.pods[remote] = append(v.pods[remote], v.pods[remote][0]) }, "second"},
		"Leaving":     {func(v *view) { v.pods[local][0].DeletionTimestamp = deleting }, "being deleted"},
		"LeavingThen": {func(v *view) { v.pods[remote][0].DeletionTimestamp = deleting }, "being deleted"},
		"OtherPhase":  {func(v *view) { v.pods[remote][0].Status.Phase = corev1.PodSucceeded }, "Succeeded"},
		"Pending":     {func(v *view) { v.pods[local][0].Status.Phase = corev1.PodPending }, "Pending"},
		"Settings":    {func(v *view) { v.settings = map[side]map[string]string{local: {"a": "b"}} }, "ConfigMaps"},
		"OtherReady": {func(v *view) {
			v.pods[local][0].Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
		}, "ready: false"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := agreed()
			tc.change(v)
			err := v.disagreement()
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
}
