package install

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/internal/remotenodes"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/failure"
)

// options are those of a user who has given none, but for what change says.
func options(change func(*nodeOptions)) *nodeOptions {
	o := &nodeOptions{
		node:        "vk",
		image:       "akd",
		runIn:       manifests.RunInLocal,
		podSecurity: "baseline",
		replicas:    1,
	}
	if change != nil {
		change(o)
	}
	return o
}

func TestConfiguration(t *testing.T) {
	header := "apiVersion: actual.vk/v1alpha1\nkind: AKDConfiguration\nleaderElection:\n  lease: actual-system/vk\n"
	cases := map[string]struct {
		reason string
		file   string
		change func(*nodeOptions)
		found  discovered
		want   string
	}{
		"Defaults": {
			reason: "akd's own defaults are left to akd",
			want:   header + "nodeName: vk\npods:\n  podSecurity: baseline\nremote:\n  secret: actual-system/vk\n",
		},
		"RunInRemote": {
			reason: "the credential is for the other cluster", change: func(o *nodeOptions) { o.runIn = manifests.RunInRemote },
			want: header +
				"local:\n  secret: actual-system/vk\nnodeName: vk\npods:\n  podSecurity: baseline\n",
		},
		"File": {
			reason: "what the file says stays, and flags come before it",
			file: "nodeName: other\nnode:\n  capacity: {cpu: 1, memory: 1Gi}\n  labels: {rack: a}\n" +
				"pods:\n  podSecurity: restricted\nsync:\n  resyncPeriod: 1m\n",
			change: func(o *nodeOptions) {
				o.capacity = map[string]string{"cpu": "64", "pods": "500"}
				o.labels = map[string]string{"zone": "b"}
				o.taints = []string{"actual.vk/node=true:NoSchedule"}
			},
			want: header + "node:\n  capacity:\n    cpu: \"64\"\n    memory: 1Gi\n    pods: \"500\"\n  labels:\n    rack: a\n    zone: b\n" +
				"  taints:\n  - effect: NoSchedule\n    key: actual.vk/node\n    value: \"true\"\n" +
				"nodeName: vk\npods:\n  podSecurity: baseline\nremote:\n  secret: actual-system/vk\nsync:\n  resyncPeriod: 1m\n",
		},
		"Discovered": {
			reason: "what install finds in the clusters is written down",
			change: func(o *nodeOptions) { o.localServer = "192.0.2.1:6443" },
			found: discovered{
				nodes: remotenodes.Together{
					Allocatable: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("8")},
					Labels:      map[string]string{corev1.LabelOSStable: "linux", corev1.LabelTopologyZone: "a"},
					Features:    []string{"RestartAllContainersOnContainerExits"},
				},
				services: "mirror", ranges: []string{"10.96.0.0/16"}, endpoints: []string{"10.244.0.0/16"},
			},
			want: header + "local:\n  apiServer: 192.0.2.1:6443\nnode:\n  capacity:\n    cpu: \"8\"\n" +
				"  declaredFeatures:\n  - RestartAllContainersOnContainerExits\n" +
				"  labels:\n    kubernetes.io/arch: \"\"\n    kubernetes.io/os: linux\n    topology.kubernetes.io/zone: a\nnodeName: vk\n" +
				"pods:\n  podSecurity: baseline\nremote:\n  secret: actual-system/vk\nservices: mirror\n",
		},
		"Limits": {
			reason: "limits of remote namespaces",
			change: func(o *nodeOptions) {
				o.quota, o.limits, o.networkPolicy = map[string]string{"pods": "10"}, map[string]string{"cpu": "500m"}, true
			},
			want: header + "namespaces:\n  limitRange:\n  - default:\n      cpu: 500m\n    type: Container\n  networkPolicy:\n    enabled: true\n" +
				"  resourceQuota:\n    pods: \"10\"\nnodeName: vk\npods:\n  podSecurity: baseline\nremote:\n  secret: actual-system/vk\n",
		},
		"Storage": {
			reason: "flags, where no cluster is asked, add to the file's classes",
			file:   "storage:\n  mode: claims\n  classes: [standard]\n  colocate: false\n",
			change: func(o *nodeOptions) { o.storageClasses = []string{"premium=fast"} },
			want: header + "nodeName: vk\npods:\n  podSecurity: baseline\nremote:\n  secret: actual-system/vk\n" +
				"storage:\n  classes:\n  - standard\n  - premium\n  colocate: false\n  mode: claims\n",
		},
		"StorageFound": {
			reason: "what install finds in the remote cluster is written down",
			change: func(o *nodeOptions) { o.storage = "claims" },
			found:  discovered{policies: true, storage: storageChoice{mode: "claims", classes: []string{"standard"}}},
			want: header + "nodeName: vk\npods:\n  podSecurity: baseline\nremote:\n  secret: actual-system/vk\n" +
				"storage:\n  classes:\n  - standard\n  mode: claims\n",
		},
		"NamespaceMetadata": {
			reason: "labels of remote namespaces, in addition to those of the file; annotations have commas",
			file:   "namespaces:\n  labels: {stage: test, team: none}\n",
			change: func(o *nodeOptions) {
				o.namespaceLabels = []string{"team=payments", "empty="}
				o.namespaceAnnotations = []string{"example.com/contact=a, b = c"}
			},
			want: header + "namespaces:\n  annotations:\n    example.com/contact: a, b = c\n  labels:\n    empty: \"\"\n    stage: test\n" +
				"    team: payments\nnodeName: vk\npods:\n  podSecurity: baseline\nremote:\n  secret: actual-system/vk\n",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			o := options(tc.change)
			if tc.file != "" {
				o.configFile = filepath.Join(t.TempDir(), "akd.yaml")
				if err := os.WriteFile(o.configFile, []byte(tc.file), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := o.complete([]string{"vk"}); err != nil {
				t.Fatal(err)
			}
			if err := o.validate(); err != nil {
				t.Fatal(err)
			}
			values, err := o.values(tc.found)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, values.Config); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// Rights follow from what akd is configured to do.
func TestValues(t *testing.T) {
	o := options(func(o *nodeOptions) {
		o.fields = map[string]any{"services": "mirror"}
		o.content = []byte("services: mirror\nnamespaces: {networkPolicy: {enabled: true}}\n")
		o.configFile, o.replicas, o.readNodes, o.unconfined = "akd.yaml", 2, true, true
		o.serviceCIDRs = []string{"10.96.0.0/16"}
		o.namespaceLabels, o.namespaceAnnotations, o.namespaceKeys = []string{"team=a"}, []string{"note=b"}, []string{"istio.io/*"}
		o.budgets, o.maxUnevictable = "mirror", 4
	})
	if err := o.parse(); err != nil {
		t.Fatal(err)
	}
	got, err := o.values(discovered{})
	if err != nil {
		t.Fatal(err)
	}
	got.Config = ""
	want := manifests.Values{
		Node:           "vk",
		Image:          "akd",
		PodSecurity:    "baseline",
		RunIn:          manifests.RunInLocal,
		Replicas:       2,
		Hostname:       "vk",
		Signer:         "kubernetes.io/kubelet-serving",
		ReadNodes:      true,
		MirrorServices: true,
		MirrorBudgets:  true,
		MaxUnevictable: 4,
		ServiceCIDRs:   []string{"10.96.0.0/16"},
		Limits:         manifests.Limits{NetworkPolicy: true},
		Unconfined:     true,
		NamespaceMetadata: manifests.NamespaceMetadata{
			Labels:      map[string]string{"team": "a"},
			Annotations: map[string]string{"note": "b"},
			Allowed:     []string{"istio.io/*"},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestValidate(t *testing.T) {
	cases := map[string]struct {
		reason string
		change func(*nodeOptions)
		want   string
	}{
		"Node": {
			reason: "everything is named after it",
			change: func(o *nodeOptions) { o.node = "Not_A_Node" },
			want:   "is not a DNS label",
		},
		"Services": {
			reason: "there are two ways",
			change: func(o *nodeOptions) { o.services = "some" },
			want:   `--services "some": want mirror, shared or none`,
		},
		"Budgets": {
			reason: "there are two ways",
			change: func(o *nodeOptions) { o.budgets = "some" },
			want:   `--disruption-budgets "some": want mirror or none`,
		},
		"Unevictable": {
			reason: "fewer than none",
			change: func(o *nodeOptions) { o.maxUnevictable = -1 },
			want:   "--max-unevictable -1: want 1 or more",
		},
		"Storage": {
			reason: "there are two ways",
			change: func(o *nodeOptions) { o.storage = "some" },
			want:   `--storage "some": want claims or none`,
		},
		"StorageNone": {
			reason: "a class without storage has no claims",
			change: func(o *nodeOptions) { o.storage, o.storageClasses = "none", []string{"a"} },
			want:   "--storage=none has no storage classes",
		},
		"StorageClass": {
			reason: "a class has a name",
			change: func(o *nodeOptions) { o.storageClasses = []string{"a="} },
			want:   `--storage-class "a=": want REMOTE or REMOTE=LOCAL`,
		},
		"ServiceCIDR": {
			reason: "a range has a length",
			change: func(o *nodeOptions) { o.serviceCIDRs = []string{"10.96.0.0"} },
			want:   "--service-cidr: ",
		},
		"EndpointCIDR": {
			reason: "likewise",
			change: func(o *nodeOptions) { o.endpointCIDRs = []string{"10.0.0.1/8"} },
			want:   "did you mean 10.0.0.0/8?",
		},
		"Capacity": {
			reason: "a capacity is a quantity", change: func(o *nodeOptions) { o.capacity = map[string]string{"cpu": "lots"} },
			want: `--capacity cpu="lots": want a quantity such as 4, 500m or 16Gi`,
		},
		"Taint": {
			reason: "a taint has an effect", change: func(o *nodeOptions) { o.taints = []string{"nonsense"} },
			want: `--taint "nonsense": want KEY=VALUE:EFFECT or KEY:EFFECT`,
		},
		"Effect": {
			reason: "and a known one",
			change: func(o *nodeOptions) { o.taints = []string{"a=b:Maybe"} },
			want:   "node.taints[0].effect",
		},
		"PodSecurity": {
			reason: "a level that is not known allows nothing",
			change: func(o *nodeOptions) { o.podSecurity = "none" },
			want:   "pods.podSecurity",
		},
		"NamespaceLabel": {
			reason: "a label has a value, be it empty",
			change: func(o *nodeOptions) { o.namespaceLabels = []string{"team"} },
			want:   `--namespace-label "team": want KEY=VALUE`,
		},
		"NamespaceLabelTwice": {
			reason: "which of both is meant is not known",
			change: func(o *nodeOptions) { o.namespaceLabels = []string{"team=a", "team=b"} },
			want:   `--namespace-label team: found the values "a" and "b"; want one`,
		},
		"NamespaceLevel": {
			reason: "akd's own labels have other options",
			change: func(o *nodeOptions) { o.namespaceLabels = []string{"pod-security.kubernetes.io/enforce=privileged"} },
			want:   "namespaces.labels[pod-security.kubernetes.io/enforce]: not allowed; want another prefix",
		},
		"NamespaceAnnotation": {
			reason: "the policies' parameter has lines",
			change: func(o *nodeOptions) { o.namespaceAnnotations = []string{"note=a\nb"} },
			want:   "namespaces.annotations[note]: found",
		},
		"NamespaceKey": {
			reason: "any key would be any power",
			change: func(o *nodeOptions) { o.namespaceKeys = []string{"*"} },
			want:   `key "*": want a key`,
		},
		"RunIn": {reason: "there are two clusters", change: func(o *nodeOptions) { o.runIn = "nowhere" }, want: `"nowhere"`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			err := options(tc.change).validate()
			if err == nil || !failure.IsUsage(err) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: error %v, want one of usage with %q", tc.reason, err, tc.want)
			}
		})
	}
	if err := options(nil).validate(); err != nil {
		t.Errorf("without any options: %v", err)
	}
}

// Half of the pods that required a zone ran in another one: the node said that it was there.
func TestUntrueLabels(t *testing.T) {
	inA, untrue := map[string]string{corev1.LabelTopologyZone: "a"}, []string{"topology.kubernetes.io/zone=a"}
	zone := func(labels map[string]string) discovered {
		return discovered{nodes: remotenodes.Together{Labels: labels}}
	}
	for name, tc := range map[string]struct {
		reason string
		labels map[string]string
		found  discovered
		want   []string
	}{
		"Agreed":   {reason: "all are there", labels: inA, found: zone(inA)},
		"Other":    {reason: "all are elsewhere", labels: inA, found: zone(map[string]string{corev1.LabelTopologyZone: "b"}), want: untrue},
		"Differ":   {reason: "some are elsewhere", labels: inA, found: zone(map[string]string{}), want: untrue},
		"Unknown":  {reason: "nobody has read them", labels: inA},
		"OwnLabel": {reason: "it is no machine's", labels: map[string]string{"example.com/team": "blue"}, found: zone(map[string]string{})},
	} {
		t.Run(name, func(t *testing.T) {
			o := options(func(o *nodeOptions) { o.labels = tc.labels })
			if got := o.untrueLabels(tc.found); !slices.Equal(got, tc.want) {
				t.Errorf("%s: got %q, want %q", tc.reason, got, tc.want)
			}
		})
	}
}
