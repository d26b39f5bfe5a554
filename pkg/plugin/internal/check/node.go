package check

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/inspect"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
)

const (
	// leaseStale is when Kubernetes takes a node for lost.
	// https://kubernetes.io/docs/reference/command-line-tools-reference/kube-controller-manager/ (--node-monitor-grace-period)
	leaseStale = 50 * time.Second
	// remoteSilent is how long the remote API server may leave akd without an answer.
	remoteSilent = 30 * time.Second
	// reasonRemoteUnreachable is the reason of condition Ready that akd gives when
	// the remote API server does not answer.
	reasonRemoteUnreachable = "RemoteUnreachable"
)

func nodeChecks() []Check {
	installed := []string{"node-installed"}
	return []Check{
		{
			ID:      "akd-runs",
			Title:   "akd runs",
			Needs:   installed,
			examine: akdRuns,
		},
		{
			ID:      "akd-version",
			Title:   "akd and this program have the same version",
			Needs:   installed,
			examine: akdVersion,
		},
		{
			ID:      "node-ready",
			Title:   "the node is ready",
			Needs:   installed,
			examine: nodeReady,
		},
		{
			ID:      "akd-reaches-local",
			Title:   "akd reaches the local API server",
			Needs:   installed,
			examine: akdReachesLocal,
		},
		{
			ID:      "akd-reaches-remote",
			Title:   "akd reaches the remote API server",
			Needs:   installed,
			examine: akdReachesRemote,
		},
		{
			ID:      "credential-valid",
			Title:   "akd's credential is valid",
			Needs:   []string{"node-installed", "remote-reachable"},
			examine: credentialValid,
		},
		{
			ID:      "kubelet-api",
			Title:   "the local API server reaches akd's kubelet API",
			Needs:   installed,
			examine: kubeletAPI,
		},
		{
			ID:      "metrics-api",
			Title:   "kubectl top shows the node",
			Needs:   installed,
			examine: metricsAPI,
		},
	}
}

// notOurs skips checks of objects that kubectl actual did not create.
func notOurs() Finding { return skipped("akd was not installed with kubectl actual") }

func akdRuns(ctx context.Context, s *Subject) Finding {
	if s.Node.AKD == nil {
		return notOurs()
	}
	want, ready := ptr.Deref(s.Node.AKD.Spec.Replicas, 1), s.Node.AKD.Status.ReadyReplicas
	switch {
	case want == 0:
		return failed(s.hostCommand("scale", "deployment", s.Node.Name, "-n", contract.SystemNamespace, "--replicas=1"), "it is scaled to 0")
	case ready == 0:
		return failed(s.logsCommand(), "0 of %d replicas are ready: %s", want, s.Node.Host.AKDProblem(ctx, s.Node.Name))
	case ready < want:
		return warning(s.logsCommand(), "%d of %d replicas are ready: %s", ready, want, s.Node.Host.AKDProblem(ctx, s.Node.Name))
	default:
		return ok("%d of %d replicas are ready", ready, want)
	}
}

func akdVersion(_ context.Context, s *Subject) Finding {
	if s.Node.AKD == nil {
		return notOurs()
	}
	containers := s.Node.AKD.Spec.Template.Spec.Containers
	if len(containers) == 0 {
		return skipped("its deployment has no container")
	}
	image := containers[0].Image
	if strings.HasSuffix(image, ":"+s.Version) || strings.Contains(image, ":"+s.Version+"@") {
		return ok("%s", s.Version)
	}
	return warning(s.installCommand(), "akd's image is %s, this program's version is %s", image, s.Version)
}

func nodeReady(_ context.Context, s *Subject) Finding {
	if s.Node.Object == nil {
		return failed(s.logsCommand(), "node %s is not registered", s.Node.Name)
	}
	ready := s.Node.condition(corev1.NodeReady)
	switch {
	case ready == nil:
		return failed(s.logsCommand(), "it has no condition Ready")
	case ready.Status == corev1.ConditionFalse && ready.Reason == contract.ReasonCredentialRejected:
		return failed(s.rotateCommand(), "%s: %s", ready.Reason, ready.Message)
	case ready.Status != corev1.ConditionTrue:
		return failed(s.logsCommand(), "%s: %s", ready.Reason, ready.Message)
	case s.Node.Object.Spec.Unschedulable:
		return warning(s.Commands.Kubectl(kubeclient.Local, "uncordon", s.Node.Name), "it is cordoned: no pods are scheduled to it")
	default:
		return ok("%s", ready.Message)
	}
}

// akdReachesLocal goes by the node's lease, which akd renews as kubelets do.
func akdReachesLocal(ctx context.Context, s *Subject) Finding {
	lease, err := s.Local.Client.CoordinationV1().Leases(corev1.NamespaceNodeLease).Get(ctx, s.Node.Name, metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return unknown(err)
	}
	if err != nil {
		lease = &coordinationv1.Lease{}
	}
	return judgeLease(s, lease)
}

