package kubeletapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/util/exec"
)

// pods lists the local pods of the node.
func (s *Server) pods(w http.ResponseWriter, _ *http.Request) {
	s.writePods(w, func(*corev1.Pod) bool { return true })
}

// runningPods lists the pods with a running container. A kubelet asks the container
// runtime, akd uses the status.
func (s *Server) runningPods(w http.ResponseWriter, _ *http.Request) {
	s.writePods(w, func(pod *corev1.Pod) bool {
		for _, list := range [][]corev1.ContainerStatus{
			pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses, pod.Status.EphemeralContainerStatuses,
		} {
			for i := range list {
				if list[i].State.Running != nil {
					return true
				}
			}
		}
		return false
	})
}

func (s *Server) writePods(w http.ResponseWriter, wanted func(*corev1.Pod) bool) {
	list := corev1.PodList{TypeMeta: metav1.TypeMeta{Kind: "PodList", APIVersion: "v1"}, Items: []corev1.Pod{}}
	for _, pod := range s.cfg.Pods.List() {
		if wanted(pod) {
			list.Items = append(list.Items, *pod)
		}
	}
	s.writeJSON(w, &list)
}

// configz serves the effective configuration of akd.
func (s *Server) configz(w http.ResponseWriter, _ *http.Request) {
	s.writeJSON(w, map[string]any{"akd": s.cfg.Configz})
}

func (s *Server) writeJSON(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if err := json.NewEncoder(w).Encode(value); err != nil {
		s.log.Debug("cannot write the response", "error", err)
	}
}

// healthPaths are those of the kubelet. The equivalent of its syncloop is Health.
var healthPaths = [...]string{"/healthz", "/healthz/ping", "/healthz/log", "/healthz/syncloop"} //nolint:gochecknoglobals // never written

func (s *Server) healthz(w http.ResponseWriter, r *http.Request) {
	if s.cfg.Health != nil && !strings.HasSuffix(r.URL.Path, "/ping") {
		err := s.cfg.Health(r.Context())
		if s.checks.observe("syncloop", err); err != nil {
			s.log.Debug("health check failed", "error", err)
			writeError(w, r, newStatus(http.StatusInternalServerError, metav1.StatusReasonInternalError,
				"healthz check failed: see the conditions of node %q and the log of akd", s.cfg.NodeName))
			return
		}
	}
	s.checks.observe("ping", nil)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write([]byte("ok"))
}

// healthChecks are the results of health checks, as a kubelet counts them.
// https://github.com/kubernetes/kubernetes/blob/v1.37.1/staging/src/k8s.io/component-base/metrics/prometheus/slis/metrics.go
type healthChecks struct {
	last  *prometheus.GaugeVec
	total *prometheus.CounterVec
}

func newHealthChecks() healthChecks {
	return healthChecks{
		last: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "kubernetes_healthcheck", Help: "This metric records the result of a single healthcheck.",
		}, []string{"name", "type"}),
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kubernetes_healthchecks_total", Help: "This metric records the results of all healthcheck.",
		}, []string{"name", "type", "status"}),
	}
}

func (c healthChecks) observe(name string, err error) {
	value, status := 1.0, "success"
	if err != nil {
		value, status = 0, "error"
	}
	c.last.WithLabelValues(name, "healthz").Set(value)
	c.total.WithLabelValues(name, "healthz", status).Inc()
}

// checkMetrics serves /metrics/slis.
func (s *Server) checkMetrics(w http.ResponseWriter, r *http.Request) {
	writeMetrics(w, r, "", s.checks.last, s.checks.total)
}

// probeMetrics serves /metrics/probes, which has no series here.
func (s *Server) probeMetrics(w http.ResponseWriter, r *http.Request) {
	writeMetrics(w, r, "the kubelets of the remote cluster probe containers, and count that")
}

func (s *Server) metrics(w http.ResponseWriter, r *http.Request) {
	if s.cfg.Gatherer == nil {
		absent("metrics are not configured")(w, r)
		return
	}
	promhttp.HandlerFor(s.cfg.Gatherer, promhttp.HandlerOpts{
		ErrorHandling: promhttp.ContinueOnError,
		ErrorLog:      promLog{s},
	}).ServeHTTP(w, r)
}

type promLog struct{ s *Server }

func (l promLog) Println(v ...any) { l.s.log.Warn("some metrics cannot be gathered", "details", v) }

// maxRunOutput limits the output of /run, which is not streamed.
const maxRunOutput = 1 << 20

var errOutputTooLong = errors.New("output exceeds 1 MiB: use exec, which streams")

// boundedBuffer collects both outputs of a command in the order in which they
// arrive. The executor writes them from one goroutine each.
type boundedBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *boundedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.buffer.Len()+len(p) > maxRunOutput {
		return 0, errOutputTooLong
	}
	return b.buffer.Write(p)
}

// run serves the oldest endpoint of the kubelet to run a command, without stdin and
// with a single response. It splits the command at spaces, as a kubelet does.
func (s *Server) run(w http.ResponseWriter, r *http.Request) {
	str, err := s.find(targetOf(r))
	if err != nil {
		writeError(w, r, err)
		return
	}
	release, err := s.acquire(r, str.target, "run")
	if err != nil {
		writeError(w, r, err)
		return
	}
	defer release()
	// The form may be in the body: without a limit, akd would read 32 MiB of it into
	// memory, and the rest into files.
	r.Body = http.MaxBytesReader(w, r.Body, int64(s.cfg.Limits.HeaderBytes))
	if err := r.ParseForm(); err != nil {
		writeError(w, r, apierrors.NewBadRequest("the form with the command cannot be read: "+err.Error()))
		return
	}
	str.subresource = "exec"
	str.query = map[string][]string{
		"container": {str.container},
		"command":   strings.Split(r.Form.Get("cmd"), " "),
		"stdout":    {"true"},
		"stderr":    {"true"},
	}
	output := &boundedBuffer{}
	if err := s.execute(r, str, output); err != nil {
		writeError(w, r, s.runError(str, output, err))
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(output.buffer.Bytes())
}

func (s *Server) execute(r *http.Request, str stream, output *boundedBuffer) error {
	executor, err := remotecommand.NewSPDYExecutor(s.remotes.config, http.MethodPost, s.remotes.url(str))
	if err != nil {
		return err
	}
	return executor.StreamWithContext(r.Context(), remotecommand.StreamOptions{Stdout: output, Stderr: output})
}

func (s *Server) runError(str stream, output *boundedBuffer, err error) error {
	var exit exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		return withPod(newStatus(http.StatusInternalServerError, metav1.StatusReasonInternalError,
			"command terminated with exit code %d: %s", exit.ExitStatus(), output.buffer.String()), str.pod)
	}
	if errors.Is(err, errOutputTooLong) {
		return withPod(newStatus(http.StatusInternalServerError, metav1.StatusReasonInternalError, "%v", err), str.pod)
	}
	status := statusOf(err)
	if status.Code == http.StatusInternalServerError {
		s.log.Debug("run failed", "namespace", str.namespace, "pod", str.pod, "error", err)
		return unreachable(s.cfg.NodeName, str.target)
	}
	return remoteError(s.cfg.NodeName, str, status)
}
