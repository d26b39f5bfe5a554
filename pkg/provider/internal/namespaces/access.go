package namespaces

import (
	"context"
	"log/slog"
	"maps"
	"sync"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/cluster"
)

// tenantWorkers bounds how many of a tenant's namespaces are looked at together.
const tenantWorkers = 16

// access is what akd has to do to get into its own namespaces.
type access interface {
	// enter gives akd its rights in a namespace that was proved its own. The
	// rights may lag behind by milliseconds.
	enter(ctx context.Context, remote string) error
	// keepsRecord reports whether a record says which namespaces are akd's own.
	keepsRecord() bool
	// ReadRecord reads the record and returns a copy: local namespaces by remote.
	readRecord(ctx context.Context) (map[string]string, error)
	// record records a remote namespace that is about to be used.
	record(ctx context.Context, remote, local string) error
	// forget removes a remote namespace, which is known to be gone, from the record.
	forget(ctx context.Context, remote string) error
}

// administrator is akd where it may list namespaces and do all in each: there
// is nothing to record and nothing to bind.
type administrator struct{}

func (administrator) enter(context.Context, string) error { return nil }

func (administrator) keepsRecord() bool { return false }

func (administrator) readRecord(context.Context) (map[string]string, error) {
	return map[string]string{}, nil
}

func (administrator) record(context.Context, string, string) error { return nil }

func (administrator) forget(context.Context, string) error { return nil }

// tenant is akd in a remote cluster that lets it do no more than manifests/
// grants: it may not list namespaces, so that a record says which are its own,
// and it has rights in those alone in which it has bound its role.
//
// The record is written before the namespace: what is recorded and does not
// exist costs a look, what exists and is not recorded would never be found again.
type tenant struct {
	remote  *cluster.Remote
	node    string
	subject rbacv1.Subject // akd itself
	roles   []string       // the cluster roles that it binds
	logger  *slog.Logger

	mu       sync.Mutex
	recorded map[string]string // local namespaces by remote, as far as is known
}

// newTenant learns who akd is and which roles it may bind.
func newTenant(ctx context.Context, remote *cluster.Remote, node string, logger *slog.Logger) (*tenant, error) {
	subject, err := remote.Self(ctx)
	if err != nil {
		return nil, err
	}
	roles := []string{contract.TenantRole}
	for _, role := range []string{contract.TenantMetricsRole, contract.TenantServicesRole} {
		optional, err := remote.MayBind(ctx, role)
		if err != nil {
			return nil, err
		}
		if optional {
			roles = append(roles, role)
		}
	}
	return &tenant{remote: remote, node: node, subject: subject, roles: roles, logger: logger, recorded: map[string]string{}}, nil
}

// namespaces returns those of the record that exist. A lost record is made anew.
func (t *tenant) namespaces(ctx context.Context) ([]corev1.Namespace, error) {
	recorded, err := t.readRecord(ctx)
	if err != nil {
		return nil, err
	}
	var (
		mu    sync.Mutex
		found []corev1.Namespace
	)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(tenantWorkers)
	for name := range recorded {
		group.Go(func() error {
			namespace, err := t.remote.GetNamespace(ctx, name)
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

func (t *tenant) keepsRecord() bool { return true }

// ReadRecord makes the record anew, of what is known, if it is lost.
func (t *tenant) readRecord(ctx context.Context) (map[string]string, error) {
	read, err := t.remote.ReadRecord(ctx)
	if apierrors.IsNotFound(err) {
		return t.known(), t.makeRecord(ctx)
	}
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	t.recorded = read
	t.mu.Unlock()
	return t.known(), nil
}

func (t *tenant) makeRecord(ctx context.Context) error {
	t.logger.Warn("the record of this node's remote namespaces was lost and is made anew: "+
		"akd will not find those that no local pod uses; look for them in the remote cluster by their label",
		"record", contract.SystemNamespace+"/"+contract.RecordName(t.node), "label", contract.LabelNodeName+"="+t.node)
	return t.remote.CreateRecord(ctx, t.known())
}

// known returns a copy of the record, as far as it is known.
func (t *tenant) known() map[string]string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.recorded)
}

func (t *tenant) record(ctx context.Context, remote, local string) error {
	t.mu.Lock()
	t.recorded[remote] = local
	t.mu.Unlock()
	err := t.remote.PatchRecord(ctx, map[string]*string{remote: &local})
	if apierrors.IsNotFound(err) {
		return t.makeRecord(ctx)
	}
	return err
}

func (t *tenant) forget(ctx context.Context, remote string) error {
	if err := t.remote.PatchRecord(ctx, map[string]*string{remote: nil}); err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.recorded, remote)
	return nil
}

func (t *tenant) enter(ctx context.Context, remote string) error {
	for _, role := range t.roles {
		if err := t.remote.BindRole(ctx, remote, role, t.subject); err != nil {
			return err
		}
	}
	return nil
}
