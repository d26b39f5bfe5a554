package contract

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation"
)

func TestRemoteNamespace(t *testing.T) {
	cases := map[string]struct {
		reason          string
		node, namespace string
		want            string
	}{
		"Contract": {
			reason: "The name of a remote namespace is a contract: other programs compute it too.",
			node:   "vk-ak-example", namespace: "crossplane-system",
			want: "vk-ak-example-d05fe343c4951ecb",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := RemoteNamespace(tc.node, tc.namespace); got != tc.want {
				t.Errorf("%s\nRemoteNamespace(%q, %q) = %q, want %q", tc.reason, tc.node, tc.namespace, got, tc.want)
			}
		})
	}
}

// Anyone can compute a local name whose FNV hash is that of another one.
func TestRemoteNamespaces(t *testing.T) {
	const colliding = "amxpsqa5z0auv6qrv990pdew" // found in three seconds, on one core
	if RemoteNamespace("vk", colliding) != RemoteNamespace("vk", "default") {
		t.Fatal("the names no longer collide: the test has nothing to test")
	}
	first, second := RemoteNamespaces("vk", "default"), RemoteNamespaces("vk", colliding)
	if want := [...]string{"vk-dead4915c9c6c0d8", "vk-037a8eec1ce19687"}; first != want {
		t.Errorf("RemoteNamespaces(vk, default) = %q, want %q: the names are a contract", first, want)
	}
	if first[0] != second[0] || first[1] == second[1] {
		t.Errorf("default can be at %q, %s at %q: want the second ones to differ", first, colliding, second)
	}
}

func FuzzRemoteNamespaces(f *testing.F) {
	f.Add("vk-ak-example", "crossplane-system", "default")
	f.Add(strings.Repeat("n", MaxNodeName), "amxpsqa5z0auv6qrv990pdew", "default")
	f.Fuzz(func(t *testing.T, node, namespace, other string) {
		if CheckNodeName(node) != nil {
			t.Skip()
		}
		names := RemoteNamespaces(node, namespace)
		for _, name := range names {
			if problems := validation.IsDNS1123Label(name); len(problems) > 0 {
				t.Errorf("%q is no name of a namespace: %v", name, problems)
			}
			if hash, ok := strings.CutPrefix(name, node+"-"); !ok || strings.Trim(hash, "0123456789abcdef") != "" {
				t.Errorf("%q is not the name of node %s and a hash", name, node)
			}
			if !IsRemoteNamespace(name, node, namespace) {
				t.Errorf("%q of node %q and namespace %q is not recognized", name, node, namespace)
			}
		}
		if names[0] != RemoteNamespace(node, namespace) || names[1] == RemoteNamespace(node, other) || names[0] == names[1] {
			t.Errorf("%q: want the first to be the contract's, and the second to be nobody's first", names)
		}
		if other != namespace && names[1] == RemoteNamespaces(node, other)[1] {
			t.Errorf("%q and %q share %q", namespace, other, names[1])
		}
	})
}

func TestCheckNodeName(t *testing.T) {
	cases := map[string]struct {
		reason string
		node   string
		wants  string // substring of the error; "" means no error
	}{
		"Longest": {reason: "With 46 characters a namespace has 63.", node: strings.Repeat("n", 46)},
		"TooLong": {reason: "With 47 a namespace would have 64.", node: strings.Repeat("n", 47), wants: "at most 46"},
		"Dots":    {reason: "A namespace is one DNS label.", node: "a.b", wants: "DNS label"},
		"Empty":   {reason: "A node has a name.", node: "", wants: "DNS label"},
		"Default": {
			reason: "Every namespace has a ServiceAccount default, which akd would be.",
			node:   "default",
			wants:  "reserved",
		},
		"Tenant": {
			reason: "Its ClusterRole would be actual.vk:tenant, which all tenants have.",
			node:   "tenant",
			wants:  "reserved",
		},
		"TenantServices": {reason: "Likewise.", node: "tenant-services", wants: "reserved"},
		"TenantBudgets":  {reason: "Likewise.", node: "tenant-budgets", wants: "reserved"},
		"TenantStorage":  {reason: "Likewise.", node: "tenant-storage", wants: "reserved"},
		"Tenants":        {reason: "There is no such object.", node: "tenants"},
		"Capitals":       {reason: "DNS labels are in lower case.", node: "Node", wants: "DNS label"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			err := CheckNodeName(tc.node)
			if (err == nil) != (tc.wants == "") || err != nil && !strings.Contains(err.Error(), tc.wants) {
				t.Errorf("%s\nCheckNodeName(%q) = %v, want an error with %q", tc.reason, tc.node, err, tc.wants)
			}
		})
	}
}

func TestReservedName(t *testing.T) {
	cases := map[string]struct{ reason, local, want string }{
		"RootCA": {reason: "a name of the contract", local: RootCAConfigMap, want: "actual-vk-kube-root-ca.crt"},
		"Other":  {reason: "likewise", local: "istio-ca-root-cert", want: "actual-vk-istio-ca-root-cert"},
		"Token":  {reason: "the Secret of a pod may have that name", local: "token-93104c7e", want: ""},
		"Long":   {reason: "no name has more than 253 characters", local: strings.Repeat("a", 250), want: ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := ReservedName(tc.local)
			if got != tc.want {
				t.Errorf("%s: ReservedName(%q) = %q, want %q", tc.reason, tc.local, got, tc.want)
			}
			if got != "" && LocalName(got) != tc.local {
				t.Errorf("LocalName(%q) = %q, want %q", got, LocalName(got), tc.local)
			}
		})
	}
	for _, remote := range []string{"settings", TokenSecretName("93104c7e")} {
		if got := LocalName(remote); got != remote {
			t.Errorf("LocalName(%q) = %q, want it as it is", remote, got)
		}
	}
}
