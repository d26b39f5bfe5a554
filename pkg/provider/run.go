package provider

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	vknode "github.com/virtual-kubelet/virtual-kubelet/node"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/config"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/kubeletapi"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/metrics"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

// connectTimeout bounds the questions that akd asks both clusters at its start.
const connectTimeout = 30 * time.Second

// Build says which akd this is.
type Build struct {
	Version, Revision string
}

// Run serves the configured node until ctx ends. A *UsageError says what the
// user has to change; any other error, why akd could not go on.
func Run(ctx context.Context, cfg *config.Configuration, build Build, logger *slog.Logger) error {
	d := &daemon{cfg: cfg, logger: logger, clock: clock.RealClock{}, metrics: metrics.New(metrics.Build(build), clock.RealClock{})}
	if err := d.connect(ctx); err != nil {
		return err
	}
	if err := d.assemble(ctx); err != nil {
		return err
	}
	logger.Info("akd starts", "node", cfg.NodeName, "localCluster", d.localUID, "remoteCluster", d.remoteUID,
		"localAPIServer", net.JoinHostPort(d.apiServer.Host, strconv.Itoa(int(d.apiServer.Port))))

	group, ctx := errgroup.WithContext(ctx)
	if d.metricsServer != nil {
		group.Go(func() error { return d.metricsServer.Run(ctx) })
	}
	group.Go(func() error { d.probe.run(ctx); return nil })
	if d.credential != nil {
		group.Go(func() error { return d.credential.run(ctx, d.leads) })
	}
	group.Go(func() error {
		if d.leadership == nil {
			return d.work(ctx)
		}
		return d.leadership.run(ctx, d.work)
	})
	err := group.Wait()
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	logger.Info("akd stopped", "node", cfg.NodeName)
	return err
}

// work serves the node until ctx ends.
func (d *daemon) work(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return d.kubelet.Run(ctx) })
	group.Go(func() error {
		(&memory{reconciles: d.loops.controller.taken.Load, release: debug.FreeOSMemory}).run(ctx)
		return nil
	})
	group.Go(func() error {
		return d.loops.run(ctx, func() { group.Go(func() error { return d.runNode(ctx) }) })
	})
	return group.Wait()
}

// leads reports whether this akd serves the node, rather than waits to.
func (d *daemon) leads() bool { return d.leadership == nil || d.leadership.leads.Load() }

// daemon is akd, wired.
type daemon struct {
	cfg    *config.Configuration
	logger *slog.Logger
	clock  clock.WithTicker

	metrics       *metrics.Metrics
	metricsServer *metrics.Server // nil when it is turned off
	localConfig   *rest.Config    // as the node, or as configured
	remoteConfig  *rest.Config
	own           kubernetes.Interface // the local cluster, as akd itself
	local         *localCluster
	remote        *remoteCluster
	localUID      types.UID
	remoteUID     types.UID
	apiServer     translate.APIServer
	// apiServerEndpoint is where the mirrored Service kubernetes leads, if it
	// was configured.
	apiServerEndpoint translate.APIServer
	address           string
	credential        *credential // nil for a kubeconfig in a file, or akd's own
	leadership        *leadership // nil for the only akd of the node

	loops   *loops
	probe   *probe
	node    *node
	kubelet *kubeletapi.Server
}

// connect makes the clients and learns which clusters they lead to.
func (d *daemon) connect(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	ownConfig, err := d.clientConfigs(ctx)
	if err != nil {
		return err
	}
	ownConfig.Wrap(d.metrics.Transport(metrics.Local))
	d.remoteConfig.Wrap(d.metrics.Transport(metrics.Remote))
	if d.own, err = kubernetes.NewForConfig(ownConfig); err != nil {
		return usagef("local cluster: %w", err)
	}
	d.localConfig = ownConfig
	if d.cfg.Local.Identity == config.LocalIdentityNode {
		d.localConfig = asNode(ownConfig, d.cfg.NodeName)
	}
	localClient, err := kubernetes.NewForConfig(d.localConfig)
	if err != nil {
		return usagef("local cluster: %w", err)
	}
	remoteClient, err := kubernetes.NewForConfig(d.remoteConfig)
	if err != nil {
		return usagef("remote cluster: %w", err)
	}
	if d.credential != nil {
		d.credential.client = map[string]kubernetes.Interface{"local": d.own, "remote": remoteClient}[d.credential.side]
	}
	d.local = &localCluster{client: localClient, node: d.cfg.NodeName}
	d.remote = &remoteCluster{client: remoteClient, node: d.cfg.NodeName}
	if err := d.identify(ctx); err != nil {
		return err
	}
	if d.apiServer, err = apiServer(ctx, d.cfg.Local.APIServer, localClient, ownConfig); err != nil {
		return err
	}
	if err := d.mirrorServices(ctx, ownConfig); err != nil {
		return err
	}
	if d.address = d.cfg.Node.Address; d.address == "" {
		d.address, err = ownAddress(ctx, ownConfig)
	}
	return err
}

