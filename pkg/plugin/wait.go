package plugin

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	nodeutil "k8s.io/component-helpers/node/util"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/rights"
)

// pollInterval is how often a condition is looked at.
const pollInterval = 500 * time.Millisecond

// waitAll waits until akd runs, the node is ready, and a pod has run on it.
func (i *install) waitAll(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, i.timeout)
	defer cancel()
	for _, step := range []struct {
		what string
		do   func(context.Context) (string, error)
	}{{"akd runs", i.waitAKD}, {"node is ready", i.waitNode}, {"probe pod runs", i.probe}} {
		if err := i.steps.do(ctx, step.what, step.do); err != nil {
			if errors.Is(err, context.DeadlineExceeded) {
				return fmt.Errorf("%s: not within %s: see kubectl actual logs %s: %w", step.what, i.timeout, i.values.Node, err)
			}
			return fmt.Errorf("%s: %w", step.what, err)
		}
	}
	return nil
}

// until polls, and says at a timeout what was last seen.
func until(ctx context.Context, condition func(context.Context) (done bool, seen string, err error)) error {
	var last string
	err := wait.PollUntilContextCancel(ctx, pollInterval, true, func(ctx context.Context) (bool, error) {
		done, seen, err := condition(ctx)
		last = seen
		saw(ctx, seen)
		return done, err
	})
	if err != nil && last != "" {
		return fmt.Errorf("%s: %w", last, err)
	}
	return err
}

// awaitPolicies waits until the remote cluster refuses akd what is not its own:
// before that nobody gets a credential. Policies are read by each API server's
// own watch, a moment after they were stored.
func (i *install) awaitPolicies(ctx context.Context) (string, error) {
	if i.values.Unconfined {
		return "none: the remote cluster is not protected from akd's credential", nil
	}
	ctx, cancel := context.WithTimeout(ctx, i.timeout)
	defer cancel()
	return "", until(ctx, func(ctx context.Context) (bool, string, error) {
		err := rights.CheckConfinement(ctx, i.both.remote.bridged(), i.values.Node)
		switch {
		case err == nil:
			return true, "", nil
		case errors.Is(err, rights.ErrNotConfined):
			return false, "akd might still create a namespace that is not its own", nil
		case errors.Is(err, rights.ErrMayNotImpersonate):
			return false, "", fmt.Errorf("your user may not impersonate akd in the remote cluster, to see that it is confined: %w", err)
		default:
			return false, err.Error(), nil // its rights may lag behind, too
		}
	})
}

func (i *install) waitAKD(ctx context.Context) (string, error) {
	return "", until(ctx, func(ctx context.Context) (bool, string, error) {
		akd, err := i.home.client.AppsV1().Deployments(contract.SystemNamespace).Get(ctx, i.values.Node, metav1.GetOptions{})
		if err != nil {
			return false, "", err
		}
		status := akd.Status
		if status.ObservedGeneration >= akd.Generation && status.UpdatedReplicas == i.values.Replicas &&
			status.Replicas == i.values.Replicas && status.AvailableReplicas >= 1 {
			return true, "", nil
		}
		return false, i.home.akdTrouble(ctx, i.values.Node), nil
	})
}

// akdPods selects the pods of a node's akd.
func akdPods(node string) metav1.ListOptions {
	return metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=akd," + contract.LabelNodeName + "=" + node}
}

// akdTrouble says why akd's pod does not run, as far as it says so itself.
func (c *cluster) akdTrouble(ctx context.Context, node string) string {
	pods, err := c.client.CoreV1().Pods(contract.SystemNamespace).List(ctx, akdPods(node))
	if err != nil || len(pods.Items) == 0 {
		return "akd has no pod"
	}
	pod := &pods.Items[0]
	for _, container := range pod.Status.ContainerStatuses {
		if waiting := container.State.Waiting; waiting != nil && waiting.Reason != "ContainerCreating" {
			return fmt.Sprintf("pod %s: %s: %s", pod.Name, waiting.Reason, waiting.Message)
		}
	}
	for _, condition := range pod.Status.Conditions {
		if condition.Status == corev1.ConditionFalse && condition.Message != "" {
			return fmt.Sprintf("pod %s: %s", pod.Name, condition.Message)
		}
	}
	return "pod " + pod.Name + " starts"
}

// waitNode waits for the node and approves the request for its certificate.
func (i *install) waitNode(ctx context.Context) (string, error) {
	return "", until(ctx, func(ctx context.Context) (bool, string, error) {
		node, err := i.both.local.client.CoreV1().Nodes().Get(ctx, i.values.Node, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return false, "the node is not registered", nil
		}
		if err != nil {
			return false, "", err
		}
		pending, err := i.approve(ctx, node)
		if err != nil || pending != "" {
			return false, pending, err
		}
		_, ready := nodeutil.GetNodeCondition(&node.Status, corev1.NodeReady)
		if ready == nil {
			return false, "the node has no condition Ready", nil
		}
		return ready.Status == corev1.ConditionTrue, ready.Message, nil
	})
}

