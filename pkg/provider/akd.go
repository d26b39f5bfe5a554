package provider

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/utils/clock"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/internal/remotenodes"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/config"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/cluster"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/node"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/podsync"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/store"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/kubeletapi"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/metrics"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

// akd holds all parts that run from start to end, and begins a term whenever this
// akd is to serve the node.
type akd struct {
	local      *cluster.Local
	node       *node.Node
	probe      *node.Probe
	leadership leadership
	newTerm    func() (*term, error)
	// always lists the functions that every akd of the node runs, whether it leads
	// or stands by.
	always []func(context.Context) error
	clock  clock.WithTicker
	logger *slog.Logger

	current atomic.Pointer[term] // nil while this akd stands by
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
	served, err := s.clients.fenced(s.owner(), leadership.leads)
	if err != nil {
		return nil, err
	}
	spec := s.nodeSpec()
	certificates, err := s.certificates(spec)
	if err != nil {
		return nil, err
	}
	a := &akd{
		local:      served.local,
		probe:      node.NewProbe(s.clients.remote, s.cfg.Sync.RemoteGracePeriod.Duration, s.clock),
		leadership: leadership,
		clock:      s.clock,
		logger:     s.logger,
	}
	a.node, err = s.node(ctx, node.Config{
		Spec:        spec,
		Remote:      s.clients.remote,
		Probe:       a.probe,
		OrphansKept: a.orphansKept,
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
	a.newTerm = func() (*term, error) { return s.term(served, certificates, a.node.Sizes) }
	a.always = []func(context.Context) error{func(ctx context.Context) error { a.probe.Run(ctx); return nil }}
	if credential := s.clients.credential; credential != nil {
		warn := s.clients.warnOfNode(s.cfg.NodeName, s.clock, s.logger)
		a.always = append(a.always, func(ctx context.Context) error { return credential.Run(ctx, leadership.leads, warn) })
	}
	s.watch(a)
	s.tellOfRestores(served)
	return a, nil
}

// term makes the parts that serve the node while this akd leads. Their caches are
// empty, because others have written since the last term.
func (s assembler) term(served *served, certificates *kubeletapi.Certificates, sizes func() []corev1.ResourceList) (*term, error) {
	t := &term{controller: s.controller(served, sizes), metrics: s.metrics.Scope(), clock: s.clock}
	var err error
	if t.kubelet, err = s.kubelet(t, certificates); err != nil {
		t.metrics.Close()
		return nil, err
	}
	return t, nil
}

// tellOfRestores logs when a cluster has gone back in time.
func (s assembler) tellOfRestores(served *served) {
	for side, timeline := range map[string]*store.Timeline{sideLocal: served.local.Timeline(), sideRemote: served.remote.Timeline()} {
		timeline.Notify(func(known, current string) {
			s.logger.Warn("the cluster has gone back in time, as after a restore from a backup: akd reads everything in it again",
				"cluster", side, "knownVersion", known, "currentVersion", current)
		})
	}
}

func (s assembler) controller(served *served, sizes func() []corev1.ResourceList) *podsync.Controller {
	return podsync.New(served.local, served.remote, podsync.Config{
		Mapper:           s.mapper(),
		MirrorServices:   s.cfg.Services == config.ServicesMirror,
		ReachServices:    s.cfg.Services.Reached(),
		MirrorBudgets:    s.cfg.DisruptionBudgets == config.BudgetsMirror,
		RemoteClusterUID: s.clients.facts.remoteUID,
		Workers:          int(s.cfg.Sync.ConcurrentSyncs),
		Resync:           s.cfg.Sync.ResyncPeriod.Duration,
		UnusedTTL:        s.cfg.Sync.UnusedNamespaceTTL.Duration,
		Linger:           podsync.CopyLinger,
		MaxReferences:    int(s.cfg.Limits.References),
		Sizes:            sizes,
		MaxOrphanShare:   podsync.MaxOrphanShare,
		Clock:            s.clock,
		QueueMetrics:     s.metrics.Queues(),
		Observe:          s.metrics.ObserveReconcile,
		CountToken:       s.countToken,
	}, s.logger)
}

func (s assembler) countToken(err error) {
	result := metrics.ResultSuccess
	if err != nil {
		result = metrics.ResultError
	}
	s.metrics.CountTokenRenewal(result)
}

func (s assembler) owner() contract.Owner {
	return contract.Owner{Node: s.cfg.NodeName, ClusterUID: s.clients.facts.localUID}
}

func (s assembler) mapper() *translate.Mapper {
	limits := s.cfg.Limits
	return &translate.Mapper{
		Bounds: translate.Bounds{
			References:   int(limits.ReferencesPerPod),
			Tokens:       int(limits.TokensPerPod),
			Bundles:      int(limits.TrustBundlesPerPod),
			Certificates: int(limits.CertificatesPerPod),
		},
		Owner:                s.owner(),
		APIServer:            s.clients.facts.apiServer,
		APIServerEndpoint:    s.clients.facts.apiServerEndpoint,
		ClusterDomain:        s.cfg.Node.ClusterDomain,
		Nameservers:          s.cfg.Node.ClusterDNS,
		PodSecurity:          string(s.cfg.Pods.PodSecurity),
		Env:                  s.cfg.Pods.Env,
		PodLabels:            translate.NewKeyFilter(s.cfg.Pods.Labels.Allow, s.cfg.Pods.Labels.Deny),
		PodAnnotations:       translate.NewKeyFilter(s.cfg.Pods.Annotations.Allow, s.cfg.Pods.Annotations.Deny),
		NodeSelector:         s.cfg.Pods.NodeSelector,
		Tolerations:          s.cfg.Pods.Tolerations,
		RuntimeClassName:     s.cfg.Pods.RuntimeClassName,
		PriorityClassName:    s.cfg.Pods.PriorityClassName,
		Placement:            translate.Placement(s.cfg.Pods.Placement),
		SafeToEvict:          s.cfg.Pods.SafeToEvict,
		Storage:              s.cfg.Storage.Mode == config.StorageClaims,
		StorageClasses:       s.cfg.Storage.Classes,
		Colocate:             s.cfg.Storage.Colocate,
		MaxUnevictable:       s.cfg.Limits.UnevictablePerBudget,
		NodeLabels:           slices.AppendSeq(remotenodes.SharedLabels(), maps.Keys(s.cfg.Node.Labels)),
		ResourceQuota:        s.cfg.Namespaces.ResourceQuota,
		LimitRange:           s.cfg.Namespaces.LimitRange,
		Isolate:              s.cfg.Namespaces.NetworkPolicy.Enabled,
		AllowFrom:            s.cfg.Namespaces.NetworkPolicy.AllowFrom,
		InstalledLabels:      s.cfg.Namespaces.Labels,
		InstalledAnnotations: s.cfg.Namespaces.Annotations,
	}
}

func (s assembler) nodeSpec() node.Spec {
	return node.Spec{
		Name:     s.cfg.NodeName,
		Hostname: cmp.Or(s.cfg.Node.Hostname, s.cfg.NodeName),
		Address:  s.clients.facts.address,
		Port:     s.cfg.KubeletAPI.Port,
		Capacity: s.cfg.Node.Capacity,
		Features: s.cfg.Node.DeclaredFeatures,
		Labels:   s.cfg.Node.Labels,
		Taints:   s.cfg.Node.Taints,
		Placement: remotenodes.Placement{
			NodeSelector: s.cfg.Pods.NodeSelector,
			Tolerations:  slices.Concat(s.cfg.Pods.Tolerations, s.cfg.Pods.Placement.Tolerations),
		},
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
	identity := host + "_" + string(uuid.NewUUID())
	return newElection(s.clients.own, types.NamespacedName{Namespace: namespace, Name: name}, identity, s.logger), nil
}

// watch registers the parts from which metrics are read.
func (s assembler) watch(a *akd) {
	s.metrics.CountPods(ofTerm(a, (*podsync.Controller).CountPhases))
	s.metrics.CountRemotelyPending(ofTerm(a, (*podsync.Controller).CountRemotelyPending))
	s.metrics.CountVolumes(ofTerm(a, (*podsync.Controller).CountVolumes))
	s.metrics.CountMirrored(ofTerm(a, (*podsync.Controller).CountMirrored))
	s.metrics.WatchRemote(a.probe.LastAnswered)
	s.metrics.WatchLeader(a.leadership.leads)
	if credential := s.clients.credential; credential != nil {
		s.metrics.WatchCredential(credential.Expires, credential.Problem)
	}
}

func (s assembler) certificates(spec node.Spec) (*kubeletapi.Certificates, error) {
	settings := s.cfg.KubeletAPI.Certificate
	certificates, err := kubeletapi.NewCertificates(kubeletapi.CertificateConfig{
		Mode:      kubeletapi.CertificateMode(settings.Mode),
		NodeName:  s.cfg.NodeName,
		Addresses: spec.Addresses,
		Client:    s.clients.node,
		Signer:    settings.Signer,
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

func (s assembler) kubelet(t *term, certificates *kubeletapi.Certificates) (*kubeletapi.Server, error) {
	auth, err := kubeletapi.NewAuth(kubeletapi.AuthConfig{
		NodeName: s.cfg.NodeName,
		Reviews:  s.clients.node,
		ClientCA: s.clients.own,
		Logger:   s.logger,
	})
	if err != nil {
		return nil, err
	}
	pods := t.controller.Lookup()
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
		Registerer:      t.metrics,
		Configz:         s.cfg,
		Health:          t.controller.CheckSynced,
		Limits:          kubeletapi.Limits{Streams: int(settings.MaxStreams), Connections: int(settings.MaxConnections)},
		AnonymousHealth: settings.AnonymousHealth,
		Clock:           s.clock,
		Logger:          s.logger,
	})
}
