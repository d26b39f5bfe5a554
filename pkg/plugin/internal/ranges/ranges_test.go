package ranges

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
)

func serviceCIDR(name, node string, cidrs ...string) *networkingv1.ServiceCIDR {
	object := &networkingv1.ServiceCIDR{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: networkingv1.ServiceCIDRSpec{CIDRs: cidrs}}
	if node != "" {
		object.Labels = map[string]string{"actual.vk/node-name": node}
		object.Status.Conditions = []metav1.Condition{{Type: networkingv1.ServiceCIDRConditionReady, Status: metav1.ConditionTrue}}
	}
	return object
}

// clusterUID is that of the local cluster.
const clusterUID = "local-uid"

func ofCluster(object *networkingv1.ServiceCIDR) *networkingv1.ServiceCIDR {
	object.Labels[contract.LabelClusterUID] = clusterUID
	return object
}

func nodeWith(name, address string, podCIDRs ...string) *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.NodeSpec{PodCIDRs: podCIDRs},
		Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{{
			Type:    corev1.NodeInternalIP,
			Address: address,
		}, {Type: corev1.NodeHostName, Address: name}}},
	}
}

func podAt(name, address string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: name},
		Status:     corev1.PodStatus{Phase: corev1.PodRunning, PodIP: address},
	}
}

func serviceAt(name string, addresses ...string) *corev1.Service {
	return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}, Spec: corev1.ServiceSpec{ClusterIPs: addresses}}
}

// apiServerSlice is where the local API servers say they are.
func apiServerSlice(addresses ...string) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "default",
			Name:      "kubernetes",
			Labels:    map[string]string{discoveryv1.LabelServiceName: "kubernetes"},
		},
		Endpoints: []discoveryv1.Endpoint{{Addresses: addresses}},
		Ports:     []discoveryv1.EndpointPort{{Name: new("https"), Port: new(int32(6443))}},
	}
}

func kubeadmConfig(podSubnet string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "kubeadm-config"},
		Data:       map[string]string{"ClusterConfiguration": "networking:\n  podSubnet: " + podSubnet + "\n"},
	}
}

// side is a cluster of these objects.
func side(name kubeclient.Side, lacksRanges bool, objects ...runtime.Object) *kubeclient.Cluster {
	client := fake.NewClientset(objects...)
	if lacksRanges {
		client.PrependReactor("list", "servicecidrs", func(clienttesting.Action) (bool, runtime.Object, error) {
			return true, nil, apierrors.NewNotFound(schema.GroupResource{Resource: "servicecidrs"}, "")
		})
	}
	return &kubeclient.Cluster{Side: name, Client: client, Version: "v1.32.0"}
}

