package check

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/config"
)

func served(name string) *corev1.Node {
	return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{contract.LabelNode: "true"}}}
}

func akd(node string) *appsv1.Deployment {
	return &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{
		Namespace: contract.SystemNamespace,
		Name:      node,
		Labels:    map[string]string{contract.LabelNodeName: node},
	}}
}

// remoteAKD is the akd of a node of some local cluster, in the remote one.
func remoteAKD(node, cluster string) *appsv1.Deployment {
	remote := akd(node)
	remote.Labels[contract.LabelClusterUID] = cluster
	return remote
}

func configMap(name, key, value string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: contract.SystemNamespace, Name: name},
		Data:       map[string]string{key: value},
	}
}

func configured(node, more string) *corev1.ConfigMap {
	header := "apiVersion: " + config.APIVersion + "\nkind: " + config.Kind + "\n"
	return configMap(node, "akd.yaml", header+"nodeName: "+node+"\nremote: {secret: actual-system/"+node+"}\n"+more)
}

func TestFindNode(t *testing.T) {
	t.Parallel()
	install := func(node string) string { return "kubectl actual install " + node + " --remote-context=there" }
	cases := map[string]struct {
		reason        string
		node          string
		local, remote []runtime.Object
		level         Level
		found, fix    string
	}{
		"Only one": {
			reason: "it need not be named", local: []runtime.Object{served("vk"), akd("vk"), configured("vk", "")},
			level: LevelOK, found: "vk, whose akd runs in the local cluster",
		},
		"Remote akd": {
			reason: "akd can run there",
			node:   "vk",
			local:  []runtime.Object{served("vk")},
			remote: []runtime.Object{remoteAKD("vk", "here"), configured("vk", "")},
			level:  LevelOK,
			found:  "vk, whose akd runs in the remote cluster",
		},
		"Another cluster's akd": {
			reason: "it is no business of this cluster's",
			node:   "vk",
			remote: []runtime.Object{remoteAKD("vk", "elsewhere"), configured("vk", "")},
			level:  LevelFailed,
			found:  "there is no node vk, and no akd of that name",
			fix:    install("vk"),
		},
		"By other means": {
			reason: "then less can be checked",
			node:   "vk",
			local:  []runtime.Object{served("vk")},
			level:  LevelWarning,
			found:  "not installed with kubectl actual",
			fix:    install("vk"),
		},
		"None": {reason: "install one", level: LevelFailed, found: "no akd serves a node", fix: install("NODE")},
		"Several": {
			reason: "a guess could be wrong",
			local:  []runtime.Object{served("b"), akd("a")},
			level:  LevelFailed,
			found:  "there are several: a, b",
			fix:    "name one: kubectl actual check a --remote-context=there",
		},
		"Missing": {
			reason: "the name may be wrong",
			node:   "vk",
			level:  LevelFailed,
			found:  "there is no node vk",
			fix:    install("vk"),
		},
		"Other node": {
			reason: "a machine",
			node:   "vk",
			local:  []runtime.Object{&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "vk"}}},
			level:  LevelFailed,
			found:  "vk is not served by akd",
			fix:    "kubectl actual nodes",
		},
		"Broken configuration": {
			reason: "install writes it again",
			node:   "vk",
			local:  []runtime.Object{served("vk"), akd("vk"), configured("vk", "pods: nonsense\n")},
			level:  LevelFailed,
			found:  "ConfigMap actual-system/vk",
			fix:    install("vk"),
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := subject(tc.local, tc.remote)
			s.Node = Node{Name: tc.node}
			_, got := findNode(t.Context(), s)
			expect(t, tc.reason, got, tc.level, tc.found, tc.fix)
			if s.Node.Name != tc.node {
				t.Errorf("findNode changed the subject's node to %q", s.Node.Name)
			}
		})
	}
}

// What can be read back of an installation is what checks compare with.
func TestFindNodeReadsInstallation(t *testing.T) {
	t.Parallel()
	s := subject(
		[]runtime.Object{served("vk"), akd("vk"), configured("vk", `services: mirror
disruptionBudgets: mirror
limits: {unevictablePerBudget: 4}
pods: {podSecurity: restricted}
local: {apiServer: "192.0.2.1:6443"}
node: {hostname: vk.example.com}
kubeletAPI: {certificate: {signer: example.com/serving}}
namespaces: {networkPolicy: {enabled: true}}
`)},
		[]runtime.Object{configMap(contract.RecordName("vk"), "vk-shop", "shop")})
	s.Node = Node{Name: "vk"}
	node, finding := findNode(t.Context(), s)
	if finding.Level != LevelOK {
		t.Fatalf("got %+v", finding)
	}
	want := manifests.Values{
		Node:           "vk",
		ClusterUID:     "here",
		RunIn:          manifests.RunInLocal,
		PodSecurity:    "restricted",
		Hostname:       "vk.example.com",
		Signer:         "example.com/serving",
		MirrorServices: true,
		MirrorBudgets:  true,
		MaxUnevictable: 4,
		ServiceCIDRs:   []string{"192.0.2.0/24"},
		EndpointCIDRs:  []string{"198.51.100.0/24"},
		Limits:         manifests.Limits{NetworkPolicy: true},
	}
	if diff := cmp.Diff(want, node.Values); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{"vk-shop": "shop"}, node.Record); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
	if node.APIServer != "192.0.2.1:6443" {
		t.Errorf("the local API server is %q", node.APIServer)
	}
}
