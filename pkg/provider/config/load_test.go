package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// minimal is the least that is valid.
const minimal = `apiVersion: actual.vk/v1alpha1
kind: AKDConfiguration
nodeName: vk
remote: {kubeconfig: /remote}
`

// write puts the text into akd.yaml, in a folder that becomes the working
// directory, so that errors show the short name.
func write(t *testing.T, text string) string {
	t.Helper()
	t.Chdir(t.TempDir())
	if err := os.WriteFile("akd.yaml", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return "akd.yaml"
}

func TestLoad(t *testing.T) {
	cases := map[string]struct {
		reason string
		text   string
		want   func(*Configuration)
	}{
		"Minimal": {
			reason: "What is left out keeps its default.",
			text:   minimal,
			want:   func(*Configuration) {},
		},
		"Null": {
			reason: "A field without a value is as good as left out.",
			text:   minimal + "node:\nsync: {resyncPeriod: }\nmetrics: ~\n",
			want:   func(*Configuration) {},
		},
		"EmptyIsTaken": {
			reason: "An empty text is not the default: it turns the metrics server off.",
			text:   minimal + "metrics: {address: \"\"}\n",
			want:   func(c *Configuration) { c.Metrics.Address = "" },
		},
		"JSON": {
			reason: "JSON is YAML, tabs included.",
			text: "{\n\t\"apiVersion\": \"actual.vk/v1alpha1\", \"kind\": \"AKDConfiguration\",\n\t\"nodeName\": \"vk\", \"remote\": " +
				"{\"kubeconfig\": \"/remote\"}}",
			want: func(*Configuration) {},
		},
		"RelativePaths": {
			reason: "Paths are seen from the folder of the file, not from where akd was started.",
			text:   minimal + "local: {kubeconfig: sub/local}\n",
			want:   func(c *Configuration) { c.Local.Kubeconfig = "sub/local" },
		},
		"ByteOrderMark": {
			reason: "Some editors put one at the head of UTF-8.",
			text:   "\ufeff" + minimal,
			want:   func(*Configuration) {},
		},
		"Documents": {
			reason: "Markers around the only document do no harm.",
			text:   "---\n" + minimal + "---\n# nothing\n",
			want:   func(*Configuration) {},
		},
		"Alias": {
			reason: "Anchors and aliases are YAML as people know it.",
			text:   minimal + "node: {labels: &l {example.com/a: b}}\npods: {nodeSelector: *l}\n",
			want: func(c *Configuration) {
				c.Node.Labels = map[string]string{"example.com/a": "b"}
				c.Pods.NodeSelector = map[string]string{"example.com/a": "b"}
			},
		},
		"Values": {
			reason: "Each type is read.",
			text: minimal + `node:
  capacity: {cpu: 1.5, memory: 16Gi, pods: 110, example.com/gpu: "2"}
  taints: [{key: a, value: b, effect: NoExecute}]
  clusterDNS: [10.96.0.10]
pods:
  env: [{name: A, value: "1"}, {name: B}]
  tolerations: [{operator: Exists, effect: NoExecute, tolerationSeconds: 30}]
  podSecurity: restricted
kubeletAPI: {port: 10251, anonymousHealth: true}
sync: {resyncPeriod: 0s, remoteGracePeriod: 1m30s}
`,
			want: func(c *Configuration) {
				thirty := int64(30)
				c.Node.Capacity = corev1.ResourceList{
					"cpu": resource.MustParse("1.5"), "memory": resource.MustParse("16Gi"),
					"pods": resource.MustParse("110"), "example.com/gpu": resource.MustParse("2"),
				}
				c.Node.Taints = []corev1.Taint{{Key: "a", Value: "b", Effect: corev1.TaintEffectNoExecute}}
				c.Node.ClusterDNS = []string{"10.96.0.10"}
				c.Pods.Env = []corev1.EnvVar{{Name: "A", Value: "1"}, {Name: "B"}}
				c.Pods.Tolerations = []corev1.Toleration{
					{Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: &thirty},
				}
				c.Pods.PodSecurity = PodSecurityRestricted
				c.KubeletAPI.Port, c.KubeletAPI.AnonymousHealth = 10251, true
				c.Sync.ResyncPeriod = metav1.Duration{}
				c.Sync.RemoteGracePeriod = metav1.Duration{Duration: 90 * time.Second}
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			want := Default()
			want.NodeName, want.Remote.Kubeconfig = "vk", "/remote"
			tc.want(want)
			got, err := Load(write(t, tc.text))
			if err != nil {
				t.Fatalf("%s\nLoad: %v", tc.reason, err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s\nLoad (-want, +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// TestRedacted: what /configz shows holds no secret, and the original is whole.
func TestRedacted(t *testing.T) {
	cfg := Default()
	cfg.Pods.Env = []corev1.EnvVar{{Name: "TOKEN", Value: "hidden"}, {Name: "EMPTY"}}
	want := []corev1.EnvVar{{Name: "TOKEN", Value: "<hidden>"}, {Name: "EMPTY"}}
	if diff := cmp.Diff(want, cfg.Redacted().Pods.Env); diff != "" {
		t.Errorf("Redacted (-want, +got):\n%s", diff)
	}
	if cfg.Pods.Env[0].Value != "hidden" {
		t.Error("Redacted changed the configuration")
	}
}

// FuzzLoad looks for panics, and for errors that are not a sentence with a
// place.
func FuzzLoad(f *testing.F) {
	example, err := os.ReadFile("testdata/example.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		string(example), minimal, "", "a: &a [*a]", "? {a: b}\n: c", "- x", "node: {capacity: {cpu: 1e999999999}}",
		minimal + "node: {capacity: {cpu: 1e-9999999, memory: 1e99, pods: 8Ei}}\n", "\xff", "!!binary x",
		minimal + "node: &n {labels: *n}\n", minimal + "pods: {env: [*x]}\n", "%YAML 9.9\n---\na", "{", "\"\\x", "a:\n\t- b", "---\n...\n---\n",
	} {
		f.Add([]byte(seed))
	}
	path := filepath.Join(f.TempDir(), "akd.yaml")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := Load(path)
		if err == nil {
			if problems := cfg.Validate(); len(problems) > 0 {
				t.Errorf("Load let pass what Validate refuses: %v", problems)
			}
			return
		}
		var refused *Error
		if !errors.As(err, &refused) || len(refused.Problems) == 0 {
			t.Fatalf("Load: want an *Error with problems, got %v", err)
		}
		lines := strings.Count(string(data), "\n") + strings.Count(string(data), "\r") + strings.Count(string(data), "\u0085") +
			strings.Count(string(data), "\u2028") + strings.Count(string(data), "\u2029") + 2
		for _, problem := range refused.Problems {
			if problem.Found == "" || problem.Want == "" || problem.File != path || problem.Line < 0 || problem.Line > lines {
				t.Errorf("not a sentence with a place: %#v", problem)
			}
		}
	})
}
