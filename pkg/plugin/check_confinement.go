package plugin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

func confinementChecks() []check {
	remote := []string{"remote-reachable", "node-installed"}
	return []check{
		{id: "node-installed", title: "a node is installed", needs: []string{"local-reachable", "remote-reachable", "clusters-distinct"}, run: findNode},
		{id: "policies-present", title: "the node's admission policies are there", needs: append(remote, "remote-policies-supported"), run: policiesPresent},
		{id: "policies-effective", title: "they keep akd out of other namespaces", needs: append(remote, "remote-policies-supported"), run: policiesEffective},
		{id: "pod-security", title: "the remote cluster enforces Pod Security", needs: remote, run: podSecurity},
		{id: "akd-local-rights", title: "akd has its rights in the local cluster", needs: []string{"node-installed"}, run: func(ctx context.Context, e *examination) finding {
			return akdRights(ctx, e, e.both.local, manifests.Local)
		}},
		{id: "akd-remote-rights", title: "akd has its rights in the remote cluster", needs: remote, run: func(ctx context.Context, e *examination) finding {
			return akdRights(ctx, e, e.both.remote, manifests.Remote)
		}},
		{id: "akd-least-rights", title: "akd has no rights over all of the remote cluster", needs: remote, run: leastRights},
	}
}

// wantedPolicies are the policies that install makes for the node.
func wantedPolicies(e *examination) ([]string, error) {
	objects, err := manifests.Remote(e.values)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, object := range objects {
		if object.GetKind() == "ValidatingAdmissionPolicy" {
			names = append(names, object.GetName())
		}
	}
	return names, nil
}

// policiesPresent looks for each policy and for a binding that denies.
func policiesPresent(ctx context.Context, e *examination) finding {
	names, err := wantedPolicies(e)
	if err != nil {
		return skipped("%s", err)
	}
	client := e.both.remote.client.AdmissionregistrationV1()
	var wrong []string
	for _, name := range names {
		policy, err := client.ValidatingAdmissionPolicies().Get(ctx, name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			wrong = append(wrong, "policy "+name+" is missing")
		case err != nil:
			return skipped("%s", err)
		case policy.Spec.FailurePolicy != nil && *policy.Spec.FailurePolicy != admissionregistrationv1.Fail:
			wrong = append(wrong, "policy "+name+" lets pass what it cannot evaluate")
		}
		binding, err := client.ValidatingAdmissionPolicyBindings().Get(ctx, name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			wrong = append(wrong, "binding "+name+" is missing")
		case err != nil:
			return skipped("%s", err)
		case binding.Spec.PolicyName != name || !slices.Contains(binding.Spec.ValidationActions, admissionregistrationv1.Deny) || binding.Spec.MatchResources != nil:
			wrong = append(wrong, "binding "+name+" does not deny")
		}
	}
	if len(wrong) > 0 {
		return failed(e.again(), "%s: akd's credential reaches other remote namespaces", strings.Join(wrong, "; "))
	}
	f := ok("%d policies, each bound to deny", len(names))
	f.Details = names
	return f
}

// policiesEffective asks, as akd, for what is not its own.
func policiesEffective(ctx context.Context, e *examination) finding {
	err := tryForeign(ctx, e.both.remote, e.node)
	switch {
	case err == nil:
		return failed(e.again(), "akd may create a remote namespace that is not its own")
	case strings.Contains(err.Error(), "ValidatingAdmissionPolicy"):
		return ok("a foreign namespace was refused to akd")
	case strings.Contains(err.Error(), "impersonate"):
		return skipped("your user may not impersonate serviceaccounts in %s of the remote cluster", contract.SystemNamespace)
	case apierrors.IsForbidden(err):
		return warning(e.again(), "akd was refused for lack of rights, so that the policies were not asked: %s", err)
	default:
		return skipped("%s", err)
	}
}

// tryForeign asks, as akd, for a namespace that is not its own. Nothing is made:
// it is a dry run. An error that names ValidatingAdmissionPolicy is what confined
// akd gets; one that names impersonate says that the user may not ask.
func tryForeign(ctx context.Context, remote *cluster, node string) error {
	config := rest.CopyConfig(remote.config)
	config.Impersonate = rest.ImpersonationConfig{UserName: accountUser(node)}
	asAKD, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	foreign := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "not-a-tenants-"}}
	_, err = asAKD.CoreV1().Namespaces().Create(ctx, foreign, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	return err
}

