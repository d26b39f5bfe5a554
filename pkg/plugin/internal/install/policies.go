package install

import (
	"context"
	"errors"
	"fmt"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/failure"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/rights"
)

// How often each API server has to refuse akd in a row, if they can be asked one
// by one, and if the load is balanced between an unknown number of them.
const (
	roundsDirect   = 3
	roundsBalanced = 12
)

// awaitPolicies waits until each policy refuses akd what is not its own, on each
// API server: before that nobody gets a credential. Each API server reads policies
// by its own watch, a moment after they were stored.
func (i *installer) awaitPolicies(ctx context.Context) (string, error) {
	if i.values.Unconfined {
		return "none: the remote cluster is not protected from akd's credential", nil
	}
	return i.awaitConfinement(ctx, i.both.Remote, i.checkPolicies)
}

// awaitConfinement waits until check says that akd is confined in a cluster, on each of its
// API servers a number of times.
func (i *installer) awaitConfinement(
	ctx context.Context, c *kubeclient.Cluster, check func(ctx context.Context, servers []*kubeclient.Cluster, rounds int) error,
) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, i.options.timeout)
	defer cancel()
	servers, err := c.Servers(ctx)
	if err != nil {
		return "", err
	}
	rounds, outcome := roundsDirect, fmt.Sprintf("on each of %d API servers", len(servers))
	if len(servers) == 0 {
		servers, rounds, outcome = []*kubeclient.Cluster{c}, roundsBalanced, fmt.Sprintf("%d times in a row", roundsBalanced)
	}
	var last error
	err = kubeclient.Until(ctx, func(ctx context.Context) (bool, string, error) {
		if found := check(ctx, servers, rounds); last == nil || ctx.Err() == nil {
			last = found // one that time cuts short says nothing new
		}
		switch {
		case errors.Is(last, kubeclient.ErrMayNotActAsAKD):
			return false, "", last
		case last != nil:
			return false, last.Error(), nil //nolint:nilerr // the policies, or akd's rights, lag behind
		}
		return true, "", nil
	})
	for _, hint := range failure.Hints(last) {
		err = failure.Hintf(err, "%s", hint)
	}
	return outcome, err
}

// checkPolicies returns nil if each policy refuses akd what is not its own, a number of
// times on each API server, and if akd gets a namespace.
func (i *installer) checkPolicies(ctx context.Context, servers []*kubeclient.Cluster, rounds int) error {
	trials, err := i.trials(ctx)
	if err != nil {
		return err
	}
	if err := i.tryAll(ctx, servers, rounds, trials); err != nil {
		return err
	}
	// The one in which pods are tried may be older than the policies, and than what the
	// remote cluster demands.
	err = rights.TryNamespace(ctx, i.both.Remote, i.both.Owner(i.options.node), &i.values)
	if rights.IsDenied(err) {
		return failure.Hintf(fmt.Errorf("open a namespace as akd: %w", err), "%s", rights.OnRefusedNamespace)
	}
	return nil
}

// tryAll returns nil if each trial is refused by its policy, a number of times on each API
// server.
func (i *installer) tryAll(ctx context.Context, servers []*kubeclient.Cluster, rounds int, trials []rights.Trial) error {
	for range rounds {
		for _, server := range servers {
			err := rights.CheckConfinement(ctx, server, i.options.node, trials)
			if errors.Is(err, kubeclient.ErrMayNotActAsAKD) {
				return failure.Hintf(err, "ask an administrator of the %s cluster for that right: install tests with it whether akd is confined",
					server.Side)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// trials are those of every policy of the node. Pods and Services are tried in the
// remote namespace of actual-system, which the probe pod of install uses soon.
func (i *installer) trials(ctx context.Context) ([]rights.Trial, error) {
	owner := i.both.Owner(i.options.node)
	namespace, err := i.openNamespace(ctx, owner)
	if err != nil {
		return nil, err
	}
	return rights.Trials(owner, namespace, &i.values), nil
}

// openNamespace has akd create the remote namespace of actual-system and give
// itself its rights there, as akd does it later.
func (i *installer) openNamespace(ctx context.Context, owner contract.Owner) (string, error) {
	akd, err := i.both.Remote.AsAKD(ctx, owner.Node)
	if err != nil {
		return "", err
	}
	name := contract.RemoteNamespace(owner.Node, contract.SystemNamespace)
	namespace, err := akd.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		made := rights.Namespace(owner, &i.values, contract.SystemNamespace)
		namespace, err = akd.CoreV1().Namespaces().Create(ctx, made, metav1.CreateOptions{})
		err = failure.Hintf(err, "%s", rights.OnRefusedNamespace)
	}
	switch {
	case err != nil:
		return "", fmt.Errorf("open a namespace as akd: %w", err)
	case namespace.DeletionTimestamp != nil:
		return "", fmt.Errorf("remote namespace %s is still being deleted", name)
	}
	if err := owner.OwnsNamespace(namespace, contract.SystemNamespace); err != nil {
		return "", err
	}
	return name, i.enter(ctx, akd, owner, name)
}

// enter binds the roles of a tenant in a namespace.
func (i *installer) enter(ctx context.Context, akd kubernetes.Interface, owner contract.Owner, namespace string) error {
	roles := []string{contract.TenantRole}
	if i.values.ReadMetrics {
		roles = append(roles, contract.TenantMetricsRole)
	}
	if i.values.MirrorServices {
		roles = append(roles, contract.TenantServicesRole)
	}
	if i.values.MirrorBudgets {
		roles = append(roles, contract.TenantBudgetsRole)
	}
	if i.values.Storage.Enabled {
		roles = append(roles, contract.TenantStorageRole)
	}
	for _, role := range roles {
		binding := &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: role, Labels: owner.ObjectLabels()},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: contract.SystemNamespace, Name: owner.Node}},
		}
		_, err := akd.RbacV1().RoleBindings(namespace).Create(ctx, binding, metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("bind cluster role %s as akd: %w", role, err)
		}
	}
	return nil
}
