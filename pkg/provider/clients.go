package provider

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/internal/disclosure"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/config"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/cluster"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/credential"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/metrics"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

// connectTimeout limits the requests that akd sends to both clusters at
// startup.
const connectTimeout = 30 * time.Second

// The two sides of akd, as named in messages and metrics.
const (
	sideLocal  = "local"
	sideRemote = "remote"
)

// clients holds akd's clients for both clusters.
type clients struct {
	own          kubernetes.Interface // the local cluster, as akd itself
	node         kubernetes.Interface // the local cluster, as the node or as configured
	ownConfig    *rest.Config
	nodeConfig   *rest.Config
	proxyConfig  *rest.Config
	remoteConfig *rest.Config
	local        *cluster.Local
	remote       *cluster.Remote
	credential   *credential.Credential // nil for kubeconfigs in files, or akd's own service account
	facts        facts
}

// facts holds the facts that akd reads from the clusters at startup.
type facts struct {
	localUID  types.UID
	remoteUID types.UID
	// apiServer is the address at which remote pods reach the local API server.
	apiServer translate.APIServer
	// apiServerEndpoint is the endpoint of the mirrored Service kubernetes, if
	// configured.
	apiServerEndpoint translate.APIServer
	// address is the address at which the local API server reaches akd.
	address string
}

// connector creates the clients.
type connector struct {
	cfg     *config.Configuration
	metrics *metrics.Metrics
	clock   clock.WithTicker
	logger  *slog.Logger
}

// connect creates the clients and identifies the clusters that they reach.
func (c connector) connect(ctx context.Context) (*clients, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	ways, err := c.ways(ctx)
	if err != nil {
		return nil, err
	}
	asNode, asProxy := c.identities(ways.local)
	own, err := newClient(sideLocal, ways.local)
	if err != nil {
		return nil, err
	}
	made, err := newClients(asNode, asProxy, ways.remote)
	if err != nil {
		return nil, err
	}
	connected := &clients{
		own:          own,
		ownConfig:    ways.local,
		node:         made.node,
		nodeConfig:   asNode,
		proxyConfig:  asProxy,
		remoteConfig: ways.remote,
		local:        cluster.NewLocal(cluster.Clients{Node: made.node, Proxy: made.proxy, Own: own}, c.cfg.NodeName),
		credential:   ways.credential,
	}
	if connected.facts, err = c.askBoth(ctx, connected, made.remote, ways.local); err != nil {
		return nil, err
	}
	connected.remote = cluster.NewRemote(made.remote, contract.Owner{Node: c.cfg.NodeName, ClusterUID: connected.facts.localUID})
	return connected, nil
}

// interfaces are clients for the local cluster, as the node and as kube-proxy, and
// for the remote cluster.
type interfaces struct{ node, proxy, remote kubernetes.Interface }

func newClients(asNode, asProxy, toRemote *rest.Config) (made interfaces, err error) {
	if made.node, err = newClient(sideLocal, asNode); err != nil {
		return interfaces{}, err
	}
	if made.proxy, err = newClient(sideLocal, asProxy); err != nil {
		return interfaces{}, err
	}
	made.remote, err = newClient(sideRemote, toRemote)
	return made, err
}

// served is what an akd reads and writes while it leads.
type served struct {
	local  *cluster.Local
	remote *cluster.Remote
}

// fenced returns both clusters for the work of the leader; see fence.
func (c *clients) fenced(owner contract.Owner, leads func() bool) (*served, error) {
	behind := func(cfg *rest.Config) *rest.Config {
		cfg = rest.CopyConfig(cfg)
		cfg.Wrap(func(next http.RoundTripper) http.RoundTripper { return &fence{next: next, leads: leads} })
		return cfg
	}
	made, err := newClients(behind(c.nodeConfig), behind(c.proxyConfig), behind(c.remoteConfig))
	if err != nil {
		return nil, err
	}
	own, err := newClient(sideLocal, behind(c.ownConfig))
	if err != nil {
		return nil, err
	}
	local := cluster.Clients{Node: made.node, Proxy: made.proxy, Own: own}
	return &served{local: cluster.NewLocal(local, owner.Node), remote: cluster.NewRemote(made.remote, owner)}, nil
}

