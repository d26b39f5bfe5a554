package metrics

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// Scope registers the metrics of a part of akd that ends before akd does, and may
// begin again.
type Scope struct {
	prometheus.Registerer

	mu         sync.Mutex
	registered []prometheus.Collector
}

// Scope returns a scope without metrics.
func (m *Metrics) Scope() *Scope { return &Scope{Registerer: m.registry} }

// Register implements prometheus.Registerer.
func (s *Scope) Register(collector prometheus.Collector) error {
	if err := s.Registerer.Register(collector); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.registered = append(s.registered, collector)
	return nil
}

// MustRegister implements prometheus.Registerer.
func (s *Scope) MustRegister(collectors ...prometheus.Collector) {
	for _, collector := range collectors {
		if err := s.Register(collector); err != nil {
			panic(err)
		}
	}
}

// Close removes all metrics of the scope.
func (s *Scope) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, collector := range s.registered {
		s.Unregister(collector)
	}
	s.registered = nil
}
