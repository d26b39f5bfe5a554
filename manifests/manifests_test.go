package manifests_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

var update = flag.Bool("update", false, "write what came out into testdata; then read the difference")

// cluster is the UID of a local cluster.
const cluster = "5f3c9a52-7a4e-4d4b-9d0c-3f1a5f0a8a11"

// What is installed is read by those who have to allow it: each change shows.
func TestGolden(t *testing.T) {
	akd := manifests.Values{
		Node: "vk-ak-example", ClusterUID: cluster, Image: "example.com/akd:v1", Config: "apiVersion: actual.vk/v1alpha1\n",
	}
	replicas := akd
	replicas.Replicas, replicas.MirrorServices, replicas.MirrorBudgets = 2, true, true
	storage := akd
	storage.Storage = manifests.Storage{
		Enabled: true,
		Classes: []string{"standard-rwo", "fast"},
		Local: []manifests.StorageClass{
			{Name: "standard", Remote: "standard-rwo", Default: true, AllowVolumeExpansion: true},
			{Name: "vk-ak-example-fast", Remote: "fast", ReclaimPolicy: corev1.PersistentVolumeReclaimRetain},
		},
	}
	approver := akd
	approver.ApproveCertificates, approver.Hostname, approver.Signer = true, "vk.example.com", "example.com/serving"
	there := akd
	there.RunIn = manifests.RunInRemote
	cases := map[string]struct {
		reason string
		values manifests.Values
	}{
		"local":             {reason: "akd runs in the local cluster", values: akd},
		"local-replicas":    {reason: "two akds, one of which waits", values: replicas},
		"local-approver":    {reason: "akd's certificate needs no person", values: approver},
		"local-storage":     {reason: "claims have volumes in the remote cluster", values: storage},
		"local-identity":    {reason: "akd runs in the remote cluster", values: there},
		"remote-akd":        {reason: "likewise, as the remote cluster sees it", values: there},
		"remote":            {reason: "the defaults: nothing optional", values: manifests.Values{Node: "vk-ak-example", ClusterUID: cluster}},
		"remote-everything": {reason: "every switch is on", values: everything("vk-ak-example")},
		"remote-unconfined": {
			reason: "a cluster without admission policies",
			values: manifests.Values{Node: "vk-ak-example", ClusterUID: cluster, Unconfined: true},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			side := manifests.Remote
			if strings.HasPrefix(name, "local") {
				side = manifests.Local
			}
			objects, err := side(tc.values)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, filepath.Join("testdata", name+".yaml"), objects)
		})
	}
}

func everything(node string) manifests.Values {
	return manifests.Values{
		Node:           node,
		ClusterUID:     cluster,
		PodSecurity:    "restricted",
		ReadNodes:      true,
		ReadMetrics:    true,
		MirrorServices: true,
		MirrorBudgets:  true,
		MaxUnevictable: 5,
		Storage:        manifests.Storage{Enabled: true, Classes: []string{"standard-rwo", "fast"}},
		ServiceCIDRs:   []string{"10.96.0.0/16", "fd96::/112"},
		EndpointCIDRs:  []string{"10.245.0.0/16", "10.244.0.0/16", "fd44::/48", "192.0.2.10/32"},
		Limits:         manifests.Limits{ResourceQuota: true, LimitRange: true, NetworkPolicy: true},
		NamespaceMetadata: manifests.NamespaceMetadata{
			Labels:      map[string]string{"team": "payments", "example.com/stage": "test"},
			Annotations: map[string]string{"example.com/contact": "a, b", "example.com/project": "p1"},
			Allowed:     []string{"istio.io/*", "field.cattle.io/projectId"},
		},
	}
}

