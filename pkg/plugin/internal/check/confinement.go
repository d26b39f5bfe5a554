package check

import (
	"context"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/rights"
)

func confinementChecks() []Check { return slices.Concat(policyChecks(), akdRightsChecks()) }

func policyChecks() []Check {
	remoteNode := []string{"remote-reachable", "node-installed"}
	policies := []string{"remote-reachable", "node-installed", "remote-policies-supported"}
	return []Check{
		{
			ID:    "node-installed",
			Title: "a node is installed",
			Needs: []string{"local-reachable", "remote-reachable", "clusters-distinct"},
			find:  findNode,
		},
		{
			ID:      "node-owner",
			Title:   "the node's name belongs to the local cluster",
			Early:   true,
			Needs:   []string{"local-reachable", "remote-reachable", "clusters-distinct"},
			examine: nodeOwner,
		},
		{
			ID:      "record-proved",
			Title:   "akd's record names nothing but the node's namespaces",
			Needs:   remoteNode,
			examine: recordProved,
		},
		{
			ID:      "policies-present",
			Title:   "akd's admission policies are as installed",
			Needs:   policies,
			examine: policiesPresent,
		},
		{
			ID:      "policies-effective",
			Title:   "the policies confine akd",
			Needs:   policies,
			examine: policiesEffective,
		},
		{
			ID:      "namespaces-admitted",
			Title:   "the remote cluster admits akd's namespaces",
			Early:   true,
			Needs:   []string{"local-reachable", "remote-reachable"},
			examine: namespacesAdmitted,
		},
		{
			ID:      "pod-security",
			Title:   "the remote cluster enforces Pod Security",
			Needs:   remoteNode,
			examine: podSecurity,
		},
	}
}

func akdRightsChecks() []Check {
	remoteNode := []string{"remote-reachable", "node-installed"}
	return []Check{
		{
			ID:      "akd-local-rights",
			Title:   "akd has its rights in the local cluster",
			Needs:   []string{"node-installed"},
			examine: func(ctx context.Context, s *Subject) Finding { return akdRights(ctx, s, s.Local, manifests.Local) },
		},
		{
			ID:      "akd-remote-rights",
			Title:   "akd has its rights in the remote cluster",
			Needs:   remoteNode,
			examine: func(ctx context.Context, s *Subject) Finding { return akdRights(ctx, s, s.Remote, manifests.Remote) },
		},
		{
			ID:      "akd-least-rights",
			Title:   "akd has no excessive rights in the remote cluster",
			Needs:   remoteNode,
			examine: leastRights,
		},
	}
}

// podSecurity asks, in a dry run, for a pod that level restricted forbids, and
// looks at the level of each of the node's namespaces.
func podSecurity(ctx context.Context, s *Subject) Finding {
	client := s.Remote.Client.CoreV1()
	_, err := client.Pods(contract.SystemNamespace).Create(ctx, privilegedPod(), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	switch {
	case err == nil:
		return failed("enable the admission plugin PodSecurity in the remote API server, and label the namespace: "+
			s.Commands.Kubectl(kubeclient.Remote, "label", "namespace", contract.SystemNamespace, contract.LabelPodSecurity+"=restricted"),
			"a privileged pod is admitted to remote namespace %s", contract.SystemNamespace)
	case !deniedByPodSecurity(err):
		return unknown(err)
	}
	var without []string
	for _, name := range slices.Sorted(maps.Keys(s.Node.Namespaces)) {
		namespace, err := client.Namespaces().Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return unknown(err)
		}
		if namespace.Labels[contract.LabelPodSecurity] == "" {
			without = append(without, name)
		}
	}
	if len(without) > 0 {
		label := slices.Concat([]string{"label", "namespace"}, without, []string{contract.LabelPodSecurity + "=baseline"})
		return failed(s.Commands.Kubectl(kubeclient.Remote, label...),
			"these remote namespaces enforce no level: %s", strings.Join(without, ", "))
	}
	return ok("a privileged pod was denied")
}

