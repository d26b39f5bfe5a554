//go:build e2e

package e2e

import (
	"testing"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/test/e2e/audit"
)

// The credential of a tenant may do what the lists say, and nothing else: in
// its own namespaces, in another tenant's, in the system's.
func TestAuditRemote(t *testing.T) {
	e := shared
	everything := e.MirroringValues("audited-all")
	everything.ReadNodes, everything.ReadMetrics = true, true
	everything.Limits = manifests.Limits{ResourceQuota: true, LimitRange: true, NetworkPolicy: true}
	cases := map[string]struct {
		values manifests.Values
		roles  []string
		lists  []string
	}{
		"as installed": {values: manifests.Values{Node: "audited"}, lists: []string{"testdata/rights/remote.txt"}},
		"with every option": {
			values: everything,
			roles:  []string{contract.TenantMetricsRole, contract.TenantServicesRole},
			lists:  []string{"testdata/rights/remote.txt", "testdata/rights/remote-options.txt"},
		},
		"akd runs here": {
			values: manifests.Values{Node: "audited-home", RunIn: manifests.RunInRemote, Image: "akd:audited"},
			lists:  []string{"testdata/rights/remote.txt", "testdata/rights/remote-home.txt"},
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
