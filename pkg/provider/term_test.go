package provider

import (
	"context"
	"log/slog"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"

	"github.com/actual-kubelets/actual-kubelets/pkg/provider/config"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/metrics"
)

// Whatever serves the node is made again for each term, in the same process: it
// ends with its term, and leaves nothing behind that the next one needs, such as
// the names of its metrics.
func TestTerms(t *testing.T) {
	t.Parallel()
	nowhere := &rest.Config{Host: "http://127.0.0.1:1"}
	made, err := newClients(nowhere, nowhere, nowhere)
	if err != nil {
		t.Fatal(err)
	}
	s := assembler{
		cfg: config.Default(),
		clients: &clients{
			own: made.node, node: made.node,
			ownConfig: nowhere, nodeConfig: nowhere, proxyConfig: nowhere, remoteConfig: nowhere,
		},
		metrics: metrics.New(metrics.Build{}, clock.RealClock{}),
		clock:   clock.RealClock{},
		logger:  slog.New(slog.DiscardHandler),
	}
	s.cfg.NodeName, s.cfg.KubeletAPI.Address, s.cfg.KubeletAPI.Port = "ak", "127.0.0.1", 0
	s.clients.facts.address = "127.0.0.1"
	served, err := s.clients.fenced(s.owner(), func() bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	certificates, err := s.certificates(s.nodeSpec())
	if err != nil {
		t.Fatal(err)
	}
	a := &akd{newTerm: func() (*term, error) {
		return s.term(served, certificates, func() []corev1.ResourceList { return nil })
	}}
	for range 3 {
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- a.work(ctx) }()
		stop()
		if err := <-done; err != nil {
			t.Errorf("the term ended with %v", err)
		}
	}
}
