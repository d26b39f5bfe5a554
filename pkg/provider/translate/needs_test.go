package translate

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// A pod that refers to what akd makes is refused; what is under those names in
// the local cluster must not be mirrored for it either.
func TestNeedsOfReservedNames(t *testing.T) {
	local := localPod(func(p *corev1.Pod) {
		p.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: contract.TokenSecretName("other-uid")}, {Name: "pull"}}
		p.Spec.Volumes = []corev1.Volume{{Name: "ca", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: contract.ReservedName("kube-root-ca.crt")},
		}}}}
	})
	if diff := cmp.Diff(Needs{Secrets: []string{"pull"}}, testMapper().NeedsOf(local), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("NeedsOf (-want +got):\n%s", diff)
	}
}

func TestConfigMap(t *testing.T) {
	local := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Name:            "kube-root-ca.crt",
			Namespace:       "shop",
			UID:             "cm-uid",
			Labels:          map[string]string{"a": "b"},
			ResourceVersion: "4",
		},
		Data: map[string]string{"ca.crt": "local"}, BinaryData: map[string][]byte{"b": {1}}, Immutable: new(true),
	}
	want := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "actual-vk-kube-root-ca.crt", Namespace: "n1-93104c7ea350e1e1",
			Labels: testMapper().Labels("shop", "cm-uid")},
		Data: map[string]string{"ca.crt": "local"}, BinaryData: map[string][]byte{"b": {1}}, Immutable: new(true),
	}
	got := siteOf(testMapper(), local.Namespace).ConfigMap(local, contract.ReservedName(local.Name))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("ConfigMap (-want +got):\n%s", diff)
	}
}

func TestSameConfigMap(t *testing.T) {
	want := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{contract.LabelUID: "1"}},
		Data:       map[string]string{"a": "b"},
	}
	cases := map[string]struct {
		reason string
		change func(*corev1.ConfigMap)
		same   bool
	}{
		"Equal":       {reason: "Nothing to write.", change: func(*corev1.ConfigMap) {}, same: true},
		"OthersLabel": {reason: "Labels that others added stay.", change: func(c *corev1.ConfigMap) { c.Labels["x"] = "y" }, same: true},
		"NilIsEmpty": {
			reason: "The API does not tell them apart.",
			change: func(c *corev1.ConfigMap) { c.BinaryData = map[string][]byte{}; c.Immutable = new(bool) },
			same:   true,
		},
		"Data":     {reason: "Edits follow.", change: func(c *corev1.ConfigMap) { c.Data["a"] = "c" }},
		"MoreData": {reason: "The local one wins.", change: func(c *corev1.ConfigMap) { c.Data["b"] = "c" }},
		"OurLabel": {
			reason: "A copy of another object is not like this one.",
			change: func(c *corev1.ConfigMap) { c.Labels[contract.LabelUID] = "2" },
		},
		"Immutable": {reason: "Whether it may change follows, too.", change: func(c *corev1.ConfigMap) { c.Immutable = new(true) }},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			have := want.DeepCopy()
			tc.change(have)
			if got := SameConfigMap(have, want); got != tc.same {
				t.Errorf("%s\nSameConfigMap = %t, want %t", tc.reason, got, tc.same)
			}
		})
	}
}

func TestSecret(t *testing.T) {
	cases := map[string]struct {
		reason string
		local  corev1.SecretType
		want   corev1.SecretType
	}{
		"Opaque": {reason: "Types are kept.", local: corev1.SecretTypeOpaque, want: corev1.SecretTypeOpaque},
		"PullSecret": {
			reason: "The remote kubelet pulls with it.",
			local:  corev1.SecretTypeDockerConfigJson,
			want:   corev1.SecretTypeDockerConfigJson,
		},
		"Token": {
			reason: "The remote token controller deletes such Secrets of accounts that it does not know.",
			local:  corev1.SecretTypeServiceAccountToken,
			want:   "actual.vk/replicated-service-account-token",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			local := &corev1.Secret{
				ObjectMeta: metav1.ObjectMeta{
					Name:        "s",
					Namespace:   "shop",
					UID:         "uid",
					Annotations: map[string]string{corev1.ServiceAccountNameKey: "sa"},
				},
				Type: tc.local, Data: map[string][]byte{"k": {1}},
			}
			want := &corev1.Secret{
				ObjectMeta: metav1.ObjectMeta{
					Name:      "s",
					Namespace: "n1-93104c7ea350e1e1",
					Labels:    testMapper().Labels("shop", "uid"),
				},
				Type: tc.want, Data: map[string][]byte{"k": {1}},
			}
			got := siteOf(testMapper(), local.Namespace).Secret(local, "s")
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s\nSecret (-want +got):\n%s", tc.reason, diff)
			}
			if !SameSecret(got, want) || IsTokenSecret(got) {
				t.Errorf("%s\na copy is like itself, and no Secret of tokens", tc.reason)
			}
		})
	}
}