func golden(t *testing.T, path string, objects []*unstructured.Unstructured) {
	t.Helper()
	var got bytes.Buffer
	for _, object := range objects {
		content, err := yaml.Marshal(object.Object)
		if err != nil {
			t.Fatal(err)
		}
		got.WriteString("---\n")
		got.Write(content)
	}
	if *update {
		if err := os.WriteFile(path, got.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("(-want +got; -update writes it):\n%s", diff)
	}
}

// What is shared by nodes must not carry a node's label: it would go with that
// node, and the namespace actual-system would look like a tenant's.
func TestRemoteLabels(t *testing.T) {
	objects, err := manifests.Remote(everything("a"))
	if err != nil {
		t.Fatal(err)
	}
	var shared []string
	for _, object := range objects {
		labels := object.GetLabels()
		if labels["app.kubernetes.io/managed-by"] != "kubectl-actual" || labels["app.kubernetes.io/part-of"] != "actual-kubelets" {
			t.Errorf("%s %s has labels %v", object.GetKind(), object.GetName(), labels)
		}
		switch labels["actual.vk/node-name"] {
		case "a":
			if labels["actual.vk/cluster-uid"] != cluster {
				t.Errorf("%s %s does not say which local cluster's it is: %v", object.GetKind(), object.GetName(), labels)
			}
		case "":
			shared = append(shared, object.GetKind()+" "+object.GetName())
		default:
			t.Errorf("%s %s is of node %s", object.GetKind(), object.GetName(), labels["actual.vk/node-name"])
		}
	}
	want := []string{
		"Namespace actual-system",
		"ClusterRole actual.vk:tenant",
		"ClusterRole actual.vk:tenant-metrics",
		"ClusterRole actual.vk:tenant-services",
		"ClusterRole actual.vk:tenant-budgets",
		"ClusterRole actual.vk:tenant-storage",
	}
	for _, policy := range []string{"namespaces", "rolebindings", "tokens", "objects"} {
		want = append(want, "ValidatingAdmissionPolicy "+policy+".actual.vk", "ValidatingAdmissionPolicyBinding "+policy+".actual.vk")
	}
	for _, policy := range []string{"settings", "pods", "services", "endpointslices", "budgets", "claims"} {
		want = append(want, "ValidatingAdmissionPolicy "+policy+".actual.vk")
	}
	if diff := cmp.Diff(want, shared); diff != "" {
		t.Errorf("shared (-want +got):\n%s", diff)
	}
	if objects[0].GetKind() != "Namespace" {
		t.Errorf("the first object is a %s", objects[0].GetKind())
	}
	index := func(kind string) int {
		return slices.IndexFunc(objects, func(o *unstructured.Unstructured) bool { return o.GetKind() == kind })
	}
	if index("ValidatingAdmissionPolicyBinding") > index("ClusterRoleBinding") {
		t.Error("rights come before the policy that confines them")
	}
}

// What all nodes share in the local cluster has no label of a node, and policies come
// before the rights that they confine.
func TestLocalStorage(t *testing.T) {
	storage := manifests.Storage{Enabled: true, Classes: []string{"a"}, Local: []manifests.StorageClass{{Name: "a", Remote: "a"}}}
	objects, err := manifests.Local(storing(storage))
	if err != nil {
		t.Fatal(err)
	}
	var shared []string
	for _, object := range objects {
		if object.GetLabels()["actual.vk/node-name"] == "" {
			shared = append(shared, object.GetKind()+" "+object.GetName())
		}
	}
	want := []string{"Namespace actual-system"}
	for _, policy := range []string{contract.PolicyVolumes, contract.PolicyClaimStatus} {
		want = append(want, "ValidatingAdmissionPolicy "+policy, "ValidatingAdmissionPolicyBinding "+policy)
	}
	want = append(want, "CSIDriver "+contract.StorageDriver)
	if diff := cmp.Diff(want, shared); diff != "" {
		t.Errorf("shared (-want +got):\n%s", diff)
	}
	last := slices.IndexFunc(objects, func(o *unstructured.Unstructured) bool { return o.GetName() == contract.StorageDriver })
	if first := slices.IndexFunc(objects, func(o *unstructured.Unstructured) bool { return o.GetKind() == "ClusterRole" }); first < last {
		t.Error("rights come before the policies that confine them")
	}
}

func TestBadValues(t *testing.T) {
	cases := map[string]struct {
		reason string
		values manifests.Values
		want   string
	}{
		"no node": {reason: "everything is named after it", values: manifests.Values{ClusterUID: cluster}, want: "DNS label"},
		"no local cluster": {
			reason: "nobody would know whose it is",
			values: manifests.Values{Node: "a"},
			want:   "the local cluster's UID is missing",
		},
		"bad local cluster": {
			reason: "it becomes a label",
			values: manifests.Values{Node: "a", ClusterUID: "a\nb"},
			want:   `the local cluster's UID "a\nb"`,
		},
		"bad node": {
			reason: "a name must not become YAML", values: manifests.Values{ClusterUID: cluster, Node: "a\"\nkind: Pod"}, want: "DNS label",
		},
		"dotted node": {
			reason: "a dot would let its record be another's object",
			values: manifests.Values{ClusterUID: cluster, Node: "a.namespaces"},
			want:   "DNS label",
		},
		"long node": {
			reason: "remote namespaces need room for a hash",
			values: manifests.Values{ClusterUID: cluster, Node: strings.Repeat("a", 47)},
			want:   "47 characters",
		},
		"bad level": {
			reason: "an unknown level would allow nothing",
			values: manifests.Values{ClusterUID: cluster, Node: "a", PodSecurity: "none"},
			want:   "privileged, baseline, restricted",
		},
		"approver elsewhere": {
			reason: "the remote administrator would have its credential",
			values: manifests.Values{ClusterUID: cluster, Node: "a", RunIn: manifests.RunInRemote, ApproveCertificates: true},
			want:   "must run in the local cluster",
		},
		"bad cluster": {
			reason: "there are two", values: manifests.Values{ClusterUID: cluster, Node: "a", RunIn: "both"}, want: "local or remote",
		},
		"no range": {reason: "any address could be taken", values: mirroring(nil, "10.244.0.0/16"), want: "range of service addresses"},
		"no endpoints": {
			reason: "copies could lead anywhere, or nowhere",
			values: mirroring([]string{"10.96.0.0/16"}),
			want:   "ranges of pod addresses",
		},
		"bad range": {
			reason: "CEL would refuse everything",
			values: mirroring([]string{"10.96.0.0"}, "10.244.0.0/16"),
			want:   "such as 10.96.0.0/16",
		},
		"bad endpoint": {
			reason: "a name leads anywhere",
			values: mirroring([]string{"10.96.0.0/16"}, "example.com"),
			want:   "endpoint range \"example.com\"",
		},
		"loose range": {
			reason: "which of both is meant is not known",
			values: mirroring([]string{"10.96.0.1/16"}, "10.244.0.0/16"),
			want:   "did you mean 10.96.0.0/16?",
		},
		"mapped range": {
			reason: "CEL knows no such addresses",
			values: mirroring([]string{"::ffff:10.96.0.0/112"}, "10.244.0.0/16"),
			want:   "as one of IPv4",
		},
		"bad memory limit": {
			reason: "akd would not start", values: manifests.Values{ClusterUID: cluster, Node: "a", MemoryLimit: "much"}, want: "such as 1Gi",
		},
		"small memory limit": {
			reason: "akd would be killed at its start",
			values: manifests.Values{ClusterUID: cluster, Node: "a", MemoryLimit: "100M"},
			want:   "128Mi or more",
		},
		"part of a byte": {
			reason: "Go reads whole bytes",
			values: manifests.Values{ClusterUID: cluster, Node: "a", MemoryLimit: "1500000000500m"},
			want:   "such as 1Gi",
		},
		"bad volume": {
			reason: "such a claim is not the tenant's",
			values: manifests.Values{Node: "a", ClusterUID: cluster, Volumes: []string{"ephemeral"}},
			want:   "want csi/DRIVER, or one of",
		},
		"bad driver": {
			reason: "a comma would be another kind",
			values: manifests.Values{Node: "a", ClusterUID: cluster, Volumes: []string{"csi/a,b"}},
			want:   "CSI driver",
		},
		"any key":        {reason: "akd could label as it likes", values: allowing("*"), want: "the beginning of keys with their prefix"},
		"part of a name": {reason: "likewise", values: allowing("istio*"), want: "the beginning of keys with their prefix"},
		"star inside":    {reason: "the policies know prefixes only", values: allowing("example.com/*/x"), want: `key "example.com/*/x": want`},
		"two keys":       {reason: "the list has commas", values: allowing("a,b"), want: `key "a,b": want`},
		"no key":         {reason: "it would be lost", values: allowing(""), want: `key "": want`},
		"Pod Security": {
			reason: "an old version of a level is a weak one",
			values: allowing("example.com/ok", "pod-security.kubernetes.io/*"),
			want:   `key "pod-security.kubernetes.io/*": actual.vk, kubernetes.io and k8s.io are reserved`,
		},
		"key of AK": {reason: "whose is it?", values: allowing("actual.vk/node-name"), want: "are reserved"},
		"bad limit": {
			reason: "fewer than none", values: manifests.Values{ClusterUID: cluster, Node: "a", MaxUnevictable: -1}, want: "1 or more",
		},
		"no storage class": {
			reason: "no claim could be made", values: storing(manifests.Storage{Enabled: true}), want: "needs a StorageClass of the remote",
		},
		"bad storage class": {
			reason: "the list has commas",
			values: storing(manifests.Storage{Enabled: true, Classes: []string{"a,b"}}),
			want:   `storage class "a,b"`,
		},
		"foreign storage class": {
			reason: "claims of it would wait for ever",
			values: storing(manifests.Storage{
				Enabled: true, Classes: []string{"a"}, Local: []manifests.StorageClass{{Name: "b", Remote: "b"}},
			}),
			want: `its remote class "b" is not one of a`,
		},
		"unconfined storage": {
			reason: "every free volume could be taken",
			values: manifests.Values{
				Node: "a", ClusterUID: cluster, Unconfined: true, Storage: manifests.Storage{Enabled: true, Classes: []string{"a"}},
			},
			want: "storage needs the admission policies",
		},
		"bad replicas": {reason: "fewer than none", values: manifests.Values{ClusterUID: cluster, Node: "a", Replicas: -1}, want: "1 or more"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := manifests.Remote(tc.values)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: error %v, want one with %q", tc.reason, err, tc.want)
			}
		})
	}
}

