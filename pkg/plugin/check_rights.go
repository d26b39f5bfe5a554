package plugin

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// askers is how many questions about rights are asked at a time.
const askers = 8

// anyNode stands for a node whose name is not known yet.
const anyNode = "vk-ak-example"

func rightsChecks() []check {
	return []check{
		{id: "local-rights", title: "you may install in the local cluster", pre: true, needs: []string{"local-reachable"}, run: func(ctx context.Context, e *examination) finding {
			return mayInstall(ctx, e.both.local, e.toInstall())
		}},
		{id: "remote-rights", title: "you may install in the remote cluster", pre: true, needs: []string{"remote-reachable"}, run: func(ctx context.Context, e *examination) finding {
			addUp := right{verb: "list", resource: "nodes"} // the node's capacity, unless it is said
			return mayInstall(ctx, e.both.remote, e.toInstall(), addUp)
		}},
	}
}

// right is what somebody may do, or not.
type right struct {
	verb, group, resource, sub string
	namespace, name            string
}

// String is how a rule of RBAC would say it.
func (r right) String() string {
	resource := r.resource
	if r.sub != "" {
		resource += "/" + r.sub
	}
	if r.group != "" {
		resource += "." + r.group
	}
	said := r.verb + " " + resource
	if r.name != "" {
		said += " " + r.name
	}
	if r.namespace != "" {
		said += " in " + r.namespace
	}
	return said
}

func (r right) attributes() *authorizationv1.ResourceAttributes {
	return &authorizationv1.ResourceAttributes{
		Verb: r.verb, Group: r.group, Version: "*", Resource: r.resource, Subresource: r.sub, Namespace: r.namespace, Name: r.name,
	}
}

// installing is what install does in a cluster, right by right.
func installing(c *cluster, home bool, objects []*unstructured.Unstructured) []right {
	wanted := []right{
		{verb: "get", resource: "namespaces"},
	}
	for _, object := range objects {
		kind := object.GroupVersionKind()
		resource, _ := meta.UnsafeGuessKindToResource(kind)
		for _, verb := range []string{"get", "create", "patch"} {
			wanted = append(wanted, right{verb: verb, group: kind.Group, resource: resource.Resource, namespace: object.GetNamespace()})
		}
	}
	if home {
		for _, verb := range []string{"get", "create", "update"} {
			wanted = append(wanted, right{verb: verb, resource: "secrets", namespace: contract.SystemNamespace})
		}
	} else {
		wanted = append(wanted, right{verb: "create", resource: "serviceaccounts", sub: "token", namespace: contract.SystemNamespace})
	}
	if c.side == "remote" {
		return append(wanted,
			right{verb: "list", resource: "namespaces"}, // for akd's record
			// install looks, as akd, whether the policies hold
			right{verb: "impersonate", resource: "serviceaccounts", namespace: contract.SystemNamespace},
		)
	}
	const certificates = "certificates.k8s.io"
	return append(wanted,
		right{verb: "get", resource: "nodes"},
		right{verb: "create", resource: "pods", namespace: contract.SystemNamespace}, // the probe
		right{verb: "delete", resource: "pods", namespace: contract.SystemNamespace},
		right{verb: "list", group: certificates, resource: "certificatesigningrequests"},
		right{verb: "update", group: certificates, resource: "certificatesigningrequests", sub: "approval"},
		right{verb: "approve", group: certificates, resource: "signers", name: "kubernetes.io/kubelet-serving"},
	)
}

// toInstall are the values of the node, installed or not.
func (e *examination) toInstall() manifests.Values {
	if e.values.Node == "" {
		return manifests.Values{Node: cmp.Or(e.node, anyNode), Image: "akd"}
	}
	return e.values
}

// mayInstall asks for every right that install needs, and for more. Who gives
// rights away must have them, or the right to escalate.
// https://kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention-and-bootstrapping
func mayInstall(ctx context.Context, c *cluster, values manifests.Values, more ...right) finding {
	render := manifests.Local
	if c.side == "remote" {
		render = manifests.Remote
	}
	objects, err := render(values)
	if err != nil {
		return skipped("%s", err)
	}
	home := (c.side == "remote") == (values.RunIn == manifests.RunInRemote)
	given, err := granted(objects)
	if err != nil {
		return skipped("%s", err)
	}
	denied, asked, err := lacking(ctx, c, append(installing(c, home, objects), more...))
	if err != nil {
		return failed("see that your user may create selfsubjectaccessreviews.authorization.k8s.io", "%s", err)
	}
	withheld, askedMore, err := escalating(ctx, c, given)
	if err != nil {
		return failed("see that your user may create selfsubjectaccessreviews.authorization.k8s.io", "%s", err)
	}
	asked = append(asked, askedMore...)
	slices.Sort(asked)
	return rightsFinding(append(denied, withheld...), slices.Compact(asked),
		"ask an administrator of the "+c.side+" cluster for these rights, or to install the node")
}

