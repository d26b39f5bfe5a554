package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
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
			text:   "{\n\t\"apiVersion\": \"actual.vk/v1alpha1\", \"kind\": \"AKDConfiguration\",\n\t\"nodeName\": \"vk\", \"remote\": {\"kubeconfig\": \"/remote\"}}",
			want:   func(*Configuration) {},
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
				c.Pods.Tolerations = []corev1.Toleration{{Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: &thirty}}
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

func TestLoadRefuses(t *testing.T) {
	header := "apiVersion: actual.vk/v1alpha1\nkind: AKDConfiguration\n"
	cases := map[string]struct {
		reason string
		text   string
		want   []string
	}{
		"Empty": {
			reason: "An empty file is a mistake, not a wish for defaults.",
			text:   "# nothing yet\n",
			want:   []string{`akd.yaml: found nothing in it; want apiVersion: actual.vk/v1alpha1 and kind: AKDConfiguration`},
		},
		"Scalar": {
			reason: "A file that is not even a mapping.",
			text:   "hello\n",
			want:   []string{`akd.yaml:1: found the text "hello"; want apiVersion: actual.vk/v1alpha1 and kind: AKDConfiguration`},
		},
		"OtherKind": {
			reason: "The unknown fields of another kind of object would only distract.",
			text:   "apiVersion: v1\nkind: Pod\nspec: {}\n",
			want: []string{
				`akd.yaml:1: apiVersion: found "v1"; want actual.vk/v1alpha1`,
				`akd.yaml:2: kind: found "Pod"; want AKDConfiguration`,
			},
		},
		"NoHeader": {
			reason: "A file says what it is.",
			text:   "nodeName: vk\n",
			want: []string{
				`akd.yaml: apiVersion: no text found; want actual.vk/v1alpha1`,
				`akd.yaml: kind: no text found; want AKDConfiguration`,
			},
		},
		"Required": {
			reason: "What is missing has no line.",
			text:   header,
			want: []string{
				`akd.yaml: nodeName: not set; want a name for the virtual node, here or with --node-name`,
				`akd.yaml: remote.kubeconfig: not set; want the kubeconfig of the remote cluster, here or with --remote-kubeconfig, or that of the local one: only one can be akd's own service account`,
			},
		},
		"SameCluster": {
			reason: "akd must not proxy a cluster to itself.",
			text:   minimal + "local: {kubeconfig: /remote}\n",
			want:   []string{`akd.yaml:4: remote.kubeconfig: found "/remote"; want another kubeconfig or context than the local cluster's`},
		},
		"TwoDocuments": {
			reason: "The second one would be ignored in silence.",
			text:   minimal + "---\n" + minimal,
			want:   []string{`akd.yaml:6: found a second document; want one document in the file`},
		},
		"Tab": {
			reason: "The commonest mistake of syntax has a sentence of its own.",
			text:   minimal + "node:\n\taddress: 192.0.2.1\n",
			want:   []string{`akd.yaml:6: found a tab in the indentation; want spaces: YAML does not allow tabs there`},
		},
		"Syntax": {
			reason: "The parser's own words, with its line.",
			text:   minimal + "node: [\n",
			want:   []string{`akd.yaml:5: found text that is not YAML: did not find expected node content; want indentation, quotes and brackets put right there`},
		},
		"NotUTF8": {
			reason: "The line is found although the text cannot be read.",
			text:   minimal + "node: {hostname: \xff}\n",
			want:   []string{`akd.yaml:5: found bytes that are not UTF-8; want the file saved as UTF-8`},
		},
		"TooLarge": {
			reason: "A file of that size was named by mistake.",
			text:   strings.Repeat("#", maxBytes+1),
			want:   []string{`akd.yaml: larger than 1048576 bytes; want a smaller file: is this the configuration of akd?`},
		},
		"UnknownFields": {
			reason: "A typing error gets the nearest name, anything else all names.",
			text:   minimal + "logging: {lvel: debug}\nkubeletapi: {}\nsync: {zzzzzzzz: 1}\n",
			want: []string{
				`akd.yaml:5: logging.lvel: unknown field; did you mean level?`,
				`akd.yaml:6: kubeletapi: unknown field; did you mean kubeletAPI?`,
				`akd.yaml:7: sync.zzzzzzzz: unknown field; want resyncPeriod, concurrentSyncs, unusedNamespaceTTL or remoteGracePeriod`,
			},
		},
		"MergeKey": {
			reason: "A merge would hide from which line a value comes.",
			text:   minimal + "logging:\n  <<: {level: debug}\n",
			want:   []string{`akd.yaml:6: logging.<<: unknown field; want level or format`},
		},
		"DuplicateKeys": {
			reason: "YAML forbids them, and the last one winning surprises.",
			text:   minimal + "nodeName: other\nnode: {labels: {a: b, a: c}}\n",
			want: []string{
				`akd.yaml:5: nodeName: found a second time; want it once: it is already on line 3`,
				`akd.yaml:6: node.labels[a]: found a second time; want it once: it is already on line 6`,
			},
		},
		"WrongTypes": {
			reason: "Text is not guessed from numbers, nor numbers from text.",
			text: minimal + `node:
  hostname: 12
  labels: {example.com/a: true}
  taints: {}
  clusterDNS: 10.96.0.10
pods: []
kubeletAPI:
  port: "10250"
  anonymousHealth: yes
profiling: 1
`,
			want: []string{
				`akd.yaml:6: node.hostname: found the number "12"; want text, in quotes`,
				`akd.yaml:7: node.labels[example.com/a]: found the boolean "true"; want text, in quotes`,
				`akd.yaml:8: node.taints: found a mapping; want a list, each item after a dash`,
				`akd.yaml:9: node.clusterDNS: found the text "10.96.0.10"; want a list, each item after a dash`,
				`akd.yaml:10: pods: found a list; want fields, each as name: value`,
				`akd.yaml:12: kubeletAPI.port: found the text "10250"; want a whole number`,
				`akd.yaml:13: kubeletAPI.anonymousHealth: found the text "yes"; want true or false`,
				`akd.yaml:14: profiling: found the number "1"; want true or false`,
			},
		},
		"BadValues": {
			reason: "Each kind of value says what it may be.",
			text: minimal + `local: {identity: admin, apiServer: localhost:6443}
node:
  address: nowhere
  capacity:
    cpu: lots
    memory: -1
    pods: 1.5
    gpu: 1
  labels:
    actual.vk/node-name: x
    node-role.kubernetes.io/worker: ""
    topology.kubernetes.io/zone: ok
    example.com/a: a b
  taints:
  - {key: a, effect: No}
  - {key: b, effect: NoSchedule}
  - {key: b, effect: NoSchedule, value: c}
pods:
  env:
  - {name: KUBERNETES_SERVICE_HOST, value: x}
  - {name: A}
  - {name: A}
  tolerations:
  - {effect: NoSchedule, tolerationSeconds: 5, operator: Exists}
  podSecurity: strict
kubeletAPI:
  port: 99999
  certificate: {mode: files, certFile: /tls.crt}
metrics: {address: "10254"}
sync:
  resyncPeriod: 10
  concurrentSyncs: 0
  unusedNamespaceTTL: -1s
  remoteGracePeriod: 1s
logging: {level: warn}
`,
			want: []string{
				`akd.yaml:5: local.identity: found "admin"; want node or client`,
				`akd.yaml:5: local.apiServer: found "localhost:6443"; want an address that pods in the remote cluster reach, not this machine's own`,
				`akd.yaml:7: node.address: found "nowhere"; want an IP address`,
				`akd.yaml:9: node.capacity[cpu]: found "lots"; want a quantity such as 4, 500m or 16Gi`,
				`akd.yaml:10: node.capacity[memory]: found "-1"; want 0 or more`,
				`akd.yaml:11: node.capacity[pods]: found "1500m"; want a whole number: only cpu has fractions`,
				`akd.yaml:12: node.capacity[gpu]: found "gpu"; want cpu, memory, pods, ephemeral-storage, hugepages-SIZE or an extended resource such as example.com/gpu`,
				`akd.yaml:14: node.labels[actual.vk/node-name]: not allowed; want another prefix: labels of actual.vk are akd's own`,
				`akd.yaml:17: node.labels[example.com/a]: found "a b"; want at most 63 characters: letters, digits, -, _ and ., a letter or digit first and last`,
				`akd.yaml:19: node.taints[0].effect: found "No"; want NoSchedule, PreferNoSchedule or NoExecute`,
				`akd.yaml:21: node.taints[2]: found "b:NoSchedule" a second time; want one taint for each key and effect`,
				`akd.yaml:24: pods.env[0].name: found "KUBERNETES_SERVICE_HOST"; want local.apiServer instead: akd makes this variable from it`,
				`akd.yaml:26: pods.env[2].name: found "A" a second time; want each name once`,
				`akd.yaml:28: pods.tolerations[0].effect: found "NoSchedule"; want NoExecute with tolerationSeconds`,
				`akd.yaml:29: pods.podSecurity: found "strict"; want privileged, baseline or restricted`,
				`akd.yaml:31: kubeletAPI.port: found "99999"; want 1 to 65535`,
				`akd.yaml:32: kubeletAPI.certificate.keyFile: not set; want a path with mode files`,
				`akd.yaml:33: metrics.address: found "10254"; want HOST:PORT or :PORT, or nothing to turn it off`,
				`akd.yaml:35: sync.resyncPeriod: found the number "10"; want a duration such as 30s, 5m or 1h30m`,
				`akd.yaml:36: sync.concurrentSyncs: found "0"; want 1 to 1000`,
				`akd.yaml:37: sync.unusedNamespaceTTL: found "-1s"; want 0s or more`,
				`akd.yaml:38: sync.remoteGracePeriod: found "1s"; want 10s or more`,
				`akd.yaml:39: logging.level: found "warn"; want info or debug`,
			},
		},
		"NodeRestriction": {
			reason: "A label that NodeRestriction refuses would stop the node from registering.",
			text:   minimal + "node:\n  labels:\n    node-restriction.kubernetes.io/a: b\n",
			want:   []string{`akd.yaml:7: node.labels[node-restriction.kubernetes.io/a]: not allowed; want it set with kubectl: NodeRestriction keeps node-restriction.kubernetes.io from nodes`},
		},
		"Quantities": {
			reason: "A number that takes seconds to read, and those that no node has.",
			text:   minimal + "node: {capacity: {cpu: 1e-9999999, memory: 1e99, pods: 8Ei}}\n",
			want: []string{
				`akd.yaml:5: node.capacity[cpu]: found "1e-9999999"; want a quantity such as 4, 500m or 16Gi`,
				`akd.yaml:5: node.capacity[memory]: found "1e99"; want less than 8Ei`,
				`akd.yaml:5: node.capacity[pods]: found "9223372036854775807"; want less than 8Ei`,
			},
		},
		"NullElements": {
			reason: "In a list or a map, nothing would become a capacity of 0 or an empty label.",
			text:   minimal + "node:\n  capacity: {cpu: }\n  labels: {a: ~}\n  clusterDNS: [null]\n",
			want: []string{
				`akd.yaml:6: node.capacity[cpu]: found nothing; want a value, or the line left out`,
				`akd.yaml:7: node.labels[a]: found nothing; want a value, or the line left out`,
				`akd.yaml:8: node.clusterDNS[0]: found nothing; want a value, or the line left out`,
			},
		},
		"NoFollowUps": {
			reason: "What could not be read is not also blamed for being empty.",
			text:   minimal + "node: {taints: [x]}\npods: {env: [{name: 5}]}\n",
			want: []string{
				`akd.yaml:5: node.taints[0]: found the text "x"; want fields, each as name: value`,
				`akd.yaml:6: pods.env[0].name: found the number "5"; want text, in quotes`,
			},
		},
		"Nameservers": {
			reason: "Every pod would be refused.",
			text:   minimal + "node:\n  clusterDNS: [192.0.2.1, 192.0.2.2, 192.0.2.3, dns]\n",
			want: []string{
				`akd.yaml:6: node.clusterDNS: found "4"; want at most 3 addresses: a pod's DNS configuration takes no more`,
				`akd.yaml:6: node.clusterDNS[3]: found "dns"; want an IP address`,
			},
		},
		"NotOurs": {
			reason: "Fields of Kubernetes' types that make no sense here say why.",
			text:   minimal + "pods:\n  env: [{name: A, valueFrom: {}}]\n",
			want:   []string{`akd.yaml:6: pods.env[0].valueFrom: cannot be used here; want a value: a source would have to exist in every namespace`},
		},
		"Secret": {
			reason: "The value of a variable may be a secret and is never shown.",
			text:   minimal + "pods:\n  env: [{name: A, value: 12345}]\n",
			want:   []string{`akd.yaml:6: pods.env[0].value: found a number; want text, in quotes`},
		},
		"LongValue": {
			reason: "An error stays readable whatever is in the file.",
			text:   minimal + "logging: {level: " + strings.Repeat("x", 1000) + "}\n",
			want:   []string{`akd.yaml:5: logging.level: found "` + strings.Repeat("x", 64) + `"…; want info or debug`},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := Load(write(t, tc.text))
			if _, ok := errors.AsType[*Error](err); !ok {
				t.Fatalf("%s\nLoad: want an *Error, got %v", tc.reason, err)
			}
			got := strings.Split(err.Error(), "\n")
			if name == "BadValues" {
				got = dropLine(got, 15) // the sentence names what kubelets may set, which is Kubernetes' to change
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s\nLoad (-want, +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// dropLine removes the problem of a line, of which there must be one.
func dropLine(problems []string, line int) []string {
	for i, problem := range problems {
		if strings.HasPrefix(problem, "akd.yaml:15: node.labels[node-role.kubernetes.io/worker]: not allowed; want it set with kubectl") && line == 15 {
			return append(problems[:i:i], problems[i+1:]...)
		}
	}
	return problems
}

func TestLoadUnreadable(t *testing.T) {
	t.Chdir(t.TempDir())
	cases := map[string]struct {
		reason, path, want string
	}{
		"Missing":   {"The commonest mistake.", "akd.yaml", "akd.yaml: cannot be read: no such file or directory; want a readable YAML file"},
		"Directory": {"A folder can be opened, but not read.", ".", ".: cannot be read: is a directory; want a readable YAML file"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := Load(tc.path)
			if err == nil || err.Error() != tc.want {
				t.Errorf("%s\nLoad: want %q, got %q", tc.reason, tc.want, err)
			}
		})
	}
}

func TestFlags(t *testing.T) {
	file := minimal + `local: {kubeconfig: local, identity: nobody}
node:
  labels: {example.com/a: b}
  taints: [{key: a, effect: NoSchedule}]
  capacity: {cpu: lots}
sync: {resyncPeriod: 1h}
`
	cases := map[string]struct {
		reason string
		file   string
		args   []string
		want   func(*Configuration)
		err    string
	}{
		"NoFile": {
			reason: "The first akd is started with flags alone.",
			args:   []string{"--node-name=vk", "--remote-kubeconfig", "remote"},
			want:   func(c *Configuration) { c.Remote.Kubeconfig = "remote" },
		},
		"Override": {
			reason: "Flags win, mend what is wrong in the file, and replace maps and lists whole; paths in them are the caller's.",
			file:   file,
			args: []string{
				"--local-identity=client", "--node-capacity=cpu=4,memory=1Gi", "--node-labels=example.com/c=d", "--node-labels=example.com/e=",
				"--node-taints=x=y:NoExecute,z:NoSchedule", "--pod-env=A=1,2", "--profiling", "--remote-kubeconfig=remote",
			},
			want: func(c *Configuration) {
				c.Local.Kubeconfig, c.Local.Identity = "sub/local", LocalIdentityClient
				c.Remote.Kubeconfig = "remote"
				c.Node.Capacity = corev1.ResourceList{"cpu": resource.MustParse("4"), "memory": resource.MustParse("1Gi")}
				c.Node.Labels = map[string]string{"example.com/c": "d", "example.com/e": ""}
				c.Node.Taints = []corev1.Taint{
					{Key: "x", Value: "y", Effect: corev1.TaintEffectNoExecute},
					{Key: "z", Effect: corev1.TaintEffectNoSchedule},
				}
				c.Pods.Env = []corev1.EnvVar{{Name: "A", Value: "1,2"}}
				c.Profiling = true
				c.Sync.ResyncPeriod = metav1.Duration{Duration: time.Hour}
			},
		},
		"Empty": {
			reason: "An empty flag takes away what the file has.",
			file:   minimal + "node: {labels: {example.com/a: b}}\n",
			args:   []string{"--node-labels=", "--metrics-address="},
			want: func(c *Configuration) {
				c.Remote.Kubeconfig = "/remote"
				c.Node.Labels = map[string]string{}
				c.Metrics.Address = ""
			},
		},
		"Origin": {
			reason: "An error says which flag is wrong; the file is not to blame.",
			file:   minimal,
			args:   []string{"--node-name=VK", "--node-taints=a:No"},
			err: `--node-name: nodeName: found "VK"; want at most 46 characters: lower-case letters, digits and -, a letter or digit first and last
--node-taints: node.taints[0].effect: found "No"; want NoSchedule, PreferNoSchedule or NoExecute`,
		},
		"Nothing": {
			reason: "Without a file the sentences stand alone.",
			err: `nodeName: not set; want a name for the virtual node, here or with --node-name
remote.kubeconfig: not set; want the kubeconfig of the remote cluster, here or with --remote-kubeconfig, or that of the local one: only one can be akd's own service account`,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			set := pflag.NewFlagSet("akd", pflag.ContinueOnError)
			flags := BindFlags(set)
			if tc.file != "" {
				if err := os.MkdirAll("sub", 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join("sub", "akd.yaml"), []byte(tc.file), 0o600); err != nil {
					t.Fatal(err)
				}
				tc.args = append(tc.args, "--config=sub/akd.yaml")
			}
			if err := set.Parse(tc.args); err != nil {
				t.Fatalf("%s\nParse: %v", tc.reason, err)
			}
			got, err := flags.Load()
			if tc.err != "" {
				if err == nil || err.Error() != tc.err {
					t.Errorf("%s\nLoad: want\n%s\ngot\n%v", tc.reason, tc.err, err)
				}
				return
			}
			if err != nil {
				t.Fatalf("%s\nLoad: %v", tc.reason, err)
			}
			want := Default()
			want.NodeName = "vk"
			tc.want(want)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s\nLoad (-want, +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestFlagsRefuse(t *testing.T) {
	cases := map[string]struct {
		reason, arg, want string
	}{
		"Duration": {"A duration has a unit.", "--resync-period=10", `invalid argument "10" for "--resync-period" flag: found "10"; want a duration such as 30s, 5m or 1h30m`},
		"Enum":     {"Allowed values are named.", "--log-level=x", `invalid argument "x" for "--log-level" flag: found "x"; want info or debug`},
		"Quantity": {"The resource is a quantity.", "--node-capacity=cpu=x", `invalid argument "cpu=x" for "--node-capacity" flag: found "x"; want a quantity such as 4, 500m or 16Gi`},
		"Map":      {"A label without = is a mistake.", "--node-labels=a", `invalid argument "a" for "--node-labels" flag: found "a"; want NAME=VALUE, more after commas`},
		"Taint":    {"A taint has an effect.", "--node-taints=a", `invalid argument "a" for "--node-taints" flag: found "a"; want KEY=VALUE:EFFECT or KEY:EFFECT, more after commas`},
		"Env":      {"A variable has a value.", "--pod-env=A", `invalid argument "A" for "--pod-env" flag: found no =; want NAME=VALUE`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			set := pflag.NewFlagSet("akd", pflag.ContinueOnError)
			BindFlags(set)
			err := set.Parse([]string{tc.arg})
			if err == nil || err.Error() != tc.want {
				t.Errorf("%s\nParse: want %s, got %v", tc.reason, tc.want, err)
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

// TestUsage shows that --help tells the meaning, the default and what is allowed.
func TestUsage(t *testing.T) {
	set := pflag.NewFlagSet("akd", pflag.ContinueOnError)
	BindFlags(set)
	help := set.FlagUsages()
	for _, want := range []string{
		`Who akd is in the local cluster (node or client) (default "node")`,
		`(default 10m)`,
		`--profiling `,
	} {
		if !strings.Contains(help, want) {
			t.Errorf("--help lacks %q:\n%s", want, help)
		}
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
