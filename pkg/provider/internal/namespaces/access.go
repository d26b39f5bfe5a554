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

// tenantWorkers limits how many of a tenant's namespaces are read concurrently.
const tenantWorkers = 16

// access obtains and records akd's access to its own namespaces.
type access interface {
	// enter grants akd its rights in a namespace that has been verified as its
	// own. The rights may take effect milliseconds later.
	enter(ctx context.Context, remote string) error
	// keepsRecord reports whether a record lists akd's own namespaces.
	keepsRecord() bool
	// readRecord reads the record and returns a copy: local namespaces by remote.
	readRecord(ctx context.Context) (map[string]string, error)
	// record adds a remote namespace to the record before it is used.
	record(ctx context.Context, remote, local string) error
	// forget removes a deleted remote namespace from the record.
	forget(ctx context.Context, remote string) error
}

// administrator is the access of an akd that may list namespaces and has all
// rights in each: it has nothing to record and nothing to bind.
type administrator struct{}

func (administrator) enter(context.Context, string) error { return nil }

func (administrator) keepsRecord() bool { return false }

func (administrator) readRecord(context.Context) (map[string]string, error) {
	return map[string]string{}, nil
}

func (administrator) record(context.Context, string, string) error { return nil }

func (administrator) forget(context.Context, string) error { return nil }

// tenant is the access of an akd whose rights in the remote cluster are limited
// to the grants in manifests/. It may not list namespaces, so a record lists
// its own ones, and it has rights only in namespaces in which it has bound its
// role.
//
// The record is written before the namespace is created: a recorded namespace
// that does not exist costs one request, but an unrecorded one that exists
// would never be found again.
type tenant struct {
	remote  *cluster.Remote
	node    string
	subject rbacv1.Subject // akd itself
	roles   []string       // the cluster roles that akd binds
	logger  *slog.Logger

	mu       sync.Mutex
	recorded map[string]string // local namespaces by remote, as last read or written
}

// newTenant determines akd's own subject and the roles that it may bind.
func newTenant(ctx context.Context, remote *cluster.Remote, node string, logger *slog.Logger) (*tenant, error) {
	subject, err := remote.Self(ctx)
	if err != nil {
		return nil, err
	}
	roles := []string{contract.TenantRole}
	for _, role := range []string{
		contract.TenantMetricsRole, contract.TenantServicesRole, contract.TenantBudgetsRole, contract.TenantStorageRole,
	} {
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

// namespaces returns the recorded namespaces that exist. It recreates a lost
// record.
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

// readRecord recreates a lost record from memory.
func (t *tenant) readRecord(ctx context.Context) (map[string]string, error) {
	read, err := t.remote.ReadRecord(ctx)
	if apierrors.IsNotFound(err) {
		return t.snapshot(), t.makeRecord(ctx)
	}
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	t.recorded = read
	t.mu.Unlock()
	return t.snapshot(), nil
}

func (t *tenant) makeRecord(ctx context.Context) error {
	t.logger.Warn("the record of this node's remote namespaces was lost and is made anew: "+
		"akd will not find those that no local pod uses; look for them in the remote cluster by their label",
		"record", contract.SystemNamespace+"/"+contract.RecordName(t.node), "label", contract.LabelNodeName+"="+t.node)
	return t.remote.CreateRecord(ctx, t.snapshot())
}

// snapshot returns a copy of the record as held in memory.
func (t *tenant) snapshot() map[string]string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.recorded)
}

func (t *tenant) record(ctx context.Context, remote, local string) error {
	if recorded, is := t.snapshot()[remote]; is && recorded == local {
		return nil // SyncRecord finds out if it was lost since
	}
	err := t.remote.PatchRecord(ctx, map[string]*string{remote: &local})
	if err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	t.mu.Lock()
	t.recorded[remote] = local
	t.mu.Unlock()
	if err != nil {
		return t.makeRecord(ctx)
	}
	return nil
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
