package policies_test

import (
	"maps"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"sigs.k8s.io/yaml"

	"github.com/actual-kubelets/actual-kubelets/manifests"
)

// node is that of the goldens of package translate.
const node = "n1"

// installed allows what the goldens of package translate need of their node's
// installation.
func installed() manifests.Values {
	values := manifests.Values{Node: node, PodSecurity: "privileged", Volumes: append(manifests.VolumeKinds(), "csi/csi.example.org")}
	values.Storage = manifests.Storage{Enabled: true, Classes: []string{"standard"}}
	values.Placement.DefaultPriorityClass = "tenants"
	values.Placement.RuntimeScheduling = []nodev1.Scheduling{{NodeSelector: map[string]string{"pool": "tenants"}}}
	values.Placement.NodeLabels = []string{corev1.LabelTopologyZone, "example.com/rack"}
	values.Placement.MoreTolerations = []corev1.Toleration{
		{Key: "gpu", Operator: corev1.TolerationOpExists},
		{Key: "team", Value: "a", Effect: corev1.TaintEffectNoSchedule},
	}
	values.Placement.Schedulers = []string{"mine"}
	values.Placement.Tolerations = []corev1.Toleration{
		{Key: "tenant", Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule},
	}
	return values
}

// The policies admit what package translate makes: every pod and every patch in
// its goldens.
func TestGoldens(t *testing.T) {
	files, err := filepath.Glob("../../pkg/provider/translate/testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no goldens: %v", err)
	}
	s := serve(t, installed())
	sandboxed := installed()
	sandboxed.Placement.RuntimeClass = "gvisor"
	inSandbox := serve(t, sandboxed)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			parts := map[string][]byte{}
			for _, part := range archive.Files {
				parts[part.Name] = part.Data
			}
			if content := parts["want/remote.yaml"]; content != nil {
				made := pod(t, content)
				s := s
				if made.Spec.RuntimeClassName != nil {
					s = inSandbox
				}
				expect(t, s.do(t, request{user: account(node), object: admitted(made)}), "")
			}
			for _, part := range archive.Files {
				name, isPatch := strings.CutPrefix(part.Name, "want/patch")
				if !isPatch {
					continue
				}
				subresource := strings.Trim(strings.TrimSuffix(name, ".yaml"), "-")
				old := admitted(pod(t, parts["remote.yaml"]))
				patched := patch(t, old, part.Data)
				expect(t, s.do(t, request{user: account(node), object: patched, old: old, subresource: subresource}), "")
			}
		})
	}
}

// pod decodes a golden's pod, with what goldens of updates omit.
func pod(t *testing.T, content []byte) *corev1.Pod {
	t.Helper()
	pod := &corev1.Pod{}
	if err := yaml.UnmarshalStrict(content, pod); err != nil {
		t.Fatal(err)
	}
	pod.Name, pod.Namespace = "web", namespace(node).Name
	if pod.Labels == nil {
		pod.Labels = map[string]string{}
	}
	maps.Copy(pod.Labels, owner(node).Labels("home", "local-uid"))
	pod.Spec.AutomountServiceAccountToken = new(bool)
	if len(pod.Spec.Containers) == 0 {
		pod.Spec.Containers = []corev1.Container{{Name: "main", Image: "web:1"}}
	}
	pod.Spec.EphemeralContainers, pod.Spec.NodeName = nil, ""
	return pod
}

func patch(t *testing.T, old *corev1.Pod, content []byte) *corev1.Pod {
	t.Helper()
	before, err := yaml.Marshal(old)
	if err != nil {
		t.Fatal(err)
	}
	before, err = yaml.YAMLToJSON(before)
	if err != nil {
		t.Fatal(err)
	}
	change, err := yaml.YAMLToJSON(content)
	if err != nil {
		t.Fatal(err)
	}
	after, err := strategicpatch.StrategicMergePatch(before, change, corev1.Pod{})
	if err != nil {
		t.Fatal(err)
	}
	patched := &corev1.Pod{}
	if err := yaml.Unmarshal(after, patched); err != nil {
		t.Fatal(err)
	}
	return patched
}
