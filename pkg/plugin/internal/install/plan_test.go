package install

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/failure"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
)

// line is a step as a reader of a plan wants it: what is applied where.
func line(s step) string {
	text := s.name + " | " + string(s.action) + " " + string(s.side)
	var kinds []string
	for _, object := range s.objects {
		kinds = append(kinds, object.GetKind())
	}
	if len(kinds) > 0 {
		text += ": " + strings.Join(kinds, " ")
	}
	return text
}

func lines(steps []step) (texts []string) {
	for _, s := range steps {
		texts = append(texts, line(s))
	}
	return texts
}

func TestPlanInstall(t *testing.T) {
	const (
		localRights  = "Namespace ServiceAccount Lease Role RoleBinding RoleBinding ClusterRole ClusterRoleBinding"
		remoteTenant = "ConfigMap Role RoleBinding ClusterRole ClusterRoleBinding"
	)
	name := "node's name | claim name remote: Namespace ServiceAccount"
	remoteRights := "ClusterRole" +
		strings.Repeat(" ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding", 4) +
		" ValidatingAdmissionPolicy ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding ValidatingAdmissionPolicyBinding " + remoteTenant
	checks := []string{
		"akd runs | await akd local",
		"node is ready | await node local",
		"probe pod runs | probe node local",
	}
	cases := map[string]struct {
		reason  string
		values  manifests.Values
		chosen  choices
		changes []string
		checks  []string
	}{
		"Local": {
			reason: "rights come with their policies, the credential when these are in force, akd at last",
			values: manifests.Values{Node: "vk", ClusterUID: "here", Image: "akd"},
			chosen: choices{wait: true},
			changes: []string{
				name,
				"remote rights | apply remote: " + remoteRights,
				"local rights | apply local: " + localRights + " ConfigMap",
				"remote policies in force | await policies remote",
				"record of namespaces | seed record remote",
				"credential | store credential local",
				"local akd | apply local: Deployment",
			},
			checks: checks,
		},
		"Remote": {
			reason: "the sides change places; the node stays a local one",
			values: manifests.Values{Node: "vk", ClusterUID: "here", Image: "akd", RunIn: manifests.RunInRemote},
			chosen: choices{wait: true},
			changes: []string{
				name,
				"local rights | apply local: " + localRights,
				"remote rights | apply remote: " + remoteRights + " ConfigMap Role RoleBinding",
				"remote policies in force | await policies remote",
				"record of namespaces | seed record remote",
				"credential | store credential remote",
				"remote akd | apply remote: Deployment",
			},
			checks: []string{
				"akd runs | await akd remote",
				"node is ready | await node local",
				"probe pod runs | probe node local",
			},
		},
		"DryRun": {
			reason: "what is not stored is not in force, and nothing starts",
			values: manifests.Values{Node: "vk", ClusterUID: "here", Image: "akd"}, chosen: choices{wait: true, dryRun: true},
			changes: []string{
				"remote rights | apply remote: Namespace ServiceAccount " + remoteRights,
				"local rights | apply local: " + localRights + " ConfigMap",
				"local akd | apply local: Deployment",
			},
		},
		"NamespaceLabels": {
			reason: "namespaces that exist are not akd's to change",
			values: manifests.Values{
				Node:              "vk",
				ClusterUID:        "here",
				NamespaceMetadata: manifests.NamespaceMetadata{Labels: map[string]string{"team": "payments"}},
			},
			changes: []string{
				name,
				"remote rights | apply remote: " + remoteRights,
				"local rights | apply local: " + localRights,
				"remote policies in force | await policies remote",
				"record of namespaces | seed record remote",
				"labels and annotations of namespaces | mark namespaces remote",
				"credential | store credential local",
				"local akd | apply local",
			},
		},
		"TakeOver": {
			reason: "the other cluster's akd loses its credential before anything is applied for this one",
			values: manifests.Values{Node: "vk", ClusterUID: "here"},
			chosen: choices{takeOver: true},
			changes: []string{
				"take over | take over remote",
				name,
				"remote rights | apply remote: " + remoteRights,
				"local rights | apply local: " + localRights,
				"remote policies in force | await policies remote",
				"record of namespaces | seed record remote",
				"credential | store credential local",
				"local akd | apply local",
			},
		},
		"NoWait": {
			reason: "an unconfined akd has no policies to apply; replicas bring a budget",
			values: manifests.Values{Node: "vk", ClusterUID: "here", Image: "akd", Unconfined: true, Replicas: 2},
			changes: []string{
				name,
				"remote rights | apply remote: ClusterRole " + remoteTenant,
				"local rights | apply local: " + localRights + " ConfigMap",
				"remote policies in force | await policies remote",
				"record of namespaces | seed record remote",
				"credential | store credential local",
				"local akd | apply local: Deployment PodDisruptionBudget",
			},
		},
		"Approver": {
			reason: "its policy comes before its rights, and itself when all is there",
			values: manifests.Values{Node: "vk", ClusterUID: "here", Image: "akd", ApproveCertificates: true},
			chosen: choices{wait: true},
			changes: []string{
				name,
				"remote rights | apply remote: " + remoteRights,
				"local rights | apply local: " + localRights + " ServiceAccount ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding " +
					"Role RoleBinding ClusterRole ClusterRoleBinding ConfigMap",
				"remote policies in force | await policies remote",
				"record of namespaces | seed record remote",
				"credential | store credential local",
				"local akd | apply local: Deployment Deployment",
			},
			checks: append(slices.Clone(checks), "approver runs | await approver local"),
		},
		"Storage": {
			reason: "policies come before rights, and are in force before akd starts; classes are created, and not applied",
			values: manifests.Values{
				Node: "vk", ClusterUID: "here", Image: "akd",
				Storage: manifests.Storage{Enabled: true, Classes: []string{"a"}, Local: []manifests.StorageClass{{Name: "a", Remote: "a"}}},
			},
			changes: []string{
				name,
				"remote rights | apply remote: ClusterRole " + strings.Replace(remoteRights, remoteTenant,
					"ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding "+remoteTenant, 1),
				"local rights | apply local: Namespace ServiceAccount ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding " +
					"ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding CSIDriver" +
					strings.TrimPrefix(localRights, "Namespace ServiceAccount") + " ConfigMap",
				"remote policies in force | await policies remote",
				"record of namespaces | seed record remote",
				"local policies in force | await policies of volumes local",
				"credential | store credential local",
				"local storage classes | create classes local: StorageClass",
				"local akd | apply local: Deployment",
			},
		},
		"NoApprover": {
			reason: "what an earlier install has granted is taken back",
			values: manifests.Values{Node: "vk", ClusterUID: "here", Image: "akd"},
			chosen: choices{approver: true},
			changes: []string{
				name,
				"remote rights | apply remote: " + remoteRights,
				"local rights | apply local: " + localRights + " ConfigMap",
				"remote policies in force | await policies remote",
				"record of namespaces | seed record remote",
				"credential | store credential local",
				"local akd | apply local: Deployment",
				"no approver of certificates | remove approver local",
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			plan, err := planInstall(tc.values, nil, tc.chosen)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.changes, lines(plan.changes)); diff != "" {
				t.Errorf("%s: changes (-want +got):\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(tc.checks, lines(plan.checks)); diff != "" {
				t.Errorf("%s: checks (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
	if _, err := planInstall(manifests.Values{Node: "Not_A_Node"}, nil, choices{}); !failure.IsUsage(err) {
		t.Errorf("a bad value: error %v, want one of usage", err)
	}
}

func TestPlanUninstall(t *testing.T) {
	kinds := []schema.GroupKind{{Kind: "Secret"}, {Kind: "Widget", Group: "example.com"}}
	cases := map[string]struct {
		reason   string
		recorded map[kubeclient.Side][]schema.GroupKind
		running  []string
		force    bool
		want     []string
		refused  string
	}{
		"Both": {
			reason:   "akd first, the node when its pods cannot come back, each side's record counts",
			recorded: map[kubeclient.Side][]schema.GroupKind{kubeclient.Local: kinds, kubeclient.Remote: kinds[:1]},
			want: []string{
				"local akd | stop akd local",
				"remote akd | stop akd remote",
				"remote rights and tokens | revoke rights remote",
				"remote pods and their namespaces | remove namespaces remote",
				"remote objects | remove objects remote: Secret",
				"remote service range | await ranges remote",
				"local node | remove node local",
				"local storage | remove storage local",
				"local objects | remove objects local: Secret Widget",
			},
		},
		"KeepRemote": {
			reason:   "what is not reached has no steps",
			recorded: map[kubeclient.Side][]schema.GroupKind{kubeclient.Local: kinds},
			want: []string{
				"local akd | stop akd local",
				"local node | remove node local",
				"local storage | remove storage local",
				"local objects | remove objects local: Secret Widget",
			},
		},
		"LocalGone": {
			reason:   "likewise if the local cluster is gone",
			recorded: map[kubeclient.Side][]schema.GroupKind{kubeclient.Remote: kinds[:1]},
			want: []string{
				"remote akd | stop akd remote",
				"remote rights and tokens | revoke rights remote",
				"remote pods and their namespaces | remove namespaces remote",
				"remote objects | remove objects remote: Secret",
				"remote service range | await ranges remote",
			},
		},
		"Unrecorded": {
			reason:   "a node that was installed before there were records still goes",
			recorded: map[kubeclient.Side][]schema.GroupKind{kubeclient.Local: nil},
			want: []string{
				"local akd | stop akd local",
				"local node | remove node local",
				"local storage | remove storage local",
				"local objects | remove objects local: ConfigMap Namespace Secret ServiceAccount ValidatingAdmissionPolicy " +
					"ValidatingAdmissionPolicyBinding Deployment Lease ServiceCIDR PodDisruptionBudget ClusterRole ClusterRoleBinding Role RoleBinding",
			},
		},
		"Classes": {
			reason: "a class may be for other nodes, too: its step decides",
			recorded: map[kubeclient.Side][]schema.GroupKind{
				kubeclient.Local: {{Kind: "StorageClass", Group: "storage.k8s.io"}, {Kind: "Secret"}},
			},
			want: []string{
				"local akd | stop akd local",
				"local node | remove node local",
				"local storage | remove storage local",
				"local objects | remove objects local: Secret",
			},
		},
		"Running": {
			reason: "pods are not ended without being told to", running: []string{"shop/web-0", "shop/web-1"},
			refused: "2 pods run on node vk: shop/web-0, shop/web-1",
		},
		"Forced": {
			reason:   "unless the user says so",
			running:  []string{"shop/web-0"},
			force:    true,
			recorded: map[kubeclient.Side][]schema.GroupKind{kubeclient.Local: kinds[:1]},
			want: []string{
				"local akd | stop akd local",
				"local node | remove node local",
				"local storage | remove storage local",
				"local objects | remove objects local: Secret",
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			plan, err := planUninstall("vk", tc.recorded, tc.running, tc.force)
			if tc.refused != "" {
				if err == nil || err.Error() != tc.refused {
					t.Fatalf("%s: error %v, want %q", tc.reason, err, tc.refused)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, s := range plan {
				text := s.name + " | " + string(s.action) + " " + string(s.side)
				for i, kind := range s.kinds {
					if i == 0 {
						text += ":"
					}
					text += " " + kind.Kind
				}
				got = append(got, text)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}
