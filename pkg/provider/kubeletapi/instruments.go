package kubeletapi

import (
	"bufio"
	"cmp"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// Instruments are the metrics of the server.
type Instruments struct {
	requests *prometheus.CounterVec
}

// NewInstruments returns the metrics akd_kubelet_api_*, and registers them unless into
// is nil. streams and certificate are called whenever metrics are read.
func NewInstruments(into prometheus.Registerer, streams func() int, certificate func() CertificateState) (*Instruments, error) {
	i := &Instruments{requests: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "akd_kubelet_api_requests_total",
		Help: "Requests to the kubelet API, by first path element and HTTP status code. A stream counts when it ends, as 101 or 200.",
	}, []string{"route", "code"})}
	gauges := []prometheus.GaugeFunc{
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "akd_kubelet_api_streams",
			Help: "Open streams: logs, exec, attach and port-forward.",
		}, func() float64 { return float64(streams()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "akd_kubelet_api_serving_certificate_expiration_timestamp_seconds",
			Help: "Unix time at which the serving certificate expires, or 0 if there is none.",
		}, func() float64 {
			if end := certificate().NotAfter; !end.IsZero() {
				return float64(end.Unix())
			}
			return 0
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "akd_kubelet_api_serving_certificate_self_signed",
			Help: "1 if the serving certificate is self-signed, 0 otherwise.",
		}, func() float64 {
			if certificate().SelfSigned {
				return 1
			}
			return 0
		}),
	}
	if into == nil {
		return i, nil
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

// Answered counts a request. pattern is that of the mux, so that callers cannot
// create labels.
func (i *Instruments) Answered(pattern string, code int) {
	route, _, _ := strings.Cut(strings.TrimPrefix(pattern, "/"), "/")
	i.requests.WithLabelValues(cmp.Or(route, "none"), strconv.Itoa(code)).Inc()
}

// countedWriter records the status of the response.
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