// accountUser names akd's own identity in a cluster, before it acts as the node.
func accountUser(node string) string {
	return "system:serviceaccount:" + contract.SystemNamespace + ":" + node
}

// podSecurity asks for what level restricted forbids, in a dry run, and looks
// at the level of each of the node's namespaces.
func podSecurity(ctx context.Context, e *examination) finding {
	client := e.both.remote.client.CoreV1()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "check-"},
		Spec: corev1.PodSpec{
			HostNetwork: true,
			Containers:  []corev1.Container{{Name: "check", Image: "none.invalid/none", SecurityContext: &corev1.SecurityContext{Privileged: new(true)}}},
		},
	}
	_, err := client.Pods(contract.SystemNamespace).Create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	const admission = "see that the remote API server runs with the admission plugin PodSecurity, and namespace actual-system has label pod-security.kubernetes.io/enforce: restricted"
	switch {
	case err == nil:
		return failed(admission, "a privileged pod is admitted in remote namespace %s", contract.SystemNamespace)
	case !strings.Contains(err.Error(), "PodSecurity"):
		return skipped("%s", err)
	}
	var without []string
	for name := range e.record {
		namespace, err := client.Namespaces().Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return skipped("%s", err)
		}
		if namespace.Labels["pod-security.kubernetes.io/enforce"] == "" {
			without = append(without, name)
		}
	}
	if len(without) > 0 {
		slices.Sort(without)
		return failed("kubectl label namespace "+strings.Join(without, " ")+" pod-security.kubernetes.io/enforce=baseline --context="+e.remoteName(),
			"these remote namespaces enforce no level: %s", strings.Join(without, ", "))
	}
	return ok("a privileged pod was refused")
}

// akdRights asks, for akd, for each right that install gives it.
func akdRights(ctx context.Context, e *examination, c *cluster, render func(manifests.Values) ([]*unstructured.Unstructured, error)) finding {
	objects, err := render(e.values)
	if err != nil {
		return skipped("%s", err)
	}
	wanted, err := granted(slices.DeleteFunc(objects, func(o *unstructured.Unstructured) bool {
		return o.GetLabels()[contract.LabelNodeName] == "" // bound in the node's namespaces only
	}))
	if err != nil {
		return skipped("%s", err)
	}
	if c == e.both.remote {
		for name := range e.record {
			wanted = append(wanted, right{verb: "create", resource: "pods", namespace: name}, right{verb: "watch", resource: "pods", namespace: name})
		}
	}
	denied, asked, err := lackingOf(ctx, c, accountUser(e.node), wanted)
	if apierrors.IsForbidden(err) {
		return skipped("your user may not create subjectaccessreviews in the %s cluster", c.side)
	}
	if err != nil {
		return skipped("%s", err)
	}
	return rightsFinding(denied, asked, e.again())
}

// leastRights asks for what akd must not have: rights that somebody gave it
// beside those of install.
func leastRights(ctx context.Context, e *examination) finding {
	tooMuch := []right{
		{verb: "list", resource: "secrets"}, {verb: "get", resource: "secrets", namespace: metav1.NamespaceSystem},
		{verb: "create", resource: "pods"}, {verb: "create", resource: "pods", sub: "exec", namespace: metav1.NamespaceSystem},
		{verb: "create", group: "rbac.authorization.k8s.io", resource: "clusterrolebindings"},
		{verb: "update", group: "admissionregistration.k8s.io", resource: "validatingadmissionpolicies"},
		{verb: "impersonate", resource: "users"}, {verb: "get", resource: "nodes", sub: "proxy"},
	}
	denied, _, err := lackingOf(ctx, e.both.remote, accountUser(e.node), tooMuch)
	if apierrors.IsForbidden(err) {
		return skipped("your user may not create subjectaccessreviews in the remote cluster")
	}
	if err != nil {
		return skipped("%s", err)
	}
	var has []string
	for _, one := range tooMuch {
		if !slices.Contains(denied, one) {
			has = append(has, one.String())
		}
	}
	if len(has) > 0 {
		return warning(fmt.Sprintf("kubectl get clusterrolebindings,rolebindings -A -o wide --context=%s | grep %s/%s, and delete what kubectl actual did not install", e.remoteName(), contract.SystemNamespace, e.node),
			"it may: %s", strings.Join(has, "; "))
	}
	return ok("none of %d that matter", len(tooMuch))
}

