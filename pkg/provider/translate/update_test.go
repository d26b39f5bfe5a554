package translate

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// An ephemeral container comes after the pod was let in: it must not read by it
// what the pod could not. As it cannot be removed, it must not stand in the way
// of anything else either.
func TestUpdateLeavesOutReservedNames(t *testing.T) {
	debug := corev1.EphemeralContainer{EphemeralContainerCommon: corev1.EphemeralContainerCommon{
		Name: "debug",
		EnvFrom: []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: contract.TokenSecretName("other-uid")},
		}}},
	}}
	mapper, remote := testMapper(), remotePod(t)
	local := localPod(started, func(p *corev1.Pod) { p.Spec.EphemeralContainers = []corev1.EphemeralContainer{debug} })
	if patches, err := mapper.Update(local, remote, PodContext{}); err != nil || len(patches) > 0 {
		t.Errorf("Update = %v, %v, want no patches", patches, err)
	}
	if step := mapper.Next(local, remote); step.Action != CopyStatus {
		t.Errorf("the next step is %s, want %s", step.Action, CopyStatus)
	}
	statuses := mapper.Status(local, remote, goldenNow).EphemeralContainerStatuses
	if len(statuses) != 1 || statuses[0].State.Waiting == nil || statuses[0].State.Waiting.Reason != ReasonReservedName {
		t.Errorf("the owner is not told why: %+v", statuses)
	}
}

// Applied patches leave nothing to do, whatever changed together.
func TestUpdateSettles(t *testing.T) {
	mapper, remote := testMapper(), remotePod(t)
	local := localPod(started, func(p *corev1.Pod) {
		p.Labels = map[string]string{"tier": "web"}
		p.Annotations = map[string]string{"note": "n"}
		p.Spec.Containers[0].Image = "web:2"
		p.Spec.ActiveDeadlineSeconds = new(int64(60))
		p.Spec.Tolerations = []corev1.Toleration{
			{Key: corev1.TaintNodeNotReady, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute},
		}
		p.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug"}}}
	})
	patches, err := mapper.Update(local, remote, PodContext{})
	if err != nil {
		t.Fatal(err)
	}
	for _, patch := range patches {
		remote = applied(t, remote, patch.Data)
	}
	if _, left := remote.Labels["app"]; left || remote.Labels["tier"] != "web" || remote.Labels[contract.LabelUID] != "local-uid" {
		t.Errorf("labels after the patches: %v", remote.Labels)
	}
	if patches, err = mapper.Update(local, remote, PodContext{}); err != nil || len(patches) > 0 {
		t.Errorf("after the patches there are more: %v, %v", patches, err)
	}
	if step := mapper.Next(local, remote); step.Action != CopyStatus {
		t.Errorf("after the patches the next step is %s", step.Action)
	}
}

// A resize takes two rounds: the record follows when the remote pod shows it.
func TestUpdateResizeSettles(t *testing.T) {
	mapper := testMapper()
	limited := func(cpu string) *corev1.Pod {
		return localPod(started, func(p *corev1.Pod) {
			p.Spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu)}
		})
	}
	remote, err := siteOf(mapper, "shop").Pod(limited("1"), PodContext{})
	if err != nil {
		t.Fatal(err)
	}
	local := limited("2")
	var subresources []string
	for range 3 {
		patches, err := mapper.Update(local, remote, PodContext{})
		if err != nil {
			t.Fatal(err)
		}
		for _, patch := range patches {
			subresources = append(subresources, patch.Subresource)
			remote = applied(t, remote, patch.Data)
		}
	}
	if len(subresources) != 2 || subresources[0] != "resize" || subresources[1] != "" {
		t.Errorf("patches of %q, want one resize and then the record", subresources)
	}
	// The remote cluster's own resize (an autoscaler's) stays.
	remote.Spec.Containers[0].Resources.Requests[corev1.ResourceCPU] = resource.MustParse("3")
	if patches, err := mapper.Update(local, remote, PodContext{}); err != nil || len(patches) > 0 {
		t.Errorf("the remote cluster's own size is fought: %v, %v", patches, err)
	}
}