func judgeLease(s *Subject, lease *coordinationv1.Lease) Finding {
	if lease.Spec.RenewTime == nil {
		return failed(s.logsCommand(), "akd has never renewed the node's lease")
	}
	age := s.Clock.Since(lease.Spec.RenewTime.Time).Round(time.Second)
	if age > leaseStale {
		return failed(s.logsCommand(), "akd last renewed the node's lease %s ago", age)
	}
	return ok("akd renewed the node's lease %s ago", max(age, 0))
}

// akdReachesRemote goes by the node's condition, which akd derives from the
// remote API server's answers, and by akd's metrics, which are sooner.
func akdReachesRemote(ctx context.Context, s *Subject) Finding {
	fix := "check that the remote API server can be reached from where akd runs: " + s.logsCommand()
	ready := s.Node.condition(corev1.NodeReady)
	switch {
	case ready == nil || ready.Status == corev1.ConditionUnknown:
		return skipped("the node's condition Ready is unknown")
	case ready.Reason == reasonRemoteUnreachable:
		return failed(fix, "%s", ready.Message)
	case ready.Reason == contract.ReasonCredentialRejected:
		return ok("it answers akd, but does not accept its credential")
	}
	silence, known := inspect.RemoteSilence(ctx, s.Node.Host, inspect.Leader(ctx, s.Local, s.Node.Name))
	switch {
	case !known:
		return ok("according to the node's condition Ready")
	case silence > remoteSilent:
		return failed(fix, "it last answered akd %s ago", silence)
	default:
		return ok("it answered akd %s ago", silence)
	}
}

// kubeletAPI makes a request to akd through the local API server, as kubectl logs
// and exec do.
func kubeletAPI(ctx context.Context, s *Subject) Finding {
	if s.Node.Object == nil {
		return skipped("node %s is not registered", s.Node.Name)
	}
	address := kubeletAddress(s.Node.Object)
	body, err := s.Local.Read(ctx, "/api/v1/nodes", s.Node.Name, "proxy", "healthz")
	switch {
	case err == nil && strings.TrimSpace(string(body)) == "ok":
		return ok("at %s", address)
	case apierrors.IsForbidden(err):
		return skipped("your user may not get nodes/proxy in the local cluster")
	case err == nil:
		return failed(s.logsCommand(), "%s answers %.80q, which akd does not", address, body)
	case !s.Node.certificateSigned():
		return warning("approve its certificate: "+s.installCommand(),
			"%s: kubectl logs, exec, attach and port-forward fail until the kubelet API has a signed certificate", err)
	default:
		return failed("allow connections from the local API server to "+address+"; akd's log: "+s.logsCommand(),
			"%s: kubectl logs, exec, attach and port-forward fail", err)
	}
}

// kubeletAddress is the address of the kubelet API according to the Node.
func kubeletAddress(node *corev1.Node) string {
	for _, address := range node.Status.Addresses {
		if address.Type == corev1.NodeInternalIP {
			return fmt.Sprintf("%s:%d", address.Address, node.Status.DaemonEndpoints.KubeletEndpoint.Port)
		}
	}
	return "the node's address"
}

// certificateSigned reports whether clients can verify the kubelet API, as far as
// the node says.
func (n *Node) certificateSigned() bool {
	condition := n.condition(contract.ConditionServingCertificateSigned)
	return condition == nil || condition.Status == corev1.ConditionTrue
}

// metricsAPI makes the requests of kubectl top. Without a metrics server there is
// nothing to fix.
func metricsAPI(ctx context.Context, s *Subject) Finding {
	_, err := s.Local.Read(ctx, "/apis/metrics.k8s.io/v1beta1")
	if apierrors.IsNotFound(err) {
		return skipped("the local cluster has no metrics API")
	}
	if err != nil {
		return warning(s.Commands.Kubectl(kubeclient.Local, "get", "apiservice", "v1beta1.metrics.k8s.io"),
			"the local metrics API does not answer: %s", err)
	}
	body, err := s.Local.Read(ctx, "/apis/metrics.k8s.io/v1beta1/nodes", s.Node.Name)
	if apierrors.IsForbidden(err) {
		return skipped("your user may not get nodes.metrics.k8s.io")
	}
	if err != nil {
		return warning("if the remote cluster has a metrics API: "+s.installCommand("--read-metrics"),
			"the metrics API does not know the node's usage: %s", err)
	}
	var usage struct {
		Usage map[string]string `json:"usage"`
	}
	if err := json.Unmarshal(body, &usage); err != nil {
		return warning("", "the metrics API's answer cannot be read: %s", err)
	}
	return ok("cpu %s, memory %s", usage.Usage["cpu"], usage.Usage["memory"])
}