// findNode finds the node, its akd, and what can be told of how it was
// installed.
func findNode(ctx context.Context, e *examination) finding {
	const install = "kubectl actual install NODE --remote-context=CONTEXT"
	if e.node == "" {
		names, err := nodeNames(ctx, e.both)
		switch {
		case err != nil:
			return failed("", "%s", err)
		case len(names) == 0:
			return failed(install, "no akd serves a node of the local cluster")
		case len(names) > 1:
			return failed("kubectl actual check "+names[0]+" --remote-context="+e.remoteName(), "there are several: %s: name one", strings.Join(names, ", "))
		}
		e.node = names[0]
	}
	if err := e.findAKD(ctx); err != nil {
		return failed("", "%s", err)
	}
	node, err := e.both.local.client.CoreV1().Nodes().Get(ctx, e.node, metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return failed("", "%s", err)
	}
	if err == nil {
		e.object = node
	}
	if err == nil && node.Labels[nodeLabel] == "" {
		return failed("kubectl actual nodes", "node %s is not served by an akd", e.node)
	}
	if e.object == nil && e.akd == nil {
		return failed(e.again(), "there is no node %s, and no akd of it", e.node)
	}
	if err := e.readInstalled(ctx); err != nil {
		return failed(e.again(), "%s", err)
	}
	if e.akd == nil {
		return warning(e.again(), "%s; its akd was not installed with kubectl actual", e.node)
	}
	return ok("%s, whose akd runs in the %s cluster", e.node, e.home.side)
}

// nodeNames are those of all nodes that akds serve, and of akds without a node.
func nodeNames(ctx context.Context, both clusters) ([]string, error) {
	nodes, err := both.local.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{LabelSelector: nodeLabel})
	if err != nil {
		return nil, fmt.Errorf("list the nodes that akds serve: %w", err)
	}
	var names []string
	for i := range nodes.Items {
		names = append(names, nodes.Items[i].Name)
	}
	akds, err := both.local.client.AppsV1().Deployments(contract.SystemNamespace).List(ctx, metav1.ListOptions{LabelSelector: contract.LabelNodeName})
	if err != nil {
		return nil, fmt.Errorf("list the akds: %w", err)
	}
	for i := range akds.Items {
		names = append(names, akds.Items[i].Labels[contract.LabelNodeName])
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// findAKD finds akd's Deployment on one of the sides.
func (e *examination) findAKD(ctx context.Context) error {
	e.home, e.away = e.both.local, e.both.remote
	for _, sides := range [][2]*cluster{{e.both.local, e.both.remote}, {e.both.remote, e.both.local}} {
		akd, err := sides[0].client.AppsV1().Deployments(contract.SystemNamespace).Get(ctx, e.node, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("%s cluster: get akd's deployment: %w", sides[0].side, err)
		}
		if akd.Labels[contract.LabelNodeName] != e.node {
			continue
		}
		e.akd, e.home, e.away = akd, sides[0], sides[1]
		return nil
	}
	return nil
}

// readInstalled reads akd's configuration and its record of namespaces.
func (e *examination) readInstalled(ctx context.Context) error {
	e.values = manifests.Values{Node: e.node, RunIn: e.home.side}
	record, err := e.both.remote.client.CoreV1().ConfigMaps(contract.SystemNamespace).Get(ctx, contract.RecordName(e.node), metav1.GetOptions{})
	switch {
	case err == nil:
		e.record = record.Data
	case !apierrors.IsNotFound(err):
		return fmt.Errorf("read akd's record of remote namespaces: %w", err)
	}
	if e.akd == nil {
		return nil
	}
	stored, err := e.home.client.CoreV1().ConfigMaps(contract.SystemNamespace).Get(ctx, e.node, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("read akd's configuration: %w", err)
	}
	cfg, err := parse(stored.Data["akd.yaml"])
	if err != nil {
		return fmt.Errorf("ConfigMap %s/%s: %w", contract.SystemNamespace, e.node, errors.Unwrap(err))
	}
	e.values.PodSecurity, e.server = string(cfg.Pods.PodSecurity), cfg.Local.APIServer
	if e.mirrors = string(cfg.Services) == servicesMirror; e.mirrors {
		// Names and rights are compared, for which the ranges do not matter.
		e.values.MirrorServices, e.values.ServiceCIDRs, e.values.EndpointCIDRs = true, []string{"192.0.2.0/24"}, []string{"198.51.100.0/24"}
	}
	e.values.Limits = limitsOf(cfg)
	return nil
}
