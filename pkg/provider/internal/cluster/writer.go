package cluster

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/store"
)

// Writer writes one kind of mirrored object in the remote cluster. Its errors
// name the object and wrap the error of the API server.
type Writer[T store.Object] struct {
	kind string
	in   func(namespace string) writable[T]
}

// writable is the part of a typed client that writes one kind in one namespace.
type writable[T store.Object] interface {
	Create(context.Context, T, metav1.CreateOptions) (T, error)
	Update(context.Context, T, metav1.UpdateOptions) (T, error)
	Delete(ctx context.Context, name string, opts metav1.DeleteOptions) error
}

// Create creates the object and returns it as stored.
func (w Writer[T]) Create(ctx context.Context, want T) (T, error) {
	created, err := w.in(want.GetNamespace()).Create(ctx, want, metav1.CreateOptions{})
	if err != nil {
		return created, fmt.Errorf("create remote %s %s/%s: %w", w.kind, want.GetNamespace(), want.GetName(), err)
	}
	return created, nil
}

// Update replaces the object at the resourceVersion that it carries.
func (w Writer[T]) Update(ctx context.Context, want T) (T, error) {
	updated, err := w.in(want.GetNamespace()).Update(ctx, want, metav1.UpdateOptions{})
	if err != nil {
		return updated, fmt.Errorf("update remote %s %s/%s: %w", w.kind, want.GetNamespace(), want.GetName(), err)
	}
	return updated, nil
}

// Delete deletes the object in the state that is given, and no other: somebody else may
// have taken it over. It returns nil if it is gone or has changed, which the watch reports.
func (w Writer[T]) Delete(ctx context.Context, have T) error {
	err := w.in(have.GetNamespace()).Delete(ctx, have.GetName(), deleteUnchanged(have))
	if err != nil && !IsNotFoundOrConflict(err) {
		return fmt.Errorf("delete remote %s %s/%s: %w", w.kind, have.GetNamespace(), have.GetName(), err)
	}
	return nil
}

// ConfigMapWriter writes ConfigMaps.
func (c *Remote) ConfigMapWriter() Writer[*corev1.ConfigMap] {
	return Writer[*corev1.ConfigMap]{kind: "configmap", in: func(namespace string) writable[*corev1.ConfigMap] {
		return c.client.CoreV1().ConfigMaps(namespace)
	}}
}

// SecretWriter writes Secrets.
func (c *Remote) SecretWriter() Writer[*corev1.Secret] {
	return Writer[*corev1.Secret]{kind: "secret", in: func(namespace string) writable[*corev1.Secret] {
		return c.client.CoreV1().Secrets(namespace)
	}}
}

// ServiceWriter writes Services.
func (c *Remote) ServiceWriter() Writer[*corev1.Service] {
	return Writer[*corev1.Service]{kind: "service", in: func(namespace string) writable[*corev1.Service] {
		return c.client.CoreV1().Services(namespace)
	}}
}

// EndpointSliceWriter writes EndpointSlices.
func (c *Remote) EndpointSliceWriter() Writer[*discoveryv1.EndpointSlice] {
	return Writer[*discoveryv1.EndpointSlice]{kind: "endpointslice", in: func(namespace string) writable[*discoveryv1.EndpointSlice] {
		return c.client.DiscoveryV1().EndpointSlices(namespace)
	}}
}

// DisruptionBudgetWriter writes PodDisruptionBudgets.
func (c *Remote) DisruptionBudgetWriter() Writer[*policyv1.PodDisruptionBudget] {
	return Writer[*policyv1.PodDisruptionBudget]{
		kind: "poddisruptionbudget",
		in: func(namespace string) writable[*policyv1.PodDisruptionBudget] {
			return c.client.PolicyV1().PodDisruptionBudgets(namespace)
		},
	}
}
