package metrics

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/utils/clock"
)

// Each time that akd leads, it registers the same metrics, which Prometheus
// refuses while the former ones are registered.
func TestScope(t *testing.T) {
	t.Parallel()
	m := New(Build{}, clock.RealClock{})
	for range 2 {
		scope := m.Scope()
		scope.MustRegister(prometheus.NewCounter(prometheus.CounterOpts{Name: "akd_test_total", Help: "Counts."}))
		again := prometheus.NewCounter(prometheus.CounterOpts{Name: "akd_test_total", Help: "Counts."})
		if err := scope.Register(again); err == nil {
			t.Error("a metric was registered twice")
		}
		scope.Close()
	}
}
