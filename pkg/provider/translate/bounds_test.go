package translate

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
)

// refers adds n optional references to a container's environment.
func refers(container *corev1.EphemeralContainerCommon, prefix string, n int) {
	for i := range n {
		name := fmt.Sprintf("%s-%05d", prefix, i)
		container.Env = append(container.Env, corev1.EnvVar{Name: "V" + fmt.Sprint(i), ValueFrom: &corev1.EnvVarSource{
			ConfigMapKeyRef: &corev1.ConfigMapKeySelector{
				LocalObjectReference: corev1.LocalObjectReference{Name: name}, Key: "k", Optional: new(true),
			},
		}})
	}
}

func mounts(p *corev1.Pod, n int, source corev1.VolumeProjection) {
	projected := &corev1.ProjectedVolumeSource{}
	for range n {
		projected.Sources = append(projected.Sources, source)
	}
	p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: "many", VolumeSource: corev1.VolumeSource{Projected: projected}})
}

// One pod with tens of thousands of references or thousands of tokens stopped akd:
// it opened as many watches, and sent as many requests, before it refused anything.
func TestBounds(t *testing.T) {
	mapper := testMapper()
	mapper.Bounds = Bounds{References: 3, Tokens: 2, Bundles: 2, Certificates: 1}
	cases := map[string]struct {
		reason string
		change func(*corev1.Pod)
		want   string // a part of the refusal; "" for none
	}{
		"Some": {
			reason: "as many as the node allows",
			change: func(p *corev1.Pod) { refers((*corev1.EphemeralContainerCommon)(&p.Spec.Containers[0]), "a", 3) },
		},
		"Same": {
			reason: "an object counts once",
			change: func(p *corev1.Pod) {
				refers((*corev1.EphemeralContainerCommon)(&p.Spec.Containers[0]), "a", 3)
				refers((*corev1.EphemeralContainerCommon)(&p.Spec.Containers[0]), "a", 3)
			},
		},
		"References": {
			reason: "each is a watch",
			change: func(p *corev1.Pod) { refers((*corev1.EphemeralContainerCommon)(&p.Spec.Containers[0]), "a", 30000) },
			want:   ReasonTooManyReferences + ": The pod uses 30000 ConfigMaps and Secrets, and the node allows 3 per pod",
		},
		"PullSecrets": {
			reason: "every kind of reference counts",
			change: func(p *corev1.Pod) {
				for i := range 4 {
					p.Spec.ImagePullSecrets = append(p.Spec.ImagePullSecrets, corev1.LocalObjectReference{Name: fmt.Sprint(i)})
				}
			},
			want: ReasonTooManyReferences,
		},
		"Tokens": {
			reason: "each is a request",
			change: func(p *corev1.Pod) {
				mounts(p, 5000, corev1.VolumeProjection{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "t"}})
			},
			want: ReasonTooManyTokens + ": The pod uses 5000 service account tokens",
		},
		"Bundles": {
			reason: "each is read from all bundles of the cluster",
			change: func(p *corev1.Pod) {
				mounts(p, 3, corev1.VolumeProjection{ClusterTrustBundle: &corev1.ClusterTrustBundleProjection{Name: new("b"), Path: "b"}})
			},
			want: ReasonTooManyBundles,
		},
		"Certificates": {
			reason: "each is a key and a request",
			change: func(p *corev1.Pod) {
				mounts(p, 2, corev1.VolumeProjection{PodCertificate: &corev1.PodCertificateProjection{SignerName: "s", KeyType: "RSA4096"}})
			},
			want: ReasonTooManyCertificates,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			whole := localPod(tc.change)
			cached := whole.DeepCopy()
			mapper.TrimLocal(cached)
			for what, local := range map[string]*corev1.Pod{"whole": whole, "cached": cached} {
				_, err := siteOf(mapper, local.Namespace).Pod(local, PodContext{})
				got := ""
				if refusal, ok := errors.AsType[*Refusal](err); ok {
					got = refusal.Reason + ": " + refusal.Message
				}
				if got == "" != (tc.want == "") || !strings.Contains(got, tc.want) {
					t.Errorf("%s, %s: %q, want %q", tc.reason, what, got, tc.want)
				}
				if diff := cmp.Diff(Needs{}, mapper.NeedsOf(local), cmpopts.EquateEmpty()); tc.want != "" && diff != "" {
					t.Errorf("%s, %s: the refused pod needs something:\n%s", tc.reason, what, diff)
				}
			}
			if trimmed := cached.Spec.Size() < whole.Spec.Size(); trimmed != (tc.want != "") {
				t.Errorf("%s: trimmed from %d bytes to %d", tc.reason, whole.Spec.Size(), cached.Spec.Size())
			}
		})
	}
}

