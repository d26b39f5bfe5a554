package kubeclient

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// Labels of all that kubectl actual makes.
const (
	LabelManagedBy = "app.kubernetes.io/managed-by" // FieldManager
	LabelPartOf    = "app.kubernetes.io/part-of"    // PartOf
	PartOf         = "actual-kubelets"
)

// AKDPods selects the pods of a node's akd.
func AKDPods(node string) metav1.ListOptions {
	return metav1.ListOptions{LabelSelector: contract.AKDSelector(node)}
}

// AccountUser is the user that a node's akd is in a cluster, before it acts as
// the node.
func AccountUser(node string) string {
	return "system:serviceaccount:" + contract.SystemNamespace + ":" + node
}

// AKDProblem says why the pod of a node's akd does not run, as far as the pod
// says so itself.
func (c *Cluster) AKDProblem(ctx context.Context, node string) string {
	pods, err := c.Client.CoreV1().Pods(contract.SystemNamespace).List(ctx, AKDPods(node))
	if err != nil || len(pods.Items) == 0 {
		return "akd has no pod"
	}
	pod := &pods.Items[0]
	for _, container := range pod.Status.ContainerStatuses {
		if waiting := container.State.Waiting; waiting != nil && waiting.Reason != "ContainerCreating" {
			return fmt.Sprintf("pod %s: %s: %s%s", pod.Name, waiting.Reason, waiting.Message, c.lastWords(ctx, pod, &container))
		}
		if container.State.Running != nil && !container.Ready || container.State.Terminated != nil {
			return fmt.Sprintf("pod %s is not ready%s", pod.Name, c.lastWords(ctx, pod, &container))
		}
	}
	for _, condition := range pod.Status.Conditions {
		if condition.Status == corev1.ConditionFalse && condition.Message != "" {
			return fmt.Sprintf("pod %s: %s", pod.Name, condition.Message)
		}
	}
	return "pod " + pod.Name + " is starting"
}

// lastLines is how much of its log is akd's last words, and logLimit how much of it is
// read.
const (
	lastLines = 3
	logLimit  = 4096
)

// lastWords are the last lines of akd's log, as the end of a sentence: of the one that
// crashed, or of the one that runs. Whoever may not read logs gets those that are in
// the pod's status.
func (c *Cluster) lastWords(ctx context.Context, pod *corev1.Pod, container *corev1.ContainerStatus) string {
	text := ""
	for _, ended := range []*corev1.ContainerStateTerminated{container.State.Terminated, container.LastTerminationState.Terminated} {
		if ended != nil && container.State.Running == nil {
			text = cmp.Or(text, ended.Message)
		}
	}
	if text == "" && (container.State.Running != nil || container.RestartCount > 0) {
		log, err := c.Client.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{
			Container:  container.Name,
			Previous:   container.State.Running == nil,
			TailLines:  new(int64(lastLines)),
			LimitBytes: new(int64(logLimit)),
		}).DoRaw(ctx)
		if err == nil {
			text = string(log)
		}
	}
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if lines[0] == "" {
		return ""
	}
	return ": its log ends with: " + strings.Join(lines[max(0, len(lines)-lastLines):], "; ")
}

// ErrMayNotActAsAKD says that the user lacks the right to act as akd.
var ErrMayNotActAsAKD = errors.New("your user may not act as akd")

// AsAKD returns a client that acts as the akd of a node, with a connection of its
// own: what balances the load may lead it to another API server than the last one.
// RefusalOf tells by what akd is refused.
//
// It impersonates akd. A user who impersonates somebody already cannot do that as
// somebody: the API server would ask for the right of the user whose credentials
// these are. It then takes a token of akd's account, which it keeps to itself.
// https://kubernetes.io/docs/reference/access-authn-authz/user-impersonation/
func (c *Cluster) AsAKD(ctx context.Context, node string) (kubernetes.Interface, error) {
	config := rest.CopyConfig(c.Config)
	if c.Impersonates() {
		token, err := c.akdToken(ctx, node)
		if err != nil {
			return nil, err
		}
		config = rest.AnonymousClientConfig(c.Config)
		config.BearerToken = token
	} else {
		config.Impersonate = rest.ImpersonationConfig{UserName: AccountUser(node)}
	}
	if config.Dial == nil {
		config.Dial = (&net.Dialer{Timeout: ConnectTimeout}).DialContext
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("%s cluster: act as akd: %w", c.Side, err)
	}
	return client, nil
}

// Impersonates reports whether the user acts as another one: by as in the
// kubeconfig, or by flags.
func (c *Cluster) Impersonates() bool { return c.Config != nil && c.Config.Impersonate.UserName != "" }

// trialTokens are the tokens that AsAKD has taken, by node. They last for the
// command.
type trialTokens struct {
	mutex sync.Mutex
	taken map[string]string
}

func (c *Cluster) akdToken(ctx context.Context, node string) (string, error) {
	c.trials.mutex.Lock()
	defer c.trials.mutex.Unlock()
	if token := c.trials.taken[node]; token != "" {
		return token, nil
	}
	seconds := int64(contract.MinTokenLifetime.Seconds())
	granted, err := c.Client.CoreV1().ServiceAccounts(contract.SystemNamespace).CreateToken(ctx, node,
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}, metav1.CreateOptions{})
	if apierrors.IsForbidden(err) {
		return "", fmt.Errorf("%w in the %s cluster: %w", ErrMayNotActAsAKD, c.Side, err)
	}
	if err != nil {
		return "", fmt.Errorf("%s cluster: act as akd: request a token: %w", c.Side, err)
	}
	c.trials.taken[node] = granted.Status.Token
	return granted.Status.Token, nil
}

// RestrictedPod and RestrictedContainer are what Pod Security level restricted
// requires of a pod and its containers.
// https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
func RestrictedPod() *corev1.PodSecurityContext {
	return &corev1.PodSecurityContext{
		RunAsNonRoot:   new(true),
		RunAsUser:      new(int64(65532)),
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
}

// RestrictedContainer is described with RestrictedPod.
func RestrictedContainer() *corev1.SecurityContext {
	return &corev1.SecurityContext{
		AllowPrivilegeEscalation: new(false),
		Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
}