func TestFind(t *testing.T) {
	local := func(more ...runtime.Object) []runtime.Object {
		return append(more,
			serviceCIDR("kubernetes", "", "10.96.0.0/16"),
			nodeWith("local-1", "192.0.2.11", "10.244.0.0/24"),
			apiServerSlice("192.0.2.10"),
			podAt("dns", "10.244.0.2"),
		)
	}
	remote := func(more ...runtime.Object) []runtime.Object {
		return append(more,
			serviceCIDR("kubernetes", "", "10.97.0.0/16"),
			nodeWith("remote-1", "198.51.100.11", "10.245.0.0/24"),
			podAt("dns", "10.245.0.2"),
		)
	}
	type summary struct {
		Local, Pods, Servers, Missing            []string
		Object                                   string
		Ready                                    bool
		Unsupported, Overlap, Unknown, Colliding string // parts of them

		Mirror string
	}
	free := summary{
		Local:   []string{"10.96.0.0/16"},
		Pods:    []string{"10.244.0.0/24", "10.245.0.0/24"},
		Servers: []string{"192.0.2.10/32"},
		Missing: []string{"10.96.0.0/16"},
	}
	with := func(change func(*summary)) summary {
		s := free
		change(&s)
		return s
	}
	cases := map[string]struct {
		reason        string
		local, remote []runtime.Object
		oldLocal      bool
		oldRemote     bool
		given         []string
		want          summary
	}{
		"free": {reason: "nothing is in the way", local: local(), remote: remote(), want: free},
		"installed": {
			reason: "a node's own range is not in its way", local: local(), remote: remote(serviceCIDR("services.a.actual.vk", "a", "10.96.0.0/16")),
			want: with(func(s *summary) { s.Object, s.Ready, s.Missing = "services.a.actual.vk", true, nil }),
		},
		"old remote": {
			reason:    "before 1.33 there are no such objects",
			local:     local(),
			remote:    remote(),
			oldRemote: true,
			want:      summary{Unsupported: "v1.32.0 has no ServiceCIDR objects, which Kubernetes has since 1.33: upgrade the remote cluster"},
		},
		"old local": {
			reason:   "somebody has to say the range",
			local:    local(),
			remote:   remote(),
			oldLocal: true,
			want:     summary{Unsupported: "give it with --service-cidr"},
		},
		"old local, given": {
			reason:   "then it is known",
			local:    local(),
			remote:   remote(),
			oldLocal: true,
			given:    []string{"10.96.0.0/16"},
			want:     free,
		},
		"two stacks": {
			reason: "every range counts",
			remote: remote(),
			local: []runtime.Object{
				serviceCIDR("kubernetes", "", "10.96.0.0/16", "fd96::/112"),
				nodeWith("local-1", "192.0.2.11", "10.244.0.0/24", "fd44::/64"),
				apiServerSlice("192.0.2.10"),
			},
			want: with(func(s *summary) {
				s.Local, s.Missing = []string{"10.96.0.0/16", "fd96::/112"}, []string{"10.96.0.0/16", "fd96::/112"}
				s.Pods = []string{"10.244.0.0/24", "10.245.0.0/24", "fd44::/64"}
			}),
		},
		"kubeadm": {
			reason: "its record holds for nodes that come later",
			local:  local(kubeadmConfig("10.244.0.0/16")),
			remote: remote(kubeadmConfig("10.245.0.0/16,fd45::/48")),
			want:   with(func(s *summary) { s.Pods = []string{"10.244.0.0/15", "fd45::/48"} }),
		},
		"same range": {
			reason: "an address cannot mean two things",
			local:  local(),
			remote: remote(serviceCIDR("more", "", "10.96.128.0/24")),
			want: with(func(s *summary) {
				s.Overlap = "service range 10.96.0.0/16 overlaps the remote cluster's own, 10.96.128.0/24 (ServiceCIDR more): " +
					"create one of the clusters with another --service-cluster-ip-range"
			}),
		},
		"another node": {
			reason: "two local clusters with the same range cannot both mirror",
			local:  local(),
			remote: remote(serviceCIDR("services.b.actual.vk", "b", "10.96.0.0/16")),
			want: with(func(s *summary) {
				s.Overlap = "node b already mirrors services with addresses in 10.96.0.0/16 (ServiceCIDR services.b.actual.vk)"
			}),
		},
		"another node of the cluster": {
			reason: "its copies serve this one, too",
			local:  local(),
			remote: remote(ofCluster(serviceCIDR("services.b.actual.vk", "b", "10.96.0.0/16"))),
			want: with(func(s *summary) {
				s.Mirror = "b"
				s.Overlap = "node b of this local cluster already mirrors services with addresses in 10.96.0.0/16 " +
					"(ServiceCIDR services.b.actual.vk): install with --services=shared"
			}),
		},
		"another node with half of it": {
			reason: "the rest of the Services would be missing",
			local:  local(),
			remote: remote(ofCluster(serviceCIDR("services.b.actual.vk", "b", "10.96.0.0/17"))),
			want:   with(func(s *summary) { s.Overlap = "node b already mirrors services with addresses in 10.96.0.0/17" }),
		},
		"pods": {
			reason: "a pod's address would be taken",
			local:  local(),
			remote: []runtime.Object{nodeWith("remote-1", "198.51.100.11", "10.96.5.0/24")},
			want: with(func(s *summary) {
				s.Overlap, s.Pods = "overlaps the remote cluster's pod ranges 10.96.5.0/24", []string{"10.244.0.0/24", "10.96.5.0/24"}
			}),
		},
		"a node": {
			reason: "likewise a node's", local: local(), remote: remote(nodeWith("remote-2", "10.96.1.1", "10.245.1.0/24")),
			want: with(func(s *summary) {
				s.Overlap, s.Pods = "has the address of a remote one (node remote-2, 10.96.1.1)", []string{"10.244.0.0/24", "10.245.0.0/23"}
			}),
		},
		"no pod ranges": {
			reason: "some networks do without", local: local(), remote: []runtime.Object{nodeWith("remote-1", "198.51.100.11")},
			want: with(func(s *summary) {
				s.Unknown, s.Pods = "the remote cluster's nodes do not publish their pods' ranges: give the ranges", []string{"10.244.0.0/24"}
			}),
		},
		"other pod ranges": {
			reason: "some networks go by their own", local: local(podAt("stray", "10.1.2.3")), remote: remote(),
			want: with(func(s *summary) {
				s.Unknown = "a pod of the local cluster (pod kube-system/stray, 10.1.2.3) is outside the ranges that its nodes publish, 10.244.0.0/24"
			}),
		},
		"colliding": {
			reason: "Kubernetes gives new Services addresses of any range", local: local(),
			remote: remote(serviceAt("theirs", "10.96.7.7"), serviceAt("other", "10.97.7.7"), serviceAt("headless", "None")),
			want:   with(func(s *summary) { s.Colliding = "default/theirs" }),
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			given, err := Parse(tc.given)
			if err != nil {
				t.Fatal(err)
			}
			both := kubeclient.Clusters{
				Local:  side(kubeclient.Local, tc.oldLocal, tc.local...),
				Remote: side(kubeclient.Remote, tc.oldRemote, tc.remote...),
			}
			both.Local.UID = clusterUID
			found, err := Find(t.Context(), both, "a", given)
			if err != nil {
				t.Fatal(err)
			}
			got := summary{
				Local:       Strings(found.Local),
				Pods:        Strings(found.Pods),
				Servers:     Strings(found.Servers),
				Missing:     Strings(found.Missing),
				Object:      found.Object,
				Mirror:      found.Mirror,
				Ready:       found.Ready,
				Unsupported: part(found.Unsupported, tc.want.Unsupported),
				Overlap:     part(found.Overlap, tc.want.Overlap),
				Unknown:     part(found.PodsUnknown, tc.want.Unknown),
				Colliding:   strings.Join(found.Colliding, ","),
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// part is the wanted part of a problem, or all of it when that lacks it.
func part(problem Problem, want string) string {
	text := strings.TrimPrefix(problem.What+": "+problem.Fix, ": ")
	if want != "" && strings.Contains(text, want) {
		return want
	}
	return text
}

// A cluster of two hundred nodes must not become two hundred ranges, and no
// address must come in that is nobody's.
func TestMerged(t *testing.T) {
	var nodes []string
	for i := range 200 {
		nodes = append(nodes, fmt.Sprintf("10.244.%d.0/24", (i*7)%200))
	}
	cases := map[string]struct {
		reason string
		given  []string
		want   []string
	}{
		"none":   {reason: "nothing is nothing"},
		"halves": {reason: "two halves are a whole", given: []string{"10.244.1.0/24", "10.244.0.0/24"}, want: []string{"10.244.0.0/23"}},
		"beside": {
			reason: "neighbours of different wholes stay",
			given:  []string{"10.244.1.0/24", "10.244.2.0/24"},
			want:   []string{"10.244.1.0/24", "10.244.2.0/24"},
		},
		"inside": {
			reason: "a part adds nothing",
			given:  []string{"10.244.0.0/16", "10.244.3.0/24", "10.244.0.0/16"},
			want:   []string{"10.244.0.0/16"},
		},
		"upwards": {
			reason: "wholes can be halves",
			given:  []string{"10.0.0.0/10", "10.64.0.0/10", "10.128.0.0/9"},
			want:   []string{"10.0.0.0/8"},
		},
		"families": {reason: "they share no whole", given: []string{"0.0.0.0/0", "::/0"}, want: []string{"0.0.0.0/0", "::/0"}},
		"nodes":    {reason: "many nodes, few ranges", given: nodes, want: []string{"10.244.0.0/17", "10.244.128.0/18", "10.244.192.0/21"}},
		"IPv6": {
			reason: "likewise",
			given:  []string{"fd44:0:0:1::/64", "fd44::/64", "fd44:0:0:2::/64"},
			want:   []string{"fd44:0:0:2::/64", "fd44::/63"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			given, err := Parse(tc.given)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, Strings(merged(given))); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// Ranges of the two families never meet.
func TestOverlap(t *testing.T) {
	cases := map[string]struct {
		reason string
		a, b   string
		want   bool
	}{
		"inside":   {reason: "a part is enough", a: "10.96.0.0/12", b: "10.97.0.0/16", want: true},
		"around":   {reason: "either way", a: "10.97.0.0/16", b: "10.96.0.0/12", want: true},
		"beside":   {reason: "neighbours share nothing", a: "10.96.0.0/16", b: "10.97.0.0/16"},
		"families": {reason: "they share no address", a: "::/0", b: "10.96.0.0/16"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := overlaps(netip.MustParsePrefix(tc.a), []netip.Prefix{netip.MustParsePrefix(tc.b)}); got != tc.want {
				t.Errorf("%s: %v", tc.reason, got)
			}
		})
	}
}