// clientConfigs says how both clusters are reached. The local one's is akd's
// own, before it acts as the node.
func (d *daemon) clientConfigs(ctx context.Context) (own *rest.Config, err error) {
	configs := map[string]*rest.Config{}
	for _, side := range []struct{ name, secret, kubeconfig, context string }{
		{"local", d.cfg.Local.Secret, d.cfg.Local.Kubeconfig, d.cfg.Local.Context},
		{"remote", d.cfg.Remote.Secret, d.cfg.Remote.Kubeconfig, d.cfg.Remote.Context},
	} {
		if side.secret != "" {
			continue
		}
		if configs[side.name], err = clientConfig(side.name, side.kubeconfig, side.context); err != nil {
			return nil, err
		}
	}
	for _, side := range []struct{ name, home, secret string }{
		{"local", "remote", d.cfg.Local.Secret},
		{"remote", "local", d.cfg.Remote.Secret},
	} {
		if side.secret == "" {
			continue
		}
		home, err := kubernetes.NewForConfig(configs[side.home])
		if err != nil {
			return nil, usagef("%s cluster: %w", side.home, err)
		}
		if d.credential, err = newCredential(ctx, side.name, side.secret, home, d.logger); err != nil {
			return nil, err
		}
		configs[side.name] = tuned(d.credential.config())
	}
	d.remoteConfig = configs["remote"]
	return configs["local"], nil
}

// identify refuses to proxy a cluster to itself: its pods would be created
// again and again, each for the one before.
func (d *daemon) identify(ctx context.Context) (err error) {
	if d.localUID, err = clusterUID(ctx, "local", d.own); err != nil {
		return err
	}
	if d.remoteUID, err = clusterUID(ctx, "remote", d.remote.client); err != nil {
		return err
	}
	if d.localUID == d.remoteUID {
		return usagef("the local and the remote kubeconfig lead to the same cluster (kube-system has UID %s in both): give two different clusters", d.localUID)
	}
	return nil
}

// assemble wires the parts; it starts nothing.
func (d *daemon) assemble(ctx context.Context) error {
	d.probe = &probe{remote: d.remote, timeout: d.cfg.Sync.RemoteGracePeriod.Duration, clock: d.clock, answered: d.clock.Now()}
	d.loops = newLoops(d.local, d.remote, loopSettings{
		mapper:         d.mapper(),
		workers:        int(d.cfg.Sync.ConcurrentSyncs),
		resync:         d.cfg.Sync.ResyncPeriod.Duration,
		unusedTTL:      d.cfg.Sync.UnusedNamespaceTTL.Duration,
		linger:         copyLinger,
		maxOrphanShare: maxOrphanShare,
		clock:          d.clock,
		queueMetrics:   d.metrics.Queues(),
		observe:        d.metrics.ObserveReconcile,
		countToken:     d.metrics.CountTokenRenewal,
	}, d.logger)
	if err := d.assembleLeadership(); err != nil {
		return err
	}
	d.node = &node{spec: d.nodeSpec(), credential: d.credential, remote: d.remote, probe: d.probe, brake: d.loops.brake, clock: d.clock, logger: d.logger, lost: make(chan struct{}, 1)}
	if err := d.node.readRemote(ctx); err != nil {
		if apierrors.IsForbidden(err) {
			return usagef("akd may not list the remote nodes to learn their capacity: say what the node has with --node-capacity cpu=…,memory=…,pods=…, or grant list on nodes: %w", err)
		}
		return err
	}
	if err := d.assembleMetrics(); err != nil {
		return err
	}
	return d.assembleKubelet()
}

