package provider

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

// tenantWorkers bounds how many of a tenant's namespaces are looked at together.
const tenantWorkers = 16

// tenant is akd in a remote cluster that lets it do no more than manifests/
// grants: it may not list namespaces, so that a record says which are its own,
// and it has rights in those alone in which it has bound its role.
//
// The record is written before the namespace: what is recorded and not there
// costs a look, what is there and not recorded would never be found again.
//
// A nil tenant is an administrator, who needs none of this.
type tenant struct {
	remote  *remoteCluster
	mapper  *translate.Mapper
	subject rbacv1.Subject // akd itself
	roles   []string       // the cluster roles that it binds
	logger  *slog.Logger

	mu     sync.Mutex
	record map[string]string // local namespaces by remote, as far as is known
}

// newTenant learns who akd is and which roles it may bind.
func newTenant(ctx context.Context, remote *remoteCluster, mapper *translate.Mapper, logger *slog.Logger) (*tenant, error) {
	t := &tenant{remote: remote, mapper: mapper, roles: []string{contract.TenantRole}, logger: logger, record: map[string]string{}}
	var err error
	if t.subject, err = remote.self(ctx); err != nil {
		return nil, err
	}
	for _, role := range []string{contract.TenantMetricsRole, contract.TenantServicesRole} {
		optional, err := remote.mayBind(ctx, role)
		if err != nil {
			return nil, err
		}
		if optional {
			t.roles = append(t.roles, role)
		}
	}
	return t, nil
}

// namespaces returns those of the record that exist. A lost record is made anew.
func (t *tenant) namespaces(ctx context.Context) ([]corev1.Namespace, error) {
	if err := t.readRecord(ctx); err != nil {
		return nil, err
	}
	var (
		mu    sync.Mutex
		found []corev1.Namespace
	)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(tenantWorkers)
	for name := range t.recorded() {
		group.Go(func() error {
			namespace, err := t.remote.namespace(ctx, name)
			if apierrors.IsNotFound(err) {
				return nil
			}
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			found = append(found, *namespace)
			return nil
		})
	}
	return found, group.Wait()
}

// readRecord takes the record in, and makes it anew, of what is known, where it
// is lost.
func (t *tenant) readRecord(ctx context.Context) error {
	read, err := t.remote.readRecord(ctx)
	if apierrors.IsNotFound(err) {
		return t.makeRecord(ctx)
	}
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.record = read
	return nil
}

func (t *tenant) makeRecord(ctx context.Context) error {
	t.logger.Warn("the record of this node's remote namespaces was lost and is made anew: "+
		"akd will not find those that no local pod uses; look for them in the remote cluster by their label",
		"record", contract.SystemNamespace+"/"+contract.RecordName(t.mapper.Node), "label", contract.LabelNodeName+"="+t.mapper.Node)
	return t.remote.createRecord(ctx, t.recorded())
}

// recorded returns a copy of the record.
func (t *tenant) recorded() map[string]string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.record)
}

// note records a remote namespace that is about to be used.
func (t *tenant) note(ctx context.Context, remote, local string) error {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	t.record[remote] = local
	t.mu.Unlock()
	err := t.remote.patchRecord(ctx, map[string]*string{remote: &local})
	if apierrors.IsNotFound(err) {
		return t.makeRecord(ctx)
	}
	return err
}

// strike removes a remote namespace, which is known to be gone, from the record.
func (t *tenant) strike(ctx context.Context, remote string) error {
	if err := t.remote.patchRecord(ctx, map[string]*string{remote: nil}); err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.record, remote)
	return nil
}

// enter gives akd its rights in a namespace that was proved its own. The rights
// may lag behind by milliseconds.
func (t *tenant) enter(ctx context.Context, namespace *corev1.Namespace) error {
	if t == nil {
		return nil
	}
	for _, role := range t.roles {
		if err := t.remote.bindRole(ctx, namespace.Name, role, t.subject); err != nil {
			return err
		}
	}
	return nil
}

// recordName is the name of the ConfigMap, in the namespace
// contract.SystemNamespace, that records the node's remote namespaces.
func (c *remoteCluster) recordName() string { return contract.RecordName(c.node) }

func (c *remoteCluster) readRecord(ctx context.Context) (map[string]string, error) {
	record, err := c.client.CoreV1().ConfigMaps(contract.SystemNamespace).Get(ctx, c.recordName(), metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read the record of remote namespaces, configmap %s/%s: %w", contract.SystemNamespace, c.recordName(), err)
	}
	if record.Data == nil {
		return map[string]string{}, nil
	}
	return record.Data, nil
}

// self returns who akd is in the remote cluster, as the subject of a binding.
func (c *remoteCluster) self(ctx context.Context) (rbacv1.Subject, error) {
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

// mayBind reports whether akd may bind a cluster role somewhere: the optional
// ones are switched on by that right.
func (c *remoteCluster) mayBind(ctx context.Context, role string) (bool, error) {
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
		ResourceAttributes: &authorizationv1.ResourceAttributes{Group: rbacv1.GroupName, Resource: "clusterroles", Verb: "bind", Name: role},
	}}
	answer, err := c.client.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
	if err != nil {
		return false, fmt.Errorf("ask the remote cluster whether akd may bind %s: %w", role, err)
	}
	return answer.Status.Allowed, nil
}