func TestTokenSecret(t *testing.T) {
	renew := time.Date(2030, 1, 1, 12, 0, 0, 0, time.FixedZone("x", 3600))
	secret := siteOf(testMapper(), "shop").TokenSecret(localPod(), map[string]string{"api.0": "t"}, renew)
	want := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Name: "actual-vk-token-local-uid", Namespace: "n1-93104c7ea350e1e1",
			Labels:      testMapper().Labels("shop", "local-uid"),
			Annotations: map[string]string{contract.AnnotationRenewAfter: "2030-01-01T11:00:00Z"},
		},
		Type: "actual.vk/pod-tokens", Data: map[string][]byte{"api.0": []byte("t")},
	}
	if diff := cmp.Diff(want, secret); diff != "" {
		t.Errorf("TokenSecret (-want +got):\n%s", diff)
	}
	if when, ok := RenewAfter(secret); !ok || !when.Equal(renew) {
		t.Errorf("RenewAfter = %v, %t, want %v", when, ok, renew)
	}
	if _, ok := RenewAfter(&corev1.Secret{}); ok {
		t.Error("a Secret without the annotation says when to renew it")
	}
	secret.Name = "mine"
	if IsTokenSecret(secret) {
		t.Error("a user's Secret of our type is taken for ours: its copy would be deleted")
	}
}

// Ten thousand pods' tokens were a sixth of akd's memory, and one read of that
// memory would have given all of them away.
func TestTrimSecret(t *testing.T) {
	mapper, tokens := testMapper(), []Token{{Key: "api.0"}, {Key: "api.1"}}
	written := func() *corev1.Secret {
		files := map[string]string{"api.0": "first token", "api.1": "second token", "ca.0": "bundle"}
		return siteOf(mapper, "shop").TokenSecret(localPod(), files,
			goldenNow.Time)
	}
	want := siteOf(mapper, "shop").TokenSecret(localPod(), map[string]string{"ca.0": "bundle"}, goldenNow.Time)
	cases := map[string]struct {
		reason string
		change func(*corev1.Secret)
		holds  bool
	}{
		"Whole":   {"As it was written.", func(*corev1.Secret) {}, true},
		"Trimmed": {"As it is remembered.", TrimSecret, true},
		"NoToken": {"A pod without its token cannot go on.", func(s *corev1.Secret) { delete(s.Data, "api.1"); TrimSecret(s) }, false},
		"Renamed": {"Another key is not the token's.",
			func(s *corev1.Secret) { s.Data["x"] = s.Data["api.1"]; delete(s.Data, "api.1"); TrimSecret(s) }, false},
		"MoreData":  {"What somebody added goes.", func(s *corev1.Secret) { s.Data["x"] = []byte("y"); TrimSecret(s) }, false},
		"OldBundle": {"The rest follows.", func(s *corev1.Secret) { s.Data["ca.0"] = []byte("old"); TrimSecret(s) }, false},
		"Label":     {"A label of ours is restored.", func(s *corev1.Secret) { delete(s.Labels, contract.LabelUID) }, false},
		"Immutable": {"It has to be updated when tokens are renewed.", func(s *corev1.Secret) { s.Immutable = new(true) }, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			have := written()
			tc.change(have)
			if got := HoldsTokens(have, want, tokens); got != tc.holds {
				t.Errorf("%s\nHoldsTokens = %t, want %t", tc.reason, got, tc.holds)
			}
		})
	}
	trimmed := written()
	TrimSecret(trimmed)
	if bytes.Contains(bytes.Join(slices.Collect(maps.Values(trimmed.Data)), nil), []byte("token")) {
		t.Errorf("a trimmed Secret still holds a token: %s", trimmed.Data)
	}
	renewable := written()
	renewable.Annotations[contract.AnnotationRefreshCertificates] = "{}"
	if TrimSecret(renewable); string(renewable.Data["ca.0"]) != "bundle" {
		t.Error("a Secret with certificates was trimmed: their keys are lost")
	}
}

// akd held each copy whole, besides the local object: a few namespaces with large
// ConfigMaps were most of its memory.
func TestTrimmedCopies(t *testing.T) {
	const size = 1 << 20
	site, long := siteOf(testMapper(), "shop"), strings.Repeat("a", size)
	localMap := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "big", Namespace: "shop", UID: "u"},
		Data:       map[string]string{"long": long, "short": "b"},
		BinaryData: map[string][]byte{"binary": []byte(long)},
	}
	copied := site.ConfigMap(localMap, "big")
	TrimConfigMap(copied)
	if held := len(copied.Data["long"]) + len(copied.Data["short"]) + len(copied.BinaryData["binary"]); held > 100 {
		t.Errorf("the copy of a ConfigMap has %d bytes", held)
	}
	if len(localMap.Data["long"]) != size || !SameConfigMap(copied, site.ConfigMap(localMap, "big")) {
		t.Error("the trimmed copy is not that of the ConfigMap")
	}
	forged := site.ConfigMap(localMap, "big")
	forged.Data = map[string]string{"long": copied.Data["long"], "short": "b"}
	if TrimConfigMap(forged); SameConfigMap(forged, site.ConfigMap(localMap, "big")) {
		t.Error("a copy whose content is the digest is taken for the ConfigMap")
	}

	localSecret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "big", Namespace: "shop", UID: "u"}, Data: map[string][]byte{"long": []byte(long)},
	}
	secret := site.Secret(localSecret, "big")
	if TrimSecret(secret); len(secret.Data["long"]) > 100 || !SameSecret(secret, site.Secret(localSecret, "big")) {
		t.Errorf("the trimmed copy of a Secret has %d bytes, and is not the Secret's", len(secret.Data["long"]))
	}
	localSecret.Data = map[string][]byte{"long": []byte(long + "b")}
	if SameSecret(secret, site.Secret(localSecret, "big")) {
		t.Error("a change of the Secret is not seen")
	}
}