// assembleLeadership lets one of several akds of the node work, and tells those
// who look at the node when the credential is not renewed.
func (d *daemon) assembleLeadership() error {
	if d.credential != nil {
		d.credential.warn = d.warnOfNode
	}
	if d.cfg.LeaderElection.Lease == "" {
		return nil
	}
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("name this akd for the leader election: %w", err)
	}
	namespace, name, _ := strings.Cut(d.cfg.LeaderElection.Lease, "/")
	d.leadership = &leadership{
		client: d.own, lease: types.NamespacedName{Namespace: namespace, Name: name},
		identity: host + "_" + string(uuid.NewUUID()), logger: d.logger,
	}
	return nil
}

// warnOfNode makes an event of the node, as a kubelet does: by its name, for
// want of the Node's UID.
func (d *daemon) warnOfNode(ctx context.Context, reason, message string) {
	now := metav1.NewTime(d.clock.Now())
	err := d.local.createEvent(ctx, &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: fmt.Sprintf("%s.%x", d.cfg.NodeName, now.UnixNano())},
		InvolvedObject: corev1.ObjectReference{APIVersion: "v1", Kind: "Node", Name: d.cfg.NodeName, UID: types.UID(d.cfg.NodeName)},
		Source:         corev1.EventSource{Component: "akd", Host: d.cfg.NodeName},
		Type:           corev1.EventTypeWarning, Reason: reason, Message: message,
		FirstTimestamp: now, LastTimestamp: now, Count: 1,
	})
	if err != nil {
		d.logger.Debug("event not written", "reason", reason, "error", err)
	}
}

// isSynced is a readiness check. An akd that waits for the lease is ready to
// take over: a rollout goes on only when its new akd is.
func (d *daemon) isSynced(ctx context.Context) error {
	if !d.leads() {
		return nil
	}
	return d.loops.isSynced(ctx)
}

func (d *daemon) assembleMetrics() (err error) {
	d.metrics.CountPods(d.loops.phases)
	d.metrics.CountMirrored(d.loops.mirrored)
	d.metrics.WatchRemote(d.probe.lastAnswered)
	d.metrics.WatchLeader(d.leads)
	if d.credential != nil {
		d.metrics.WatchCredential(d.credential.expires, d.credential.failure)
	}
	if d.cfg.Metrics.Address == "" {
		return nil
	}
	d.metricsServer, err = metrics.NewServer(metrics.ServerConfig{
		Address: d.cfg.Metrics.Address, Gatherer: d.metrics.Gatherer(), Profiling: d.cfg.Profiling, Logger: d.logger,
		Ready: []metrics.Check{{Name: "caches", Check: d.isSynced}, {Name: "remote", Check: d.probe.check}},
	})
	return err
}

func (d *daemon) mapper() *translate.Mapper {
	return &translate.Mapper{
		Owner:             contract.Owner{Node: d.cfg.NodeName, ClusterUID: d.localUID},
		APIServer:         d.apiServer,
		APIServerEndpoint: d.apiServerEndpoint,
		ClusterDomain:     d.cfg.Node.ClusterDomain,
		Nameservers:       d.cfg.Node.ClusterDNS,
		PodSecurity:       string(d.cfg.Pods.PodSecurity),
		Env:               d.cfg.Pods.Env,
		NodeSelector:      d.cfg.Pods.NodeSelector,
		Tolerations:       d.cfg.Pods.Tolerations,
		RuntimeClassName:  d.cfg.Pods.RuntimeClassName,
		PriorityClassName: d.cfg.Pods.PriorityClassName,
		ResourceQuota:     d.cfg.Namespaces.ResourceQuota,
		LimitRange:        d.cfg.Namespaces.LimitRange,
		Isolate:           d.cfg.Namespaces.NetworkPolicy.Enabled,
		AllowFrom:         d.cfg.Namespaces.NetworkPolicy.AllowFrom,
	}
}