// rightsFinding names what is missing as rules of RBAC, a rule for each resource.
func rightsFinding(denied []right, asked []string, mend string) finding {
	if len(denied) == 0 {
		f := ok("%d rights", len(asked))
		f.Details = asked
		return f
	}
	var rules []string
	verbs := map[string][]string{}
	for _, one := range denied {
		rule := strings.TrimPrefix(one.String(), one.verb+" ")
		if verbs[rule] == nil {
			rules = append(rules, rule)
		}
		if !slices.Contains(verbs[rule], one.verb) {
			verbs[rule] = append(verbs[rule], one.verb)
		}
	}
	for i, rule := range rules {
		rules[i] = strings.Join(verbs[rule], ",") + " " + rule
	}
	f := failed(mend, "missing: %s", strings.Join(rules, "; "))
	f.Details = asked
	return f
}

// escalating returns which of the rights that install gives away the user has
// not, if it has no right to give away any.
func escalating(ctx context.Context, c *cluster, given []right) (denied []right, asked []string, err error) {
	const rbac = "rbac.authorization.k8s.io"
	escalate := []right{
		{verb: "escalate", group: rbac, resource: "clusterroles"},
		{verb: "bind", group: rbac, resource: "clusterroles"},
	}
	denied, asked, err = lacking(ctx, c, escalate)
	if err != nil || len(denied) == 0 {
		return nil, asked, err
	}
	denied, asked, err = lacking(ctx, c, given)
	return denied, asked, err
}

// granted are the rights in the roles among objects, in the roles' namespaces.
func granted(objects []*unstructured.Unstructured) ([]right, error) {
	var all []right
	for _, object := range objects {
		if kind := object.GetKind(); kind != "Role" && kind != "ClusterRole" {
			continue
		}
		var role rbacv1.ClusterRole
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &role); err != nil {
			return nil, fmt.Errorf("%s: %w", title(object), err)
		}
		for i := range role.Rules {
			all = append(all, rightsOf(&role.Rules[i], object.GetNamespace())...)
		}
	}
	return all, nil
}

func rightsOf(rule *rbacv1.PolicyRule, namespace string) []right {
	var all []right
	names := rule.ResourceNames
	if len(names) == 0 {
		names = []string{""}
	}
	for _, group := range rule.APIGroups {
		for _, resource := range rule.Resources {
			resource, sub, _ := strings.Cut(resource, "/")
			for _, verb := range rule.Verbs {
				for _, name := range names {
					all = append(all, right{verb, group, resource, sub, namespace, name})
				}
			}
		}
	}
	return all
}

// lacking asks which rights the user of the kubeconfig has not. asked has an
// answer for each, in order.
func lacking(ctx context.Context, c *cluster, wanted []right) (denied []right, asked []string, err error) {
	return review(ctx, wanted, func(ctx context.Context, one right) (bool, error) {
		answer, err := c.client.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
			Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: one.attributes()},
		}, metav1.CreateOptions{})
		if err != nil {
			return false, fmt.Errorf("ask the %s cluster for your rights: %w", c.side, err)
		}
		return answer.Status.Allowed, nil
	})
}

// lackingOf asks the same for another user.
func lackingOf(ctx context.Context, c *cluster, user string, wanted []right) (denied []right, asked []string, err error) {
	groups := []string{"system:serviceaccounts", "system:serviceaccounts:" + contract.SystemNamespace, "system:authenticated"}
	return review(ctx, wanted, func(ctx context.Context, one right) (bool, error) {
		answer, err := c.client.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{
			Spec: authorizationv1.SubjectAccessReviewSpec{ResourceAttributes: one.attributes(), User: user, Groups: groups},
		}, metav1.CreateOptions{})
		if err != nil {
			return false, fmt.Errorf("ask the %s cluster for akd's rights: %w", c.side, err)
		}
		return answer.Status.Allowed, nil
	})
}

// review asks for each right, several at a time.
func review(ctx context.Context, wanted []right, ask func(context.Context, right) (bool, error)) (denied []right, asked []string, err error) {
	slices.SortFunc(wanted, func(a, b right) int { return strings.Compare(a.String(), b.String()) })
	wanted = slices.Compact(wanted)
	has := make([]bool, len(wanted))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(askers)
	for i := range wanted {
		group.Go(func() (err error) {
			has[i], err = ask(ctx, wanted[i])
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, nil, err
	}
	for i, one := range wanted {
		answer := "yes: "
		if !has[i] {
			answer = "no: "
			denied = append(denied, one)
		}
		asked = append(asked, answer+one.String())
	}
	return denied, asked, nil
}
