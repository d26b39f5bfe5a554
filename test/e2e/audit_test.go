//go:build e2e

package e2e

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/test/attacks"
	"github.com/actual-kubelets/actual-kubelets/test/e2e/audit"
)

// lists is the folder with the lists of rights.
const lists = "testdata/rights/"

// A tenant's credential has the rights that the lists contain, and no others:
// in its own namespaces, in another tenant's, and in the system's.
func TestAuditRemote(t *testing.T) {
	e := shared
	everything := e.MirroringValues("audited-all")
	everything.ReadNodes, everything.ReadMetrics, everything.MirrorBudgets = true, true, true
	everything.Storage = manifests.Storage{Enabled: true, Classes: []string{attacks.StorageClass}}
	everything.Limits = manifests.Limits{ResourceQuota: true, LimitRange: true, NetworkPolicy: true}
	cases := map[string]struct {
		values manifests.Values
		roles  []string
		lists  []string
	}{
		"as installed": {values: manifests.Values{Node: "audited"}, lists: []string{lists + "remote.txt"}},
		"with every option": {
			values: everything,
			roles:  []string{contract.TenantMetricsRole, contract.TenantServicesRole, contract.TenantBudgetsRole, contract.TenantStorageRole},
			lists:  []string{lists + "remote.txt", lists + "remote-options.txt"},
		},
		"akd runs in the remote cluster": {
			values: manifests.Values{Node: "audited-home", RunIn: manifests.RunInRemote, Image: "akd:audited"},
			lists:  []string{lists + "remote.txt", lists + "remote-home.txt"},
		},
	}
	foreign := e.InstallTenant(t, manifests.Values{Node: "audited-b"}).Settle(t, "home")
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			tn := e.InstallTenant(t, tc.values)
			own := tn.Settle(t, "home", tc.roles...)
			audit.Run(t, audit.Credential{
				Config: tn.Config,
				Admin:  e.Remote,
				Listed: audit.Read(t, tn.Node, tc.lists...),
				Places: map[string][]string{
					own:                      {"own"},
					foreign:                  nil,
					contract.SystemNamespace: {"system"},
					"kube-system":            nil,
					"kube-public":            nil,
					"kube-node-lease":        nil,
					"default":                nil,
				},
			})
		})
	}
}

// akd's own local credential has the rights that the lists contain, and no
// others.
func TestAuditLocal(t *testing.T) {
	e := shared
	cases := map[string]struct {
		values manifests.Values
		lists  []string
	}{
		"as installed": {manifests.Values{Node: "audited-here"}, []string{lists + "local.txt", lists + "local-here.txt"}},
		"akd runs in the remote cluster": {
			manifests.Values{Node: "audited-away", RunIn: manifests.RunInRemote},
			[]string{lists + "local.txt", lists + "local-away.txt"},
		},
		"with mirrored Services": {
			e.MirroringValues("audited-services"),
			[]string{lists + "local.txt", lists + "local-here.txt", lists + "local-services.txt"},
		},
		"with mirrored PodDisruptionBudgets": {
			manifests.Values{Node: "audited-budgets", MirrorBudgets: true},
			[]string{lists + "local.txt", lists + "local-here.txt", lists + "local-budgets.txt"},
		},
		"with storage": {
			manifests.Values{Node: "audited-storage", Storage: manifests.Storage{Enabled: true, Classes: []string{attacks.StorageClass}}},
			[]string{lists + "local.txt", lists + "local-here.txt", lists + "local-storage.txt"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			node := e.InstallNode(t, tc.values, time.Hour)
			namespace := e.Namespace(t, "audited")
			audit.Run(t, audit.Credential{
				Config: node.Config,
				Admin:  e.Local,
				Listed: audit.Read(t, node.Name, tc.lists...),
				Places: map[string][]string{
					contract.SystemNamespace: {"system"},
					metav1.NamespaceSystem:   {"kube-system"},
					namespace:                nil,
				},
			})
		})
	}
}