func (d *daemon) nodeSpec() nodeSpec {
	return nodeSpec{
		name:     d.cfg.NodeName,
		hostname: cmp.Or(d.cfg.Node.Hostname, d.cfg.NodeName),
		address:  d.address,
		port:     d.cfg.KubeletAPI.Port,
		capacity: d.cfg.Node.Capacity,
		labels:   d.cfg.Node.Labels,
		taints:   d.cfg.Node.Taints,
	}
}

func (d *daemon) assembleKubelet() error {
	auth, err := kubeletapi.NewAuth(kubeletapi.AuthConfig{
		NodeName: d.cfg.NodeName, Reviews: d.local.client, ClientCA: d.own, Logger: d.logger,
	})
	if err != nil {
		return err
	}
	certificates, err := kubeletapi.NewCertificates(kubeletapi.CertificateConfig{
		Mode:      kubeletapi.CertificateMode(d.cfg.KubeletAPI.Certificate.Mode),
		NodeName:  d.cfg.NodeName,
		Addresses: d.node.addresses,
		Client:    d.local.client,
		Dir:       d.cfg.KubeletAPI.Certificate.Directory,
		CertFile:  d.cfg.KubeletAPI.Certificate.CertFile,
		KeyFile:   d.cfg.KubeletAPI.Certificate.KeyFile,
		Logger:    d.logger,
	})
	if err != nil {
		return &UsageError{err}
	}
	pods := podLookup{local: d.loops.pods, spaces: d.loops.spaces}
	usage, err := kubeletapi.RemoteUsage(d.remoteConfig, pods)
	if err != nil {
		return err
	}
	d.node.certificate = certificates.State
	d.kubelet, err = kubeletapi.New(kubeletapi.Config{
		NodeName:        d.cfg.NodeName,
		Address:         net.JoinHostPort(d.cfg.KubeletAPI.Address, strconv.Itoa(int(d.cfg.KubeletAPI.Port))),
		Pods:            pods,
		Remote:          d.remoteConfig,
		Auth:            auth,
		Certificates:    certificates,
		Usage:           usage,
		Gatherer:        d.metrics.Gatherer(),
		Registerer:      d.metrics.Registerer(),
		Configz:         d.cfg,
		Health:          d.loops.isSynced,
		Limits:          kubeletapi.Limits{Streams: int(d.cfg.KubeletAPI.MaxStreams), Connections: int(d.cfg.KubeletAPI.MaxConnections)},
		AnonymousHealth: d.cfg.KubeletAPI.AnonymousHealth,
		Clock:           d.clock,
		Logger:          d.logger,
	})
	return err
}

// nodeChanged tells who looks at the Node as the local cluster has it.
func (d *daemon) nodeChanged(c change[*corev1.Node]) {
	d.node.changed(c)
	d.loops.reconciler.admission.nodeChanged(c)
}

// runNode registers the node and keeps its lease and status until ctx ends.
func (d *daemon) runNode(ctx context.Context) error {
	const pause = 2 * time.Second
	d.node.adopt(ctx, d.local)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { d.node.run(ctx); return nil })
	group.Go(func() error { newObjects(d.nodeChanged, func() {}).run(ctx, d.local.self()); return nil })
	group.Go(func() error {
		return wait.PollUntilContextCancel(ctx, pause, true, func(ctx context.Context) (bool, error) {
			controller, err := d.nodeController()
			if err != nil {
				return false, fmt.Errorf("make node controller: %w", err)
			}
			if err := controller.Run(ctx); err != nil && ctx.Err() == nil {
				d.logger.Warn("the node is not registered; trying again", "error", err)
			}
			return false, nil
		})
	})
	return group.Wait()
}

func (d *daemon) nodeController() (*vknode.NodeController, error) {
	nodes := d.local.client.CoreV1().Nodes()
	leases := d.local.client.CoordinationV1().Leases(corev1.NamespaceNodeLease)
	return vknode.NewNodeController(d.node, d.node.object(), nodes,
		vknode.WithNodeEnableLeaseV1(leases, vknode.DefaultLeaseDuration),
		vknode.WithNodeStatusUpdateErrorHandler(func(ctx context.Context, err error) error {
			if !apierrors.IsNotFound(err) {
				return err
			}
			d.logger.Warn("the node was deleted and is registered anew", "node", d.cfg.NodeName)
			_, err = nodes.Create(ctx, d.node.object(), metav1.CreateOptions{})
			return err
		}))
}