// approve approves the node's own requests for a serving certificate. It says
// why the node has none that was approved, if it has none. A request may be
// there before the node has the address that it is for: an akd that starts
// elsewhere has another.
func (i *install) approve(ctx context.Context, node *corev1.Node) (pending string, err error) {
	client := i.both.local.client.CertificatesV1().CertificateSigningRequests()
	requests, err := client.List(ctx, metav1.ListOptions{FieldSelector: "spec.signerName=" + certificatesv1.KubeletServingSignerName})
	if err != nil {
		return "", fmt.Errorf("look for the node's certificate request: %w", err)
	}
	_, state := nodeutil.GetNodeCondition(&node.Status, contract.ConditionServingCertificateSigned)
	signed := metav1.Time{}
	if state != nil && state.Status == corev1.ConditionTrue {
		signed = state.LastTransitionTime
	}
	for r := range requests.Items {
		request := &requests.Items[r]
		if request.Spec.Username != "system:node:"+node.Name || len(request.Status.Conditions) > 0 {
			continue
		}
		if err := checkRequest(request, node); err != nil {
			if !request.CreationTimestamp.Before(&signed) { // an older one is of an akd that is gone
				pending = fmt.Sprintf("certificate request %s is not approved: %s", request.Name, err)
			}
			continue
		}
		request.Status.Conditions = append(request.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{
			Type: certificatesv1.CertificateApproved, Status: corev1.ConditionTrue,
			Reason: "KubectlActual", Message: "the node's own subject and addresses, approved at install",
		})
		if _, err := client.UpdateApproval(ctx, request.Name, request, metav1.UpdateOptions{FieldManager: fieldManager}); err != nil && !apierrors.IsConflict(err) {
			return "", fmt.Errorf("approve certificate request %s: %w", request.Name, err)
		}
	}
	if state != nil && state.Status != corev1.ConditionTrue {
		return cmp.Or(pending, "its certificate is not requested"), nil
	}
	return pending, nil
}

// checkRequest holds a request against who asks and the node's addresses: the
// signer does not.
// https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/#kubernetes-signers
func checkRequest(request *certificatesv1.CertificateSigningRequest, node *corev1.Node) error {
	user := "system:node:" + node.Name
	if request.Spec.Username != user || !slices.Contains(request.Spec.Groups, "system:nodes") {
		return fmt.Errorf("it was made by %s, not by the node", request.Spec.Username)
	}
	block, _ := pem.Decode(request.Spec.Request)
	if block == nil {
		return errors.New("it is not PEM")
	}
	parsed, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return err
	}
	if parsed.Subject.CommonName != user || !slices.Equal(parsed.Subject.Organization, []string{"system:nodes"}) {
		return fmt.Errorf("its subject is %s, not the node's", parsed.Subject)
	}
	var addresses []string
	for _, address := range node.Status.Addresses {
		addresses = append(addresses, address.Address)
	}
	asked := slices.Clone(parsed.DNSNames)
	for _, ip := range parsed.IPAddresses {
		asked = append(asked, ip.String())
	}
	for _, name := range asked {
		if !slices.Contains(addresses, name) {
			return fmt.Errorf("it asks for %s, which is no address of the node", name)
		}
	}
	if len(parsed.EmailAddresses) > 0 || len(parsed.URIs) > 0 {
		return errors.New("it asks for more than names and addresses")
	}
	return nil
}

// probe runs one pod on the node, and takes it away again.
func (i *install) probe(ctx context.Context) (string, error) {
	pods := i.both.local.client.CoreV1().Pods(contract.SystemNamespace)
	pod, err := pods.Create(ctx, i.probePod(), metav1.CreateOptions{FieldManager: fieldManager})
	if err != nil {
		return "", fmt.Errorf("create the probe pod: %w", err)
	}
	defer func() {
		after, cancel := context.WithTimeout(context.WithoutCancel(ctx), connectTimeout)
		defer cancel()
		_ = pods.Delete(after, pod.Name, metav1.DeleteOptions{})
	}()
	var where string
	err = until(ctx, func(ctx context.Context) (bool, string, error) {
		found, err := pods.Get(ctx, pod.Name, metav1.GetOptions{})
		if err != nil {
			return false, "", err
		}
		where = found.Annotations[contract.AnnotationRemoteNode]
		seen := []string{fmt.Sprintf("pod %s is %s", pod.Name, found.Status.Phase)}
		for _, condition := range found.Status.Conditions {
			if condition.Status == corev1.ConditionFalse && condition.Message != "" {
				seen = append(seen, condition.Message)
			}
		}
		return found.Status.Phase == corev1.PodRunning, strings.Join(seen, ": "), nil
	})
	if where != "" {
		where = "on remote node " + where
	}
	return where, err
}

func (i *install) probePod() *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			GenerateName: i.values.Node + "-probe-",
			Labels:       map[string]string{"app.kubernetes.io/managed-by": fieldManager, contract.LabelNodeName: i.values.Node},
		},
		Spec: corev1.PodSpec{
			NodeSelector:                  map[string]string{"actual.vk/node": "true", corev1.LabelHostname: i.values.Node},
			Tolerations:                   []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
			AutomountServiceAccountToken:  new(false),
			TerminationGracePeriodSeconds: new(int64(0)),
			SecurityContext:               unprivileged(),
			Containers:                    []corev1.Container{{Name: "probe", Image: i.probeImage, SecurityContext: powerless()}},
		},
	}
}

// unprivileged and powerless are what Pod Security level restricted asks of a
// pod and its containers.
// https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
func unprivileged() *corev1.PodSecurityContext {
	return &corev1.PodSecurityContext{
		RunAsNonRoot: new(true), RunAsUser: new(int64(65532)),
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
}

func powerless() *corev1.SecurityContext {
	return &corev1.SecurityContext{AllowPrivilegeEscalation: new(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}}
}
