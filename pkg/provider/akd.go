package provider

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/utils/clock"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/internal/disclosure"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/config"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/cluster"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/node"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/podsync"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/kubeletapi"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/metrics"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

// akd holds all parts that serve a node, wired together.
type akd struct {
	local      *cluster.Local
	controller *podsync.Controller
	node       *node.Node
	kubelet    *kubeletapi.Server
	leadership leadership
	// always lists the functions that every akd of the node runs, whether it leads
	// or stands by.
	always []func(context.Context) error
	clock  clock.WithTicker
	logger *slog.Logger
}

// assembler builds an akd from the clients; it starts nothing.
type assembler struct {
	cfg     *config.Configuration
	clients *clients
	metrics *metrics.Metrics
	clock   clock.WithTicker
	logger  *slog.Logger
}

func (s assembler) assemble(ctx context.Context) (*akd, error) {
	leadership, err := s.leadership()
	if err != nil {
		return nil, err
	}
	controller := s.controller()
	probe := node.NewProbe(s.clients.remote, s.cfg.Sync.RemoteGracePeriod.Duration, s.clock)
	spec := s.nodeSpec()
	certificates, err := s.certificates(spec)
	if err != nil {
		return nil, err
	}
	node, err := s.node(ctx, node.Config{
		Spec:        spec,
		Remote:      s.clients.remote,
		Probe:       probe,
		OrphansKept: controller.OrphansKept,
		CertificateSigned: func() (bool, string) {
			state := certificates.State()
			return !state.SelfSigned && state.Message == "", state.Message
		},
		Clock:  s.clock,
		Logger: s.logger,
	})
	if err != nil {
		return nil, err
	}
	kubelet, err := s.kubelet(controller, certificates)
	if err != nil {
		return nil, err
	}
	a := &akd{
		local:      s.clients.local,
		controller: controller,
		node:       node,
		kubelet:    kubelet,
		leadership: leadership,
		always:     []func(context.Context) error{func(ctx context.Context) error { probe.Run(ctx); return nil }},
		clock:      s.clock,
		logger:     s.logger,
	}
	if credential := s.clients.credential; credential != nil {
		a.always = append(a.always, func(ctx context.Context) error { return credential.Run(ctx, leadership.leads, s.warnOfNode) })
	}
	if s.cfg.Metrics.Address != "" {
		server, err := s.metricsServer(a, probe)
		if err != nil {
			return nil, err
		}
		a.always = append(a.always, server.Run)
	}
	s.watch(a, probe)
	return a, nil
}

func (s assembler) controller() *podsync.Controller {
	return podsync.New(s.clients.local, s.clients.remote, podsync.Config{
		Mapper:         s.mapper(),
		MirrorServices: s.cfg.Services == config.ServicesMirror,
		Workers:        int(s.cfg.Sync.ConcurrentSyncs),
		Resync:         s.cfg.Sync.ResyncPeriod.Duration,
		UnusedTTL:      s.cfg.Sync.UnusedNamespaceTTL.Duration,
		Linger:         podsync.CopyLinger,
		MaxOrphanShare: podsync.MaxOrphanShare,
		Clock:          s.clock,
		QueueMetrics:   s.metrics.Queues(),
		Observe:        s.metrics.ObserveReconcile,
		CountToken:     s.countToken,
	}, s.logger)
}

func (s assembler) countToken(err error) {
	result := metrics.ResultSuccess
	if err != nil {
		result = metrics.ResultError
	}
	s.metrics.CountTokenRenewal(result)
}

func (s assembler) mapper() *translate.Mapper {
	return &translate.Mapper{
		Owner:             contract.Owner{Node: s.cfg.NodeName, ClusterUID: s.clients.facts.localUID},
		APIServer:         s.clients.facts.apiServer,
		APIServerEndpoint: s.clients.facts.apiServerEndpoint,
		ClusterDomain:     s.cfg.Node.ClusterDomain,
		Nameservers:       s.cfg.Node.ClusterDNS,
		PodSecurity:       string(s.cfg.Pods.PodSecurity),
		Env:               s.cfg.Pods.Env,
		NodeSelector:      s.cfg.Pods.NodeSelector,
		Tolerations:       s.cfg.Pods.Tolerations,
		RuntimeClassName:  s.cfg.Pods.RuntimeClassName,
		PriorityClassName: s.cfg.Pods.PriorityClassName,
		ResourceQuota:     s.cfg.Namespaces.ResourceQuota,
		LimitRange:        s.cfg.Namespaces.LimitRange,
		Isolate:           s.cfg.Namespaces.NetworkPolicy.Enabled,
		AllowFrom:         s.cfg.Namespaces.NetworkPolicy.AllowFrom,
	}
}

func (s assembler) nodeSpec() node.Spec {
	return node.Spec{
		Name:     s.cfg.NodeName,
		Hostname: cmp.Or(s.cfg.Node.Hostname, s.cfg.NodeName),
		Address:  s.clients.facts.address,
		Port:     s.cfg.KubeletAPI.Port,
		Capacity: s.cfg.Node.Capacity,
		Labels:   s.cfg.Node.Labels,
		Taints:   s.cfg.Node.Taints,
	}
}

