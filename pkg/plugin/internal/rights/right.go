package rights

import (
	"fmt"
	"slices"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
)

// Right is what somebody may do, or not.
type Right struct {
	Verb        string
	Group       string
	Resource    string
	Subresource string
	Namespace   string
	Name        string
}

// String is the right as a rule of RBAC would say it.
func (r Right) String() string { return r.Verb + " " + r.object() }

// object is the right without its verb.
func (r Right) object() string {
	text := r.Resource
	if r.Subresource != "" {
		text += "/" + r.Subresource
	}
	if r.Group != "" {
		text += "." + r.Group
	}
	if r.Name != "" {
		text += " " + r.Name
	}
	if r.Namespace != "" {
		text += " in " + r.Namespace
	}
	return text
}

func (r Right) attributes() *authorizationv1.ResourceAttributes {
	return &authorizationv1.ResourceAttributes{
		Verb:        r.Verb,
		Group:       r.Group,
		Version:     "*",
		Resource:    r.Resource,
		Subresource: r.Subresource,
		Namespace:   r.Namespace,
		Name:        r.Name,
	}
}

// Rules returns rights as rules of RBAC, a rule for each resource.
func Rules(rights []Right) []string {
	var objects []string
	verbs := map[string][]string{}
	for _, right := range rights {
		object := right.object()
		if verbs[object] == nil {
			objects = append(objects, object)
		}
		if !slices.Contains(verbs[object], right.Verb) {
			verbs[object] = append(verbs[object], right.Verb)
		}
	}
	rules := make([]string, 0, len(objects))
	for _, object := range objects {
		rules = append(rules, strings.Join(verbs[object], ",")+" "+object)
	}
	return rules
}

// Granted are the rights in the roles among objects, in the roles' namespaces.
func Granted(objects []*unstructured.Unstructured) ([]Right, error) {
	var all []Right
	for _, object := range objects {
		if kind := object.GetKind(); kind != "Role" && kind != "ClusterRole" {
			continue
		}
		var role rbacv1.ClusterRole
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &role); err != nil {
			return nil, fmt.Errorf("%s: %w", kubeclient.Title(object), err)
		}
		for i := range role.Rules {
			all = append(all, rightsOf(&role.Rules[i], object.GetNamespace())...)
		}
	}
	return all, nil
}

func rightsOf(rule *rbacv1.PolicyRule, namespace string) []Right {
	var all []Right
	names := rule.ResourceNames
	if len(names) == 0 {
		names = []string{""}
	}
	for _, group := range rule.APIGroups {
		for _, resource := range rule.Resources {
			resource, subresource, _ := strings.Cut(resource, "/")
			for _, verb := range rule.Verbs {
				for _, name := range names {
					all = append(all, Right{verb, group, resource, subresource, namespace, name})
				}
			}
		}
	}
	return all
}
