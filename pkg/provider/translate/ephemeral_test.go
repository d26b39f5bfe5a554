package translate

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// `kubectl debug` asked for a container that the remote's Pod Security level
// refuses, which nobody can take back, and then for one that it allows: in one
// patch, the first would keep the second out for ever.
func TestEphemeralContainersDoNotHoldEachOtherUp(t *testing.T) {
	t.Parallel()
	mapper := testMapper()
	local := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "local-uid"},
		Spec:       corev1.PodSpec{NodeName: mapper.Node, Containers: []corev1.Container{{Name: "main", Image: "web:1"}}},
	}
	remote, err := siteOf(mapper, local.Namespace).Pod(local, PodContext{})
	if err != nil {
		t.Fatal(err)
	}
	remote.UID = "remote-uid"
	for _, name := range []string{"refused", "allowed"} {
		local.Spec.EphemeralContainers = append(local.Spec.EphemeralContainers, corev1.EphemeralContainer{
			EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: name, Image: "debug:1"},
		})
	}
	patches, err := mapper.Update(local, remote, PodContext{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, patch := range patches {
		if patch.Subresource == "ephemeralcontainers" {
			got = append(got, string(patch.Data))
		}
	}
	if len(got) != 2 || !strings.Contains(got[0], `"refused"`) || strings.Contains(got[0], `"allowed"`) ||
		!strings.Contains(got[1], `"allowed"`) {
		t.Errorf("patches %q, want one for each container", got)
	}
}