// Ephemeral containers are added to a running pod: they must not be a way around
// the bounds, nor take from the pod what it has.
func TestBoundsOfEphemeralContainers(t *testing.T) {
	mapper := testMapper()
	mapper.Bounds = Bounds{References: 5}
	local := localPod(func(p *corev1.Pod) {
		p.Status.StartTime = &goldenNow
		refers((*corev1.EphemeralContainerCommon)(&p.Spec.Containers[0]), "a", 2)
		for _, container := range []struct {
			name string
			refs int
		}{{"few", 2}, {"many", 2}, {"none", 0}} {
			ephemeral := corev1.EphemeralContainer{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: container.name}}
			refers(&ephemeral.EphemeralContainerCommon, container.name, container.refs)
			p.Spec.EphemeralContainers = append(p.Spec.EphemeralContainers, ephemeral)
		}
	})
	remote, err := siteOf(mapper, local.Namespace).Pod(local, PodContext{})
	if err != nil {
		t.Fatal(err)
	}
	var added []string
	for _, container := range mapper.missingEphemeral(local, remote) {
		added = append(added, container.Name)
	}
	if diff := cmp.Diff([]string{"few", "none"}, added); diff != "" {
		t.Errorf("added (-want +got):\n%s", diff)
	}
	statuses := mapper.Status(local, remote, goldenNow).EphemeralContainerStatuses
	if len(statuses) != 1 || statuses[0].Name != "many" || statuses[0].State.Waiting.Reason != ReasonTooManyReferences {
		t.Errorf("the container that was left out is reported as %+v", statuses)
	}
	if got := mapper.NeedsOf(local).ConfigMaps; len(got) != 4 {
		t.Errorf("the pod needs %v", got)
	}
	mapper.Bounds = Bounds{References: 1}
	if got := mapper.NeedsOf(local).ConfigMaps; len(got) != 2 {
		t.Errorf("a pod that was accepted under other bounds needs %v", got)
	}
}

// A finished pod of 1.5 MiB stayed in memory whole until somebody deleted it.
func TestTrimLocal(t *testing.T) {
	mapper := testMapper()
	local := localPod(func(p *corev1.Pod) {
		p.Annotations = map[string]string{corev1.LastAppliedConfigAnnotation: strings.Repeat("a", 100_000), "mine": "stays"}
		refers((*corev1.EphemeralContainerCommon)(&p.Spec.Containers[0]), "a", 200)
	})
	running := local.DeepCopy()
	if mapper.TrimLocal(running); cmp.Diff(local, running) != "" {
		t.Error("a pod that runs was trimmed")
	}
	forged := local.DeepCopy()
	forged.Annotations[annotationRefusal] = "Forged by the owner"
	if mapper.TrimLocal(forged); trimmedRefusal(forged) != nil {
		t.Error("an annotation of the owner counts as a refusal")
	}
	local.Status.Phase = corev1.PodSucceeded
	whole := local.DeepCopy()
	mapper.TrimLocal(local)
	if local.Size() > 1000 || local.Annotations["mine"] != "stays" || local.Spec.NodeName != whole.Spec.NodeName {
		t.Errorf("a finished pod was trimmed to %d bytes: %v", local.Size(), local)
	}
	remote, err := siteOf(mapper, whole.Namespace).Pod(whole, PodContext{})
	if err != nil {
		t.Fatal(err)
	}
	for _, remote := range []*corev1.Pod{nil, remote} {
		if diff := cmp.Diff(mapper.Next(whole, remote), mapper.Next(local, remote)); diff != "" {
			t.Errorf("the next step differs (-whole +trimmed):\n%s", diff)
		}
	}
	if diff := cmp.Diff(mapper.Status(whole, remote, goldenNow), mapper.Status(local, remote, goldenNow)); diff != "" {
		t.Errorf("the status differs (-whole +trimmed):\n%s", diff)
	}
}
