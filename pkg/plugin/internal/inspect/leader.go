package inspect

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
)

const (
	// metricsPort is where akd serves its metrics.
	metricsPort = "10254"
	// metricsTimeout bounds the request for them: they are an extra.
	metricsTimeout = 3 * time.Second
	// lastSuccessMetric is when the remote API server last answered akd.
	lastSuccessMetric = "akd_remote_last_success_timestamp_seconds"
)

// Leader returns the pod of the akd that holds a node's lease, or "" if the lease
// has no holder or cannot be read.
func Leader(ctx context.Context, local *kubeclient.Cluster, node string) string {
	lease, err := local.Client.CoordinationV1().Leases(contract.SystemNamespace).Get(ctx, node, metav1.GetOptions{})
	if err != nil || lease.Spec.HolderIdentity == nil {
		return ""
	}
	pod, _, _ := strings.Cut(*lease.Spec.HolderIdentity, "_") // POD_UUID
	return pod
}

// RemoteSilence returns how long ago the remote API server answered akd, according
// to the metrics of that akd's pod, if they can be read.
func RemoteSilence(ctx context.Context, host *kubeclient.Cluster, pod string) (silence time.Duration, known bool) {
	if pod == "" {
		return 0, false
	}
	ctx, cancel := context.WithTimeout(ctx, metricsTimeout)
	defer cancel()
	response, err := host.Respond(ctx,
		"/api/v1/namespaces", contract.SystemNamespace, "pods", "http:"+net.JoinHostPort(pod, metricsPort), "proxy", "metrics")
	if err != nil {
		return 0, false
	}
	defer func() { _ = response.Body.Close() }()
	// akd's own date: this machine's clock may be wrong.
	now, err := http.ParseTime(response.Header.Get("Date"))
	if err != nil || response.StatusCode != http.StatusOK {
		return 0, false
	}
	last, found := readMetric(response.Body, lastSuccessMetric)
	if !found || last <= 0 {
		return 0, false
	}
	return max(0, now.Sub(time.Unix(int64(last), 0))), true
}

// readMetric returns the value of a metric without labels, in the text format of
// Prometheus.
func readMetric(from io.Reader, name string) (value float64, found bool) {
	lines := bufio.NewScanner(from)
	for lines.Scan() {
		text, is := strings.CutPrefix(lines.Text(), name+" ")
		if !is {
			continue
		}
		value, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
		return value, err == nil
	}
	return 0, false
}
