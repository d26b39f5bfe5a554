package rights

import (
	"cmp"
	"context"

	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
)

// ReviewInstall asks whether the user may install a node with these values, and
// more. Who grants rights must have them, or the right to escalate.
// https://kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention-and-bootstrapping
func ReviewInstall(ctx context.Context, c *kubeclient.Cluster, values manifests.Values, more ...Right) (Answers, error) {
	render := manifests.Local
	if c.Side == kubeclient.Remote {
		render = manifests.Remote
	}
	objects, err := render(values)
	if err != nil {
		return Answers{}, err
	}
	granted, err := Granted(objects)
	if err != nil {
		return Answers{}, err
	}
	wanted := append(ToInstall(c.Side, values, objects), more...)
	if c.Side == kubeclient.Remote || values.Storage.Enabled {
		wanted = append(wanted, ToActAsAKD(c)) // install tests as akd whether it is confined
	}
	answers, err := Review(ctx, c, wanted)
	if err != nil {
		return Answers{}, err
	}
	withheld, err := reviewGrants(ctx, c, granted)
	return answers.add(withheld), err
}

// ToInstall are the rights by which install applies objects to one side, and
// what it does there besides.
func ToInstall(side kubeclient.Side, values manifests.Values, objects []*unstructured.Unstructured) []Right {
	wanted := []Right{{Verb: "get", Resource: "namespaces"}}
	for _, object := range objects {
		kind := object.GroupVersionKind()
		resource, _ := meta.UnsafeGuessKindToResource(kind)
		for _, verb := range []string{"get", "create", "patch"} {
			wanted = append(wanted, Right{Verb: verb, Group: kind.Group, Resource: resource.Resource, Namespace: object.GetNamespace()})
		}
	}
	if hosts := (side == kubeclient.Remote) == (values.RunIn == manifests.RunInRemote); hosts {
		for _, verb := range []string{"get", "create", "update"} {
			wanted = append(wanted, Right{Verb: verb, Resource: "secrets", Namespace: contract.SystemNamespace})
		}
		// akd's pods: whether they run, and which addresses its certificate can be for
		wanted = append(wanted, Right{Verb: "list", Resource: "pods", Namespace: contract.SystemNamespace})
	} else {
		wanted = append(wanted, Right{Verb: "create", Resource: "serviceaccounts", Subresource: "token", Namespace: contract.SystemNamespace})
	}
	if values.Storage.Enabled {
		wanted = append(wanted, Right{Verb: "list", Group: "storage.k8s.io", Resource: "storageclasses"})
	}
	if side == kubeclient.Remote {
		return append(append(wanted, toConfine(values)...), Right{Verb: "list", Resource: "namespaces"}) // for akd's record
	}
	const certificates = "certificates.k8s.io"
	return append(wanted,
		Right{Verb: "get", Resource: "nodes"},
		Right{Verb: "create", Resource: "pods", Namespace: contract.SystemNamespace}, // the probe pod
		Right{Verb: "delete", Resource: "pods", Namespace: contract.SystemNamespace},
		Right{Verb: "list", Group: certificates, Resource: "certificatesigningrequests"},
		Right{Verb: "update", Group: certificates, Resource: "certificatesigningrequests", Subresource: "approval"},
		Right{Verb: "approve", Group: certificates, Resource: "signers", Name: cmp.Or(values.Signer, certificatesv1.KubeletServingSignerName)},
	)
}

// toConfine are the rights by which install confines akd.
func toConfine(values manifests.Values) []Right {
	const discovery, scheduling, node = "discovery.k8s.io", "scheduling.k8s.io", "node.k8s.io"
	if values.Unconfined {
		return nil
	}
	wanted := []Right{
		// The API server asks for it: service accounts are the policies' parameter.
		{Verb: "get", Resource: "serviceaccounts"},
		{Verb: "list", Group: discovery, Resource: "endpointslices", Namespace: metav1.NamespaceDefault},
	}
	if values.Placement.PriorityClass == "" {
		wanted = append(wanted, Right{Verb: "list", Group: scheduling, Resource: "priorityclasses"})
	}
	if name := values.Placement.RuntimeClass; name != "" {
		wanted = append(wanted, Right{Verb: "get", Group: node, Resource: "runtimeclasses", Name: name})
	}
	return wanted
}

// reviewGrants asks which of the rights that install grants the user lacks, if
// the user may not grant any right.
func reviewGrants(ctx context.Context, c *kubeclient.Cluster, granted []Right) (Answers, error) {
	const rbac = "rbac.authorization.k8s.io"
	escalate, err := Review(ctx, c, []Right{
		{Verb: "escalate", Group: rbac, Resource: "clusterroles"},
		{Verb: "bind", Group: rbac, Resource: "clusterroles"},
	})
	if err != nil || len(escalate.Denied) == 0 {
		return escalate, err
	}
	return Review(ctx, c, granted)
}
