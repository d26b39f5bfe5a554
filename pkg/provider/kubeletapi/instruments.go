package kubeletapi

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// Instruments are the server's own metrics. A nil one counts nothing.
type Instruments struct {
	requests *prometheus.CounterVec
}

// NewInstruments registers the metrics akd_kubelet_api_*; New calls it. A nil
// Registerer makes a nil Instruments. streams and certificate are asked when
// the metrics are read.
func NewInstruments(into prometheus.Registerer, streams func() int, certificate func() CertificateState) (*Instruments, error) {
	if into == nil {
		return nil, nil
	}
	i := &Instruments{requests: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "akd_kubelet_api_requests_total",
		Help: "Requests to the kubelet API by the first element of their path and the HTTP status answered; a stream counts when it ends, as " +
			"101 or 200.",
	}, []string{"route", "code"})}
	gauges := []prometheus.GaugeFunc{
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "akd_kubelet_api_streams",
			Help: "Streams open now: logs, exec, attach and port-forward.",
		}, func() float64 { return float64(streams()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "akd_kubelet_api_serving_certificate_expiration_timestamp_seconds",
			Help: "When the certificate that is served ends, in seconds since the epoch; 0 when there is none.",
		}, func() float64 {
			if end := certificate().NotAfter; !end.IsZero() {
				return float64(end.Unix())
			}
			return 0
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "akd_kubelet_api_serving_certificate_self_signed",
			Help: "1 while the certificate that is served is self-signed.",
		}, func() float64 {
			if certificate().SelfSigned {
				return 1
			}
			return 0
		}),
	}
	if err := into.Register(i.requests); err != nil {
		return nil, fmt.Errorf("register kubelet API metrics: %w", err)
	}
	for _, gauge := range gauges {
		if err := into.Register(gauge); err != nil {
			return nil, fmt.Errorf("register kubelet API metrics: %w", err)
		}
	}
	return i, nil
}

// Answered counts a request. pattern is the mux's, so that labels stay few
// whatever callers ask for.
func (i *Instruments) Answered(pattern string, code int) {
	if i == nil {
		return
	}
	route, _, _ := strings.Cut(strings.TrimPrefix(pattern, "/"), "/")
	i.requests.WithLabelValues(orElse(route, "none"), strconv.Itoa(code)).Inc()
}

// countedWriter remembers the status that was answered.
type countedWriter struct {
	http.ResponseWriter
	code int
}

func (w *countedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *countedWriter) WriteHeader(code int) {
	if code >= http.StatusOK {
		w.code = code
	}
	w.ResponseWriter.WriteHeader(code)
}

func (w *countedWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil {
		w.code = http.StatusSwitchingProtocols
	}
	return conn, rw, err
}
