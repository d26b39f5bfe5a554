package plugin

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

const (
	// leaseStale is when Kubernetes takes a node for lost.
	// https://kubernetes.io/docs/reference/command-line-tools-reference/kube-controller-manager/ (--node-monitor-grace-period)
	leaseStale = 50 * time.Second
	// renewBy is what is left of a token when akd should have had a new one.
	renewBy = time.Hour
)

func nodeChecks() []check {
	installed := []string{"node-installed"}
	return []check{
		{id: "akd-runs", title: "akd runs", needs: installed, run: akdRuns},
		{id: "akd-version", title: "akd is of this program's version", needs: installed, run: akdVersion},
		{id: "node-ready", title: "the node is ready", needs: installed, run: nodeReady},
		{id: "akd-reaches-local", title: "akd reaches the local API server", needs: installed, run: akdReachesLocal},
		{id: "akd-reaches-remote", title: "akd reaches the remote API server", needs: installed, run: akdReachesRemote},
		{id: "credential-valid", title: "akd's credential is accepted and lasts", needs: []string{"node-installed", "remote-reachable"}, run: credentialValid},
		{id: "kubelet-api", title: "the local API server reaches akd's kubelet API", needs: installed, run: kubeletAPI},
		{id: "serving-certificate", title: "the certificate of the kubelet API is signed", needs: installed, run: servingCertificate},
		{id: "metrics-api", title: "kubectl top knows the node", needs: installed, run: metricsAPI},
	}
}

func (e *examination) logs() string { return "kubectl actual logs " + e.node + e.remoteFlag() }

// remoteFlag is what commands need about an akd in the remote cluster.
func (e *examination) remoteFlag() string {
	if e.home == e.both.remote {
		return " --remote-context=" + e.remoteName()
	}
	return ""
}

func akdRuns(ctx context.Context, e *examination) finding {
	if e.akd == nil {
		return skipped("akd was not installed with kubectl actual")
	}
	want := int32(1)
	if e.akd.Spec.Replicas != nil {
		want = *e.akd.Spec.Replicas
	}
	ready := e.akd.Status.ReadyReplicas
	if ready < want || want == 0 {
		f := failed(e.logs(), "%d of %d are ready: %s", ready, want, e.home.akdTrouble(ctx, e.node))
		if want == 0 {
			f = failed(fmt.Sprintf("kubectl scale deployment %s -n %s --replicas=1", e.node, contract.SystemNamespace), "it is scaled to 0")
		} else if ready > 0 {
			f.Level = levelWarning
		}
		return f
	}
	return ok("%d of %d", ready, want)
}

func akdVersion(_ context.Context, e *examination) finding {
	if e.akd == nil {
		return skipped("akd was not installed with kubectl actual")
	}
	containers := e.akd.Spec.Template.Spec.Containers
	if len(containers) == 0 {
		return skipped("its deployment has no container")
	}
	image := containers[0].Image
	if strings.HasSuffix(image, ":"+e.build.Version) || strings.Contains(image, ":"+e.build.Version+"@") {
		return ok("%s", e.build.Version)
	}
	return warning(e.again(), "akd's image is %s, and this program is %s", image, e.build.Version)
}

// condition returns one of the node's conditions, or nil.
func (e *examination) condition(kind corev1.NodeConditionType) *corev1.NodeCondition {
	if e.object == nil {
		return nil
	}
	return conditionOf(e.object, kind)
}

func conditionOf(node *corev1.Node, kind corev1.NodeConditionType) *corev1.NodeCondition {
	for i := range node.Status.Conditions {
		if node.Status.Conditions[i].Type == kind {
			return &node.Status.Conditions[i]
		}
	}
	return nil
}

func nodeReady(_ context.Context, e *examination) finding {
	if e.object == nil {
		return failed(e.logs(), "node %s is not registered", e.node)
	}
	ready := e.condition(corev1.NodeReady)
	switch {
	case ready == nil:
		return failed(e.logs(), "it has no condition Ready")
	case ready.Status != corev1.ConditionTrue:
		return failed(e.logs(), "%s: %s", ready.Reason, ready.Message)
	case e.object.Spec.Unschedulable:
		return warning("kubectl uncordon "+e.node, "it is cordoned: no pod is scheduled to it")
	default:
		return ok("%s", ready.Message)
	}
}