func allowing(keys ...string) manifests.Values {
	return manifests.Values{Node: "a", ClusterUID: cluster, NamespaceMetadata: manifests.NamespaceMetadata{Allowed: keys}}
}

func storing(storage manifests.Storage) manifests.Values {
	return manifests.Values{Node: "a", ClusterUID: cluster, Storage: storage}
}

func mirroring(services []string, endpoints ...string) manifests.Values {
	return manifests.Values{Node: "a", ClusterUID: cluster, MirrorServices: true, ServiceCIDRs: services, EndpointCIDRs: endpoints}
}

// A ServiceCIDR object takes one range of each family: more are spread.
func TestServiceRanges(t *testing.T) {
	values := mirroring([]string{"fd96::/112", "10.96.0.0/16", "10.112.0.0/16", "10.96.0.0/16"}, "10.244.0.0/16")
	objects, err := manifests.Remote(values)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]string{}
	for _, object := range objects {
		if object.GetKind() == "ServiceCIDR" {
			got[object.GetName()], _, _ = unstructured.NestedStringSlice(object.Object, "spec", "cidrs")
		}
	}
	want := map[string][]string{"services.a.actual.vk": {"10.96.0.0/16", "fd96::/112"}, "services-2.a.actual.vk": {"10.112.0.0/16"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
