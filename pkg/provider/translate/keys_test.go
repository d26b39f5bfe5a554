package translate

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/internal/keypattern"
)

// UnmarshalJSON lets goldens set the filters of a Mapper.
func (f *KeyFilter) UnmarshalJSON(data []byte) error {
	var lists struct{ Allow, Deny []string }
	err := json.Unmarshal(data, &lists)
	*f = NewKeyFilter(lists.Allow, lists.Deny)
	return err
}

// An annotation of the local cluster's user gave the pod a cloud identity of the
// remote cluster.
func TestKeyFilter(t *testing.T) {
	cases := map[string]struct {
		reason      string
		allow, deny []string
		copied      []string
		dropped     []string
	}{
		"Default": {
			reason: "ordinary keys are copied, those with a meaning in the remote cluster are not",
			copied: []string{
				"app", "tier", "job-name", "pod-template-hash", "controller-revision-hash", "example.com/team", "helm.sh/chart",
				"prometheus.io/scrape", "app.kubernetes.io/name", "kubectl.kubernetes.io/default-container", "apps.kubernetes.io/pod-index",
				"batch.kubernetes.io/job-completion-index", "statefulset.kubernetes.io/pod-name",
				"container.apparmor.security.beta.kubernetes.io/main",
			},
			dropped: []string{
				"iam.amazonaws.com/role", "eks.amazonaws.com/role-arn", "IAM.amazonaws.com/role", "azure.workload.identity/use", "aadpodidbinding",
				"iam.gke.io/gcp-service-account", "vault.hashicorp.com/agent-inject", "k8s.v1.cni.cncf.io/networks", "sidecar.istio.io/inject",
				"istio.io/rev", "linkerd.io/inject", "cni.projectcalico.org/ipAddrs", "policy.cilium.io/proxy-visibility",
				"io.cilium.proxy-visibility", "kubernetes.io/os", "pod-security.kubernetes.io/enforce",
				"cluster-autoscaler.kubernetes.io/safe-to-evict",
				"external-dns.alpha.kubernetes.io/hostname", "cdi.k8s.io/gpu", "kueue.x-k8s.io/queue-name", "io.katacontainers.config.hypervisor.path",
				"devices.nri.io/container.main", "cpu-quota.crio.io", "security.openshift.io/scc.podSecurityLabelSync",
				"applyset.kubernetes.io/part-of", "topology.kubernetes.io/zone",
			},
		},
		"Allow": {
			reason: "an administrator trusts the local users with a key", allow: []string{"iam.amazonaws.com/"},
			copied:  []string{"iam.amazonaws.com/role", "app"},
			dropped: []string{"eks.amazonaws.com/role-arn"},
		},
		"Deny": {
			reason: "or with no key that has a prefix, but one", deny: []string{"*/"}, allow: []string{"example.com/team"},
			copied:  []string{"app", "example.com/team"},
			dropped: []string{"example.com/other", "app.kubernetes.io/name"},
		},
		"Never": {
			reason: "nothing allows the keys of akd and of static pods", allow: []string{"*"},
			copied:  []string{"iam.amazonaws.com/role"},
			dropped: []string{"actual.vk/uid", "kubernetes.io/config.mirror", "kubernetes.io/config.source", "Actual.vk/uid"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			filter := NewKeyFilter(tc.allow, tc.deny)
			for _, key := range tc.copied {
				if !filter.Copies(key) {
					t.Errorf("%s: %s is dropped", tc.reason, key)
				}
			}
			for _, key := range tc.dropped {
				if filter.Copies(key) {
					t.Errorf("%s: %s is copied", tc.reason, key)
				}
			}
		})
	}
}

func TestDefaultKeysAreValid(t *testing.T) {
	for _, group := range DefaultKeys() {
		for _, pattern := range group.Patterns {
			if err := keypattern.Check(pattern); err != nil {
				t.Errorf("%s: %v", pattern, err)
			}
		}
	}
}

// Whatever the keys and patterns are: only what the filter copies goes along, files
// and variables of the downward API show the local values all the same, before and
// after the local pod changes, and then nothing is left to do.
func FuzzLabels(f *testing.F) {
	f.Add("iam.amazonaws.com/role", "admin", "$(HOME) $$", "", "")
	f.Add("app", "web", "a\nb", "", "*")
	f.Add("kubernetes.io/config.mirror", "x", "y", "*", "")
	f.Add("actual.vk/uid", "forged", "forged2", "*", "")
	f.Add("example.com/team", "a", "b", "example.com/", "*/")
	f.Add("app", "half a letter \xc2", "\xba its other half", "", "")
	f.Fuzz(func(t *testing.T, key, value, next, allow, deny string) {
		if strings.Contains(key, "']") || key == "" {
			t.Skip() // no key
		}
		for _, text := range []string{key, value, next} {
			if !utf8.ValidString(text) {
				t.Skip() // no API server has it
			}
		}
		var patterns [2][]string
		for i, pattern := range []string{allow, deny} {
			if keypattern.Check(pattern) == nil {
				patterns[i] = []string{pattern}
			}
		}
		mapper := testMapper()
		mapper.PodLabels = NewKeyFilter(patterns[0], patterns[1])
		mapper.PodAnnotations = mapper.PodLabels
		local := downwardPod(key, value)
		remote, err := siteOf(mapper, local.Namespace).Pod(local, PodContext{})
		if err != nil {
			t.Fatal(err)
		}
		showsLocal(t, mapper, local, remote, key)
		variables := remote.Spec.Containers[0].Env
		for _, variable := range variables[len(variables)-2:] {
			shown := variable.Value
			if variable.ValueFrom != nil {
				shown = strings.ReplaceAll(resolve(remote, variable.ValueFrom.FieldRef.FieldPath), "$", "$$")
			}
			if strings.ReplaceAll(shown, "$$", "$") != value || strings.Contains(strings.ReplaceAll(shown, "$$", ""), "$") {
				t.Errorf("variable %s shows %q, want %q", variable.Name, shown, value)
			}
		}
		local.Labels[key], local.Annotations[key] = next, next
		local.Labels["new"], local.Annotations["new"] = "1", "1"
		patches, err := mapper.Update(local, remote, PodContext{})
		if err != nil {
			t.Fatal(err)
		}
		for _, patch := range patches {
			remote = applied(t, remote, patch.Data)
		}
		showsLocal(t, mapper, local, remote, key)
		if patches, err := mapper.Update(local, remote, PodContext{}); err != nil || len(patches) > 0 {
			t.Errorf("after the patches there are more: %v, %v", patches, err)
		}
	})
}