// akdReachesLocal goes by the node's lease, which akd renews as kubelets do.
func akdReachesLocal(ctx context.Context, e *examination) finding {
	lease, err := e.both.local.client.CoordinationV1().Leases(corev1.NamespaceNodeLease).Get(ctx, e.node, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return failed(e.logs(), "akd has never renewed the node's lease")
	}
	if err != nil {
		return skipped("%s", err)
	}
	if lease.Spec.RenewTime == nil {
		return failed(e.logs(), "akd has never renewed the node's lease")
	}
	age := e.clock.Since(lease.Spec.RenewTime.Time).Round(time.Second)
	if age > leaseStale {
		return failed(e.logs(), "akd has not renewed the node's lease for %s", age)
	}
	return ok("it renewed the node's lease %s ago", max(age, 0))
}

// akdReachesRemote goes by the node's condition, of which akd makes this, and
// by its metrics, which say it sooner.
func akdReachesRemote(ctx context.Context, e *examination) finding {
	const silent = 30
	mend := e.logs() + ", and see that the remote API server can be reached from where akd runs"
	ready := e.condition(corev1.NodeReady)
	if ready != nil && ready.Reason == "RemoteUnreachable" {
		return failed(mend, "%s", ready.Message)
	}
	if ready == nil || ready.Status == corev1.ConditionUnknown {
		return skipped("akd says nothing")
	}
	lease, err := e.both.local.client.CoordinationV1().Leases(contract.SystemNamespace).Get(ctx, e.node, metav1.GetOptions{})
	if err != nil || lease.Spec.HolderIdentity == nil {
		return ok("the node says so")
	}
	leader, _, _ := strings.Cut(*lease.Spec.HolderIdentity, "_")
	seconds := silence(ctx, e.home, leader)
	switch {
	case seconds == nil:
		return ok("the node says so")
	case *seconds > silent:
		return failed(mend, "it has not answered akd for %d s", *seconds)
	default:
		return ok("it answered akd %d s ago", *seconds)
	}
}

// credentialValid has the other cluster look at the token in akd's Secret.
func credentialValid(ctx context.Context, e *examination) finding {
	if e.akd == nil {
		return skipped("akd was not installed with kubectl actual")
	}
	rotate := "kubectl actual token rotate " + e.node + " --remote-context=" + e.remoteName()
	secret, err := e.home.client.CoreV1().Secrets(contract.SystemNamespace).Get(ctx, e.node, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return failed(e.again(), "Secret %s/%s is missing from the %s cluster", contract.SystemNamespace, e.node, e.home.side)
	case apierrors.IsForbidden(err):
		return skipped("your user may not get secrets in %s of the %s cluster", contract.SystemNamespace, e.home.side)
	case err != nil:
		return skipped("%s", err)
	}
	stored, err := clientcmd.RESTConfigFromKubeConfig(secret.Data[kubeconfigKey])
	if err != nil {
		return failed(e.again(), "Secret %s/%s, key %s, is no kubeconfig", contract.SystemNamespace, e.node, kubeconfigKey)
	}
	if stored.BearerToken == "" {
		return skipped("it has no token: its lifetime is not kubectl actual's matter")
	}
	review, err := e.away.client.AuthenticationV1().TokenReviews().Create(ctx,
		&authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: stored.BearerToken}}, metav1.CreateOptions{})
	if apierrors.IsForbidden(err) {
		return skipped("your user may not create tokenreviews in the %s cluster", e.away.side)
	}
	if err != nil {
		return skipped("%s", err)
	}
	if !review.Status.Authenticated {
		// Why not is left out: the API server's words may have the token's content.
		return failed(e.again()+", then "+rotate, "the %s cluster does not accept akd's token", e.away.side)
	}
	if user := review.Status.User.Username; user != accountUser(e.node) {
		return failed(rotate, "akd's token is that of %s", user)
	}
	expires, err := time.Parse(time.RFC3339, secret.Annotations[contract.AnnotationTokenExpires])
	if err != nil {
		return warning(rotate, "when it ends is not known: Secret %s/%s lacks annotation %s", contract.SystemNamespace, e.node, contract.AnnotationTokenExpires)
	}
	left := expires.Sub(e.clock.Now()).Round(time.Minute)
	if renewed := e.condition(conditionCredential); renewed != nil && renewed.Status == corev1.ConditionFalse {
		return failed(rotate, "akd does not renew it, and it ends in %s: %s", left, renewed.Message)
	}
	if left < renewBy {
		return warning(rotate, "it ends in %s, and akd has not renewed it", left)
	}
	return ok("for %s, which akd renews", left)
}

