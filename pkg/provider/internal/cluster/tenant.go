package cluster

import (
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"

	"context"
	"encoding/json"
	"fmt"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// CreateRecord creates the record of the node's remote namespaces; see
// namespaces.tenant.
func (c *Remote) CreateRecord(ctx context.Context, recorded map[string]string) error {
	record := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: contract.SystemNamespace, Name: c.recordName(), Labels: c.owner.ObjectLabels(),
		},
		Data: recorded,
	}
	if _, err := c.client.CoreV1().ConfigMaps(record.Namespace).Create(ctx, record, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create the record of remote namespaces, configmap %s/%s: %w", record.Namespace, record.Name, err)
	}
	return nil
}

// PatchRecord sets the entries of the record, and removes those that are nil.
func (c *Remote) PatchRecord(ctx context.Context, entries map[string]*string) error {
	patch, err := json.Marshal(map[string]any{"data": entries})
	if err != nil {
		return fmt.Errorf("write the record of remote namespaces: %w", err)
	}
	_, err = c.client.CoreV1().ConfigMaps(contract.SystemNamespace).
		Patch(ctx, c.recordName(), types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		return fmt.Errorf("write the record of remote namespaces, configmap %s/%s: %w", contract.SystemNamespace, c.recordName(), err)
	}
	return nil
}

// BindRole binds a ClusterRole to the subject in one namespace. It leaves an
// existing binding unchanged: a tenant may not change bindings.
func (c *Remote) BindRole(ctx context.Context, namespace, role string, subject rbacv1.Subject) error {
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: role, Labels: c.owner.ObjectLabels()},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects:   []rbacv1.Subject{subject},
	}
	_, err := c.client.RbacV1().RoleBindings(namespace).Create(ctx, binding, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("bind cluster role %s in remote namespace %s: %w", role, namespace, err)
	}
	return nil
}

// recordName returns the name of the ConfigMap, in the namespace
// contract.SystemNamespace, that records the node's remote namespaces.
func (c *Remote) recordName() string { return contract.RecordName(c.owner.Node) }

// ReadRecord returns the record of the node's remote namespaces: a map from
// remote to local names.
func (c *Remote) ReadRecord(ctx context.Context) (map[string]string, error) {
	record, err := c.client.CoreV1().ConfigMaps(contract.SystemNamespace).Get(ctx, c.recordName(), metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read the record of remote namespaces, configmap %s/%s: %w", contract.SystemNamespace, c.recordName(), err)
	}
	if record.Data == nil {
		return map[string]string{}, nil
	}
	return record.Data, nil
}

// Self returns the identity of akd in the remote cluster, as the subject of a
// binding.
func (c *Remote) Self(ctx context.Context) (rbacv1.Subject, error) {
	const serviceAccount = "system:serviceaccount:"
	review, err := c.client.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		return rbacv1.Subject{}, fmt.Errorf("ask the remote cluster who akd is: %w", err)
	}
	user := review.Status.UserInfo.Username
	if name, ok := strings.CutPrefix(user, serviceAccount); ok {
		namespace, name, _ := strings.Cut(name, ":")
		return rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: name}, nil
	}
	return rbacv1.Subject{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: user}, nil
}

// MissingRight returns a right that akd would need in every namespace to do without
// the role bindings of a tenant, but does not have, or an empty string.
func (c *Remote) MissingRight(ctx context.Context) (string, error) {
	for _, resource := range []string{"pods", "configmaps", "secrets"} {
		for _, verb := range []string{"create", "delete", "list"} {
			allowed, err := c.may(ctx, &authorizationv1.ResourceAttributes{Resource: resource, Verb: verb})
			if err != nil {
				return "", err
			}
			if !allowed {
				return verb + " " + resource, nil
			}
		}
	}
	return "", nil
}

func (c *Remote) may(ctx context.Context, what *authorizationv1.ResourceAttributes) (bool, error) {
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: what}}
	answer, err := c.client.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
	if err != nil {
		return false, fmt.Errorf("ask the remote cluster whether akd may %s %s: %w", what.Verb, what.Resource, err)
	}
	return answer.Status.Allowed, nil
}

// MayBind reports whether akd may bind a ClusterRole. That permission enables the
// optional roles.
func (c *Remote) MayBind(ctx context.Context, role string) (bool, error) {
	return c.may(ctx, &authorizationv1.ResourceAttributes{Group: rbacv1.GroupName, Resource: "clusterroles", Verb: "bind", Name: role})
}