// warnOfNode returns a function that records an event on the node. Like a kubelet,
// the event refers to the Node by name, because akd does not have its UID.
func (c *clients) warnOfNode(node string, clock clock.PassiveClock, logger *slog.Logger) credential.Warn {
	return func(ctx context.Context, reason, message string) {
		now := metav1.NewTime(clock.Now())
		err := c.local.CreateEvent(ctx, &corev1.Event{
			ObjectMeta:     metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: fmt.Sprintf("%s.%x", node, now.UnixNano())},
			InvolvedObject: corev1.ObjectReference{APIVersion: "v1", Kind: "Node", Name: node, UID: types.UID(node)},
			Source:         corev1.EventSource{Component: contract.UserAgent, Host: node},
			Type:           corev1.EventTypeWarning,
			Reason:         reason,
			Message:        disclosure.Text(message),
			FirstTimestamp: now,
			LastTimestamp:  now,
			Count:          1,
		})
		if err != nil {
			logger.Debug("event not written", "reason", reason, "error", err)
		}
	}
}

// newClient makes a client for one side.
func newClient(side string, cfg *rest.Config) (kubernetes.Interface, error) {
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, usagef("%s cluster: %w", side, err)
	}
	return client, nil
}

// ways describes how akd reaches both clusters.
type ways struct {
	local      *rest.Config // akd's own, before it acts as the node
	remote     *rest.Config
	credential *credential.Credential // nil for kubeconfigs in files
}

func (c connector) ways(ctx context.Context) (w ways, err error) {
	local, remote := c.cfg.Local, c.cfg.Remote
	if local.Secret == "" {
		if w.local, err = c.fromFile(sideLocal, local.Kubeconfig, local.Context); err != nil {
			return ways{}, err
		}
	}
	if remote.Secret == "" {
		if w.remote, err = c.fromFile(sideRemote, remote.Kubeconfig, remote.Context); err != nil {
			return ways{}, err
		}
	}
	switch {
	case local.Secret != "":
		w.local, w.credential, err = c.fromSecret(ctx, sideLocal, local.Secret, w.remote)
	case remote.Secret != "":
		w.remote, w.credential, err = c.fromSecret(ctx, sideRemote, remote.Secret, w.local)
	}
	return w, err
}

func (c connector) fromFile(side, kubeconfig, kubeContext string) (*rest.Config, error) {
	cfg, err := load(kubeconfig, kubeContext)
	if err != nil {
		return nil, usagef("%s cluster: %w: give a kubeconfig that works with --%s-kubeconfig", side, err, side)
	}
	return c.prepared(side, cfg), nil
}

// fromSecret reads the credential for one side from a Secret in the other
// side's cluster, which home reaches.
func (c connector) fromSecret(ctx context.Context, side, secret string, home *rest.Config) (*rest.Config, *credential.Credential, error) {
	client, err := kubernetes.NewForConfig(home)
	if err != nil {
		return nil, nil, usagef("the cluster with secret %s: %w", secret, err)
	}
	opened, err := credential.New(ctx, credential.Config{
		Side:   side,
		Secret: secret,
		Home:   client,
		NewClient: func(cfg *rest.Config) (kubernetes.Interface, error) {
			return kubernetes.NewForConfig(c.prepared(side, cfg))
		},
		Clock:  c.clock,
		Logger: c.logger,
	})
	if invalid, ok := errors.AsType[*credential.InvalidError](err); ok {
		return nil, nil, &UsageError{invalid}
	}
	if err != nil {
		return nil, nil, err
	}
	return c.prepared(side, opened.ClientConfig()), opened, nil
}