// deniedByPodSecurity reports whether the admission plugin PodSecurity denied a
// pod. Its error has the same reason and details as that of any other admission
// plugin: only the message names it.
// https://github.com/kubernetes/kubernetes/blob/v1.37.1/staging/src/k8s.io/pod-security-admission/admission/admission.go
func deniedByPodSecurity(err error) bool {
	return apierrors.IsForbidden(err) && strings.Contains(err.Error(), "violates PodSecurity")
}

func privilegedPod() *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "check-"},
		Spec: corev1.PodSpec{
			HostNetwork: true,
			Containers: []corev1.Container{{
				Name:            "check",
				Image:           "none.invalid/none",
				SecurityContext: &corev1.SecurityContext{Privileged: new(true)},
			}},
		},
	}
}

// akdRights reviews each right that install grants akd in one cluster.
func akdRights(
	ctx context.Context, s *Subject, c *kubeclient.Cluster, render func(manifests.Values) ([]*unstructured.Unstructured, error),
) Finding {
	objects, err := render(s.Node.Values)
	if err != nil {
		return unknown(err)
	}
	wanted, err := rights.Granted(slices.DeleteFunc(objects, func(o *unstructured.Unstructured) bool {
		return o.GetLabels()[contract.LabelNodeName] == "" // a role that is bound in the node's namespaces only
	}))
	if err != nil {
		return unknown(err)
	}
	if c == s.Remote {
		for name := range s.Node.Namespaces {
			wanted = append(wanted,
				rights.Right{Verb: "create", Resource: "pods", Namespace: name},
				rights.Right{Verb: "watch", Resource: "pods", Namespace: name},
				rights.Right{Verb: "list", Resource: "persistentvolumeclaims", Namespace: name})
		}
	}
	answers, err := rights.ReviewAKD(ctx, c, s.Node.Name, wanted)
	if apierrors.IsForbidden(err) {
		return skipped("your user may not create subjectaccessreviews in the %s cluster", c.Side)
	}
	if err != nil {
		return unknown(err)
	}
	return judgeRights(answers, s.installCommand())
}

// excessiveRights are rights that akd must not have, whoever granted them.
func excessiveRights() []rights.Right {
	return []rights.Right{
		{Verb: "list", Resource: "secrets"},
		{Verb: "get", Resource: "secrets", Namespace: metav1.NamespaceSystem},
		{Verb: "create", Resource: "pods"},
		{Verb: "create", Resource: "pods", Subresource: "exec", Namespace: metav1.NamespaceSystem},
		{Verb: "create", Group: "rbac.authorization.k8s.io", Resource: "clusterrolebindings"},
		{Verb: "update", Group: "admissionregistration.k8s.io", Resource: "validatingadmissionpolicies"},
		{Verb: "impersonate", Resource: "users"},
		{Verb: "get", Resource: "nodes", Subresource: "proxy"},
	}
}

// leastRights reviews rights that akd must not have.
func leastRights(ctx context.Context, s *Subject) Finding {
	excessive := excessiveRights()
	answers, err := rights.ReviewAKD(ctx, s.Remote, s.Node.Name, excessive)
	if apierrors.IsForbidden(err) {
		return skipped("your user may not create subjectaccessreviews in the remote cluster")
	}
	if err != nil {
		return unknown(err)
	}
	held := slices.DeleteFunc(excessive, func(r rights.Right) bool { return slices.Contains(answers.Denied, r) })
	if len(held) == 0 {
		return ok("none of the %d that were reviewed", len(answers.Asked))
	}
	list := s.Commands.Kubectl(kubeclient.Remote, "get", "clusterrolebindings,rolebindings", "-A", "-o", "wide")
	return warning("delete the bindings that were not made by install: "+list+" | grep "+contract.SystemNamespace+"/"+s.Node.Name,
		"it may: %s", strings.Join(rights.Rules(held), "; "))
}
