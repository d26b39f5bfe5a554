package config

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const dnsName = "want a DNS name: lowercase letters, digits, - and ., a letter or digit first and last"

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
			want:   []string{`akd.yaml: the file is empty; want apiVersion: actual.vk/v1alpha1 and kind: AKDConfiguration`},
		},
		"Pattern": {
			reason: "A pattern that matches no key would protect nothing.",
			text:   header + "nodeName: n1\nremote: {kubeconfig: r}\npods:\n  labels: {deny: [a/b/c]}\n  annotations: {allow: [\"*\", \"\"]}\n",
			want: []string{
				`akd.yaml:6: pods.labels.deny[0]: found "a/b/c"; want a key such as example.com/name, with * for any characters, or example.com/ ` +
					`for all names of a prefix`,
				`akd.yaml:7: pods.annotations.allow[1]: found ""; want a key such as example.com/name, with * for any characters, or example.com/ ` +
					`for all names of a prefix`,
			},
		},
		"Feature": {
			reason: "A pod that needs a feature which akd does not serve would be bound, and not run.",
			text:   header + "nodeName: n1\nremote: {kubeconfig: r}\nnode:\n  declaredFeatures: [DRANodeAllocatableResources]\n",
			want: []string{
				`akd.yaml:6: node.declaredFeatures[0]: found "DRANodeAllocatableResources"; want RestartAllContainersOnContainerExits, ` +
					`InPlacePodLevelResourcesVerticalScaling or InPlacePodVerticalScalingInitContainers`,
			},
		},
		"Budgets": {
			reason: "A budget that keeps no pod is none.",
			text:   header + "nodeName: n1\nremote: {kubeconfig: r}\ndisruptionBudgets: some\nlimits: {unevictablePerBudget: 0}\n",
			want: []string{
				`akd.yaml:5: disruptionBudgets: found "some"; want none or mirror`,
				`akd.yaml:6: limits.unevictablePerBudget: found "0"; want 1 to 2147483647`,
			},
		},
		"Storage": {
			reason: "Without a class, no claim could ever be bound.",
			text:   header + "nodeName: n1\nremote: {kubeconfig: r}\nstorage: {mode: claims}\n",
			want:   []string{`akd.yaml:5: storage.classes: not set; want a StorageClass of the remote cluster, or storage.mode: none`},
		},
		"StorageClasses": {
			reason: "Each class is a part of a policy's list.",
			text:   header + "nodeName: n1\nremote: {kubeconfig: r}\nstorage:\n  mode: all\n  classes: [\"a,b\"]\n",
			want: []string{
				`akd.yaml:6: storage.mode: found "all"; want none or claims`,
				`akd.yaml:7: storage.classes[0]: found "a,b"; want the name of a StorageClass of the remote cluster`,
			},
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
				`akd.yaml: apiVersion: not set; want actual.vk/v1alpha1`,
				`akd.yaml: kind: not set; want AKDConfiguration`,
			},
		},
		"Required": {
			reason: "What is missing has no line.",
			text:   header,
			want: []string{
				`akd.yaml: nodeName: not set; want the name of the virtual node, here or in --node-name`,
				`akd.yaml: remote.kubeconfig: not set; want the kubeconfig of the remote cluster, here or in --remote-kubeconfig, or that of the ` +
					`local cluster: akd can use its own service account for one of them only`,
			},
		},
		"SameCluster": {
			reason: "akd must not proxy a cluster to itself.",
			text:   minimal + "local: {kubeconfig: /remote}\n",
			want:   []string{`akd.yaml:4: remote.kubeconfig: found "/remote"; want a kubeconfig or context other than those of the local cluster`},
		},
		"TwoDocuments": {
			reason: "The second one would be ignored in silence.",
			text:   minimal + "---\n" + minimal,
			want:   []string{`akd.yaml:6: found a second document; want one document in the file`},
		},
		"Tab": {
			reason: "The commonest mistake of syntax has a sentence of its own.",
			text:   minimal + "node:\n\taddress: 192.0.2.1\n",
			want:   []string{`akd.yaml:6: found a tab in the indentation; want spaces: YAML does not allow tabs for indentation`},
		},
		"Syntax": {
			reason: "The parser's own words, with its line.",
			text:   minimal + "node: [\n",
			want: []string{
				`akd.yaml:5: not valid YAML: did not find expected node content; check indentation, quotes and brackets there`,
			},
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
				`akd.yaml:5: nodeName: found twice; want it once: it is also on line 3`,
				`akd.yaml:6: node.labels[a]: found twice; want it once: it is also on line 6`,
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
		"BadPlacement": {
			reason: "What pods may choose is not more than the provider can have meant.",
			text: minimal + `pods:
  placement:
    nodeLabels: [topology.kubernetes.io/zone, "a b"]
    tolerations:
    - {operator: Exists}
    - {key: gpu, operator: Exists, effect: NoExecute, tolerationSeconds: 5}
    - {key: gpu, operator: Is}
    runtimeClasses: {sandbox: "", Kata: kata, gvisor: "g visor"}
    priorityClasses: {high: "hi gh"}
    schedulers: [volcano, ""]
`,
			want: []string{
				`akd.yaml:7: pods.placement.nodeLabels[1]: found "a b"; want a key such as example.com/name: letters, digits, -, _ and ., ` +
					`at most 63 after the prefix`,
				`akd.yaml:9: pods.placement.tolerations[0].key: not set; without a key, pods could tolerate every taint of the remote cluster`,
				`akd.yaml:10: pods.placement.tolerations[1].tolerationSeconds: not allowed; pods choose it themselves`,
				`akd.yaml:11: pods.placement.tolerations[2].operator: found "Is"; want Exists, Equal, Lt or Gt`,
				`akd.yaml:12: pods.placement.runtimeClasses[Kata]: found "Kata"; ` + dnsName,
				`akd.yaml:12: pods.placement.runtimeClasses[gvisor]: found "g visor"; ` + dnsName,
				`akd.yaml:13: pods.placement.priorityClasses[high]: found "hi gh"; ` + dnsName,
				`akd.yaml:14: pods.placement.schedulers[1]: found ""; ` + dnsName,
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
				`akd.yaml:5: local.apiServer: found "localhost:6443"; want an address that pods in the remote cluster can reach, not a loopback ` +
					`address`,
				`akd.yaml:7: node.address: found "nowhere"; want an IP address`,
				`akd.yaml:9: node.capacity[cpu]: found "lots"; want a quantity such as 4, 500m or 16Gi`,
				`akd.yaml:10: node.capacity[memory]: found "-1"; want 0 or more`,
				`akd.yaml:11: node.capacity[pods]: found "1500m"; want a whole number: only cpu has fractions`,
				`akd.yaml:12: node.capacity[gpu]: found "gpu"; want cpu, memory, pods, ephemeral-storage, hugepages-SIZE or an extended resource ` +
					`such as example.com/gpu`,
				`akd.yaml:14: node.labels[actual.vk/node-name]: not allowed; want another prefix: actual.vk is reserved for akd`,
				`akd.yaml:17: node.labels[example.com/a]: found "a b"; want at most 63 characters: letters, digits, -, _ and ., a letter or digit ` +
					`first and last`,
				`akd.yaml:19: node.taints[0].effect: found "No"; want NoSchedule, PreferNoSchedule or NoExecute`,
				`akd.yaml:21: node.taints[2]: found "b:NoSchedule" twice; want one taint per key and effect`,
				`akd.yaml:24: pods.env[0].name: found "KUBERNETES_SERVICE_HOST"; set local.apiServer instead: akd derives this variable from it`,
				`akd.yaml:26: pods.env[2].name: found "A" twice; want each name once`,
				`akd.yaml:28: pods.tolerations[0].effect: found "NoSchedule"; want NoExecute with tolerationSeconds`,
				`akd.yaml:29: pods.podSecurity: found "strict"; want privileged, baseline or restricted`,
				`akd.yaml:31: kubeletAPI.port: found "99999"; want 1 to 65535`,
				`akd.yaml:32: kubeletAPI.certificate.keyFile: not set; want a path, because mode is files`,
				`akd.yaml:33: metrics.address: found "10254"; want HOST:PORT or :PORT, or nothing to disable the server`,
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
			want: []string{
				`akd.yaml:7: node.labels[node-restriction.kubernetes.io/a]: not allowed; set it with kubectl: NodeRestriction does ` +
					`not allow nodes to set labels of node-restriction.kubernetes.io`,
			},
		},
		"NamespaceMetadata": {
			reason: "Labels and annotations by which a remote namespace gets power are not for akd to set.",
			text: minimal + `namespaces:
  labels:
    team: payments
    app.kubernetes.io/name: payments
    actual.vk/node-name: other
    pod-security.kubernetes.io/enforce: privileged
    a/b/c: d
    owner: a b
  annotations:
    example.com/contact: a, b = c
    scheduler.alpha.kubernetes.io/node-selector: pool=all
    example.com/two: "one\ntwo"
    "": x
`,
			want: []string{
				`akd.yaml:9: namespaces.labels[actual.vk/node-name]: not allowed; want another prefix: actual.vk, kubernetes.io and k8s.io are ` +
					`reserved, except app.kubernetes.io`,
				`akd.yaml:10: namespaces.labels[pod-security.kubernetes.io/enforce]: not allowed; want another prefix: actual.vk, kubernetes.io ` +
					`and k8s.io are reserved, except app.kubernetes.io`,
				`akd.yaml:11: namespaces.labels[a/b/c]: found "a/b/c"; want a key such as example.com/name: letters, digits, -, _ and ., at most ` +
					`63 after the prefix`,
				`akd.yaml:12: namespaces.labels[owner]: found "a b"; want at most 63 characters: letters, digits, -, _ and ., a letter or digit ` +
					`first and last`,
				`akd.yaml:15: namespaces.annotations[scheduler.alpha.kubernetes.io/node-selector]: not allowed; want another prefix: actual.vk, ` +
					`kubernetes.io and k8s.io are reserved, except app.kubernetes.io`,
				`akd.yaml:16: namespaces.annotations[example.com/two]: found "one\ntwo"; want one line without control characters`,
				`akd.yaml:17: namespaces.annotations[]: found ""; want a key such as example.com/name: letters, digits, -, _ and ., at most 63 ` +
					`after the prefix`,
			},
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
		"Signer": {
			reason: "The API server would refuse every request of akd, or sign for a client.",
			text:   minimal + "kubeletAPI: {certificate: {signer: kubelet-serving}}\n",
			want: []string{
				`akd.yaml:5: kubeletAPI.certificate.signer: found "kubelet-serving"; want DOMAIN/NAME, such as kubernetes.io/kubelet-serving`,
			},
		},
		"ClientSigner": {
			reason: "Its certificates are for clients.",
			text:   minimal + "kubeletAPI: {certificate: {signer: kubernetes.io/kube-apiserver-client-kubelet}}\n",
			want: []string{
				`akd.yaml:5: kubeletAPI.certificate.signer: found "kubernetes.io/kube-apiserver-client-kubelet"; want ` +
					`kubernetes.io/kubelet-serving or a signer of another domain: this one signs no certificates of servers`,
			},
		},
		"NullElements": {
			reason: "In a list or a map, nothing would become a capacity of 0 or an empty label.",
			text:   minimal + "node:\n  capacity: {cpu: }\n  labels: {a: ~}\n  clusterDNS: [null]\n",
			want: []string{
				`akd.yaml:6: node.capacity[cpu]: found nothing; want a value, or remove the line`,
				`akd.yaml:7: node.labels[a]: found nothing; want a value, or remove the line`,
				`akd.yaml:8: node.clusterDNS[0]: found nothing; want a value, or remove the line`,
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
				`akd.yaml:6: node.clusterDNS: found "4"; want at most 3 addresses, the limit of the DNS configuration of a pod`,
				`akd.yaml:6: node.clusterDNS[3]: found "dns"; want an IP address`,
			},
		},
		"NotOurs": {
			reason: "Fields of Kubernetes' types that make no sense here say why.",
			text:   minimal + "pods:\n  env: [{name: A, valueFrom: {}}]\n",
			want: []string{
				`akd.yaml:6: pods.env[0].valueFrom: cannot be used here; want a value: a source would have to exist in every namespace`,
			},
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
		if strings.HasPrefix(problem, "akd.yaml:15: node.labels[node-role.kubernetes.io/worker]: not allowed; set it with kubectl") &&
			line == 15 {
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