// prepared applies the settings shared by all clients of a side.
func (c connector) prepared(side string, cfg *rest.Config) *rest.Config {
	cfg = tuned(cfg)
	counted := metrics.Local
	if side == sideRemote {
		counted = metrics.Remote
	}
	cfg.Wrap(c.metrics.Transport(counted))
	return cfg
}

// identities returns the configurations with which akd acts in the local
// cluster: as the node and, to watch Services, as kube-proxy.
func (c connector) identities(own *rest.Config) (asNode, asProxy *rest.Config) {
	if c.cfg.Local.Identity == config.LocalIdentityNode {
		return impersonateNode(own, c.cfg.NodeName), impersonateProxy(own)
	}
	return own, own
}

// askBoth requests from both clusters the facts that akd needs before it starts
// anything.
func (c connector) askBoth(ctx context.Context, connected *clients, remote kubernetes.Interface, own *rest.Config) (facts, error) {
	var (
		found facts
		err   error
	)
	if found.localUID, err = cluster.UID(ctx, sideLocal, connected.own); err != nil {
		return facts{}, c.rejected(connected, sideLocal, err)
	}
	if found.remoteUID, err = cluster.UID(ctx, sideRemote, remote); err != nil {
		return facts{}, c.rejected(connected, sideRemote, err)
	}
	// If a cluster were its own remote, akd would create another pod for each pod
	// that it created.
	if found.localUID == found.remoteUID {
		return facts{}, usagef("the local and the remote kubeconfig lead to the same cluster (kube-system has UID %s in both): "+
			"give two different clusters", found.localUID)
	}
	if found.apiServer, err = apiServer(ctx, c.cfg.Local.APIServer, connected.local, own); err != nil {
		return facts{}, err
	}
	if c.cfg.Services.Reached() {
		if err := c.askServices(ctx, connected.local, &found); err != nil {
			return facts{}, err
		}
	}
	if c.cfg.DisruptionBudgets == config.BudgetsMirror {
		if err := askBudgets(ctx, connected.local); err != nil {
			return facts{}, err
		}
	}
	if c.cfg.Storage.Mode == config.StorageClaims {
		if err := askVolumes(ctx, connected.local); err != nil {
			return facts{}, err
		}
	}
	if found.address = c.cfg.Node.Address; found.address == "" {
		found.address, err = ownAddress(ctx, own)
	}
	return found, err
}

// askBudgets checks akd's own right to follow PodDisruptionBudgets.
func askBudgets(ctx context.Context, local *cluster.Local) error {
	err := local.CanFollowBudgets(ctx)
	if apierrors.IsForbidden(err) {
		return usagef("akd may not follow the local poddisruptionbudgets, which disruptionBudgets: mirror needs: "+
			"let its service account list and watch poddisruptionbudgets.policy, or set disruptionBudgets: none: %w", err)
	}
	return err
}

// askVolumes checks akd's own right to follow PersistentVolumes and their claims.
func askVolumes(ctx context.Context, local *cluster.Local) error {
	err := local.CanFollowVolumes(ctx)
	if apierrors.IsForbidden(err) {
		return usagef("akd may not follow the local volumes, which storage.mode: claims needs: "+
			"kubectl actual install --storage=claims gives it the rights, or set storage.mode: none: %w", err)
	}
	return err
}

// askServices checks the prerequisites of reaching Services: for mirroring,
// kube-proxy's right to watch them; and the address that every pod in the local
// cluster uses for its API server.
func (c connector) askServices(ctx context.Context, local *cluster.Local, found *facts) error {
	if c.cfg.Services == config.ServicesMirror {
		if err := local.CanFollowEndpoints(ctx); apierrors.IsForbidden(err) {
			return usagef("akd may not follow the endpoints of local services, which services: mirror needs: "+
				"let its service account impersonate the user %s, or set services: none: %w", proxyUser, err)
		} else if err != nil {
			return err
		}
	}
	service, err := local.APIServerService(ctx)
	if err != nil {
		return err
	}
	if c.cfg.Local.APIServer != "" {
		found.apiServerEndpoint = found.apiServer
	}
	found.apiServer = service
	return nil
}
