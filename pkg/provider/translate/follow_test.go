package translate

import (
	"fmt"
	"reflect"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
)

// A field of the remote status that becomes empty must not stay in the local one: each
// field follows in both directions, as a whole and in its parts.
func TestStatusPatchFollowsBothWays(t *testing.T) {
	full, empty := filledPod(1).Status, corev1.PodStatus{}
	check := func(t *testing.T, before, after corev1.PodStatus) {
		t.Helper()
		local := localPod(func(p *corev1.Pod) { p.Status = before })
		patch, err := StatusPatch(local, &after, nil)
		if err != nil {
			t.Fatal(err)
		}
		if patch == nil {
			patch = []byte("{}")
		}
		if patched := applied(t, local, patch); !apiequality.Semantic.DeepEqual(patched.Status, after) {
			t.Errorf("after the patch %s the status is\n%+v\nwant\n%+v", patch, patched.Status, after)
		}
	}
	fields := reflect.TypeFor[corev1.PodStatus]()
	for i := range fields.NumField() {
		one := corev1.PodStatus{}
		reflect.ValueOf(&one).Elem().Field(i).Set(reflect.ValueOf(full).Field(i))
		without := *full.DeepCopy()
		reflect.ValueOf(&without).Elem().Field(i).SetZero()
		for what, pair := range map[string][2]corev1.PodStatus{
			"set": {empty, one}, "emptied": {one, empty}, "emptied of all": {full, without}, "set in all": {without, full},
		} {
			t.Run(fmt.Sprint(fields.Field(i).Name, " ", what), func(t *testing.T) { check(t, pair[0], pair[1]) })
		}
	}
	list := func(names ...corev1.ResourceName) corev1.ResourceList {
		list := corev1.ResourceList{}
		for _, name := range names {
			list[name] = resource.MustParse("1")
		}
		return list
	}
	sizes := map[string]*corev1.ResourceRequirements{
		"none": nil, "empty": {}, "limits": {Limits: list("cpu", "memory")}, "limit": {Limits: list("cpu")},
		"requests": {Requests: list("cpu")}, "both": {Limits: list("cpu", "memory"), Requests: list("cpu")},
		"empty limits": {Limits: list(), Requests: list("cpu")},
	}
	for from, before := range sizes {
		for to, after := range sizes {
			t.Run("resources "+from+" to "+to, func(t *testing.T) {
				check(t, corev1.PodStatus{Resources: before}, corev1.PodStatus{Resources: after})
				check(t, corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: "a", Resources: before}}},
					corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: "a", Resources: after}}})
			})
		}
	}
}