func (s assembler) node(ctx context.Context, nodeConfig node.Config) (*node.Node, error) {
	if s.clients.credential != nil {
		nodeConfig.Credential = s.clients.credential
	}
	node := node.New(nodeConfig)
	if err := node.ReadRemote(ctx); err != nil {
		if apierrors.IsForbidden(err) {
			return nil, usagef("akd may not list the remote nodes to learn their capacity: "+
				"say what the node has with --node-capacity cpu=…,memory=…,pods=…, or grant list on nodes: %w", err)
		}
		return nil, err
	}
	return node, nil
}

// leadership returns the leadership that lets only one of a node's akds be active
// at a time.
func (s assembler) leadership() (leadership, error) {
	if s.cfg.LeaderElection.Lease == "" {
		return onlyOne{}, nil
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("name this akd for the leader election: %w", err)
	}
	namespace, name, _ := strings.Cut(s.cfg.LeaderElection.Lease, "/")
	return &election{
		client:   s.clients.own,
		lease:    types.NamespacedName{Namespace: namespace, Name: name},
		identity: host + "_" + string(uuid.NewUUID()),
		logger:   s.logger,
	}, nil
}

// warnOfNode records an event on the node. Like a kubelet, it refers to the
// Node by name, because it does not have its UID.
func (s assembler) warnOfNode(ctx context.Context, reason, message string) {
	now := metav1.NewTime(s.clock.Now())
	node := s.cfg.NodeName
	err := s.clients.local.CreateEvent(ctx, &corev1.Event{
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
		s.logger.Debug("event not written", "reason", reason, "error", err)
	}
}

// watch registers the parts from which metrics are read.
func (s assembler) watch(a *akd, probe *node.Probe) {
	s.metrics.CountPods(a.controller.CountPhases)
	s.metrics.CountMirrored(a.controller.CountMirrored)
	s.metrics.WatchRemote(probe.LastAnswered)
	s.metrics.WatchLeader(a.leadership.leads)
	if credential := s.clients.credential; credential != nil {
		s.metrics.WatchCredential(credential.Expires, credential.Problem)
	}
}

func (s assembler) metricsServer(a *akd, probe *node.Probe) (*metrics.Server, error) {
	// A standby akd reports ready, because a rollout continues only once its new
	// akd is ready.
	synced := func(ctx context.Context) error {
		if !a.leadership.leads() {
			return nil
		}
		return a.controller.CheckSynced(ctx)
	}
	return metrics.NewServer(metrics.ServerConfig{
		Address:   s.cfg.Metrics.Address,
		Gatherer:  s.metrics.Gatherer(),
		Profiling: s.cfg.Profiling,
		Logger:    s.logger,
		Ready:     []metrics.Check{{Name: "caches", Check: synced}, {Name: "remote", Check: probe.Check}},
	})
}

func (s assembler) certificates(spec node.Spec) (*kubeletapi.Certificates, error) {
	settings := s.cfg.KubeletAPI.Certificate
	certificates, err := kubeletapi.NewCertificates(kubeletapi.CertificateConfig{
		Mode:      kubeletapi.CertificateMode(settings.Mode),
		NodeName:  s.cfg.NodeName,
		Addresses: spec.Addresses,
		Client:    s.clients.node,
		Dir:       settings.Directory,
		CertFile:  settings.CertFile,
		KeyFile:   settings.KeyFile,
		Logger:    s.logger,
	})
	if err != nil {
		return nil, &UsageError{err}
	}
	return certificates, nil
}

func (s assembler) kubelet(controller *podsync.Controller, certificates *kubeletapi.Certificates) (*kubeletapi.Server, error) {
	auth, err := kubeletapi.NewAuth(kubeletapi.AuthConfig{
		NodeName: s.cfg.NodeName,
		Reviews:  s.clients.node,
		ClientCA: s.clients.own,
		Logger:   s.logger,
	})
	if err != nil {
		return nil, err
	}
	pods := controller.Lookup()
	usage, err := kubeletapi.RemoteUsage(s.clients.remoteConfig, pods)
	if err != nil {
		return nil, err
	}
	settings := s.cfg.KubeletAPI
	return kubeletapi.New(kubeletapi.Config{
		NodeName:        s.cfg.NodeName,
		Address:         net.JoinHostPort(settings.Address, strconv.Itoa(int(settings.Port))),
		Pods:            pods,
		Remote:          s.clients.remoteConfig,
		Auth:            auth,
		Certificates:    certificates,
		Usage:           usage,
		Gatherer:        s.metrics.Gatherer(),
		Registerer:      s.metrics.Registerer(),
		Configz:         s.cfg,
		Health:          controller.CheckSynced,
		Limits:          kubeletapi.Limits{Streams: int(settings.MaxStreams), Connections: int(settings.MaxConnections)},
		AnonymousHealth: settings.AnonymousHealth,
		Clock:           s.clock,
		Logger:          s.logger,
	})
}