// kubeletAPI asks akd as the local API server does for logs and exec.
func kubeletAPI(ctx context.Context, e *examination) finding {
	if e.object == nil {
		return skipped("node %s is not registered", e.node)
	}
	body, err := e.both.local.client.CoreV1().RESTClient().Get().AbsPath("/api/v1/nodes", e.node, "proxy", "healthz").DoRaw(ctx)
	switch {
	case err == nil && strings.TrimSpace(string(body)) == "ok":
		return ok("at %s", e.address())
	case apierrors.IsForbidden(err):
		return skipped("your user may not get nodes/proxy in the local cluster")
	case err == nil:
		return failed(e.logs(), "%s answers %.80q: is that akd?", e.address(), body)
	default:
		return failed("see that the local API server may connect to "+e.address()+"; "+e.logs(), "%s: logs, exec, attach and port-forward fail", err)
	}
}

// address is where the node says that its kubelet API is.
func (e *examination) address() string {
	for _, address := range e.object.Status.Addresses {
		if address.Type == corev1.NodeInternalIP {
			return fmt.Sprintf("%s:%d", address.Address, e.object.Status.DaemonEndpoints.KubeletEndpoint.Port)
		}
	}
	return "the node's address"
}

func servingCertificate(ctx context.Context, e *examination) finding {
	condition := e.condition(conditionCertificate)
	if condition == nil {
		return skipped("the node does not say")
	}
	if condition.Status == corev1.ConditionTrue {
		return ok("%s", condition.Message)
	}
	requests, err := e.both.local.client.CertificatesV1().CertificateSigningRequests().List(ctx,
		metav1.ListOptions{FieldSelector: "spec.signerName=" + certificatesv1.KubeletServingSignerName})
	if err != nil {
		return failed(e.again(), "%s", condition.Message)
	}
	for i := range requests.Items {
		request := &requests.Items[i]
		if request.Spec.Username == "system:node:"+e.node && len(request.Status.Conditions) == 0 {
			return failed(e.again()+", which approves it", "request %s is not approved", request.Name)
		}
	}
	return failed(e.again(), "%s", condition.Message)
}

// metricsAPI asks what kubectl top asks. A cluster without a metrics server has
// nothing to be mended.
func metricsAPI(ctx context.Context, e *examination) finding {
	local := e.both.local.client.Discovery().RESTClient()
	_, err := local.Get().AbsPath("/apis/metrics.k8s.io/v1beta1").DoRaw(ctx)
	if apierrors.IsNotFound(err) {
		return skipped("the local cluster has no metrics API")
	}
	if err != nil {
		return warning("kubectl get apiservice v1beta1.metrics.k8s.io", "the local metrics API does not answer: %s", err)
	}
	body, err := local.Get().AbsPath("/apis/metrics.k8s.io/v1beta1/nodes", e.node).DoRaw(ctx)
	if apierrors.IsForbidden(err) {
		return skipped("your user may not get nodes.metrics.k8s.io")
	}
	if err != nil {
		return warning(e.again()+" --read-metrics, and see that the remote cluster has a metrics API", "it has no usage of the node: %s", err)
	}
	var usage struct {
		Usage map[string]string `json:"usage"`
	}
	if err := json.Unmarshal(body, &usage); err != nil {
		return warning("", "its answer cannot be read: %s", err)
	}
	return ok("cpu %s, memory %s", usage.Usage["cpu"], usage.Usage["memory"])
}

// recordOf names the object in messages.
func recordOf(node string) string {
	return contract.SystemNamespace + "/" + contract.RecordName(node)
}

// runInRemote reports whether akd lives there.
func (e *examination) runInRemote() bool { return e.values.RunIn == manifests.RunInRemote }