// downwardPod has the key as a label and as an annotation, and shows both in each
// way that there is.
func downwardPod(key, value string) *corev1.Pod {
	ref := func(path string) *corev1.ObjectFieldSelector {
		return &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: path}
	}
	label, annotation := ref("metadata.labels['"+key+"']"), ref("metadata.annotations['"+key+"']")
	pod := localPod(func(p *corev1.Pod) {
		p.Labels, p.Annotations = map[string]string{key: value, "app": "web"}, map[string]string{key: value, "note": "n"}
		p.Spec.Containers[0].Env = []corev1.EnvVar{
			{Name: "LABEL", ValueFrom: &corev1.EnvVarSource{FieldRef: label}},
			{Name: "ANNOTATION", ValueFrom: &corev1.EnvVarSource{FieldRef: annotation}},
		}
		p.Spec.Volumes = []corev1.Volume{
			{Name: "own", VolumeSource: corev1.VolumeSource{DownwardAPI: &corev1.DownwardAPIVolumeSource{Items: []corev1.DownwardAPIVolumeFile{
				{Path: "labels", FieldRef: ref("metadata.labels")}, {Path: "label", FieldRef: label},
			}}}},
			{Name: "all", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
				{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{
					{Path: "annotations", FieldRef: ref("metadata.annotations")}, {Path: "annotation", FieldRef: annotation},
				}}},
			}}}},
		}
	})
	return pod.DeepCopy()
}

// showsLocal expects that the remote pod has only what may be copied, and that its
// files show what those of the local pod would.
func showsLocal(t *testing.T, mapper *Mapper, local, remote *corev1.Pod, key string) {
	t.Helper()
	for kind, have := range map[string][2]map[string]string{
		"label": {remote.Labels, local.Labels}, "annotation": {remote.Annotations, local.Annotations},
	} {
		value, there := have[0][key]
		akds := strings.HasPrefix(key, contract.Domain)
		if copies := mapper.PodLabels.Copies(key); !akds && (there != copies || there && value != have[1][key]) {
			t.Errorf("%s %q: there %v with %q, copied %v", kind, key, there, value, copies)
		}
	}
	if remote.Labels[contract.LabelUID] != string(local.UID) {
		t.Errorf("the labels of akd are gone: %v", remote.Labels)
	}
	for i := range local.Spec.Volumes {
		want, have := downwardFiles(&local.Spec.Volumes[i])[0], downwardFiles(&remote.Spec.Volumes[i])[0]
		for j := range want {
			shown, path := resolve(remote, have[j].FieldRef.FieldPath), want[j].FieldRef.FieldPath
			ours := path[len(path)-1] == ']' && strings.HasPrefix(key, contract.Domain)
			if diff := cmp.Diff(resolve(withoutOurs(local), path), shown); diff != "" && !ours {
				t.Errorf("file %s (-local +remote):\n%s", want[j].Path, diff)
			}
		}
	}
}

// withoutOurs returns the pod without what akd writes on it.
func withoutOurs(pod *corev1.Pod) *corev1.Pod {
	pod = pod.DeepCopy()
	for _, values := range []map[string]string{pod.Labels, pod.Annotations} {
		maps.DeleteFunc(values, func(key, _ string) bool { return strings.HasPrefix(key, contract.Domain) })
	}
	return pod
}

// resolve returns what a kubelet shows for a path of the downward API.
func resolve(pod *corev1.Pod, path string) string {
	values := map[string]map[string]string{"metadata.labels": pod.Labels, "metadata.annotations": pod.Annotations}
	if of, rest, ok := strings.Cut(path, "['"); ok {
		return values[of][strings.TrimSuffix(rest, "']")]
	}
	var text strings.Builder
	for i, key := range slices.Sorted(maps.Keys(values[path])) {
		if i > 0 {
			text.WriteByte('\n')
		}
		text.WriteString(key + "=" + strconv.Quote(values[path][key]))
	}
	return text.String()
}
