package approver

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/utils/clock"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/internal/servingrequest"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/metrics"
)

// Options are those of akd approve.
type Options struct {
	// Node is the node whose requests are approved. Hostname is the one that it was
	// installed with; if it is empty, it is the node's name.
	Node, Hostname string
	// Signer is whom the requests are for.
	Signer string
	// Kubeconfig leads to the local cluster. If it is empty, the pod's own service
	// account is used.
	Kubeconfig string
	// Address is where to serve /healthz and /readyz.
	Address string
}

// Run approves the requests of a node, and serves probes, until ctx ends.
func Run(ctx context.Context, options Options, logger *slog.Logger) error {
	client, err := connect(options.Kubeconfig)
	if err != nil {
		return fmt.Errorf("local cluster: %w", err)
	}
	a, err := New(Config{
		Server: servingrequest.Server{
			Node:     options.Node,
			Hostname: cmp.Or(options.Hostname, options.Node),
			Signer:   options.Signer,
		},
		Client: client,
		Clock:  clock.RealClock{},
		Logger: logger,
	})
	if err != nil {
		return err
	}
	probes, err := metrics.NewServer(metrics.ServerConfig{
		Address:  options.Address,
		Gatherer: prometheus.NewRegistry(),
		Live:     []metrics.Check{{Name: "watches", Check: a.CheckLive}},
		Ready:    []metrics.Check{{Name: "watches", Check: a.CheckReady}},
		Logger:   logger,
	})
	if err != nil {
		return err
	}
	logger.Info("approver started", "node", options.Node, "signer", options.Signer)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return a.Run(ctx) })
	group.Go(func() error { return probes.Run(ctx) })
	return group.Wait()
}

func connect(kubeconfig string) (kubernetes.Interface, error) {
	cfg, err := rest.InClusterConfig()
	if kubeconfig != "" {
		cfg, err = clientcmd.BuildConfigFromFlags("", kubeconfig)
	}
	if err != nil {
		return nil, err
	}
	cfg.UserAgent = contract.ApproverUserAgent
	return kubernetes.NewForConfig(cfg)
}
