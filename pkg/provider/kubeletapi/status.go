package kubeletapi

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/actual-kubelets/actual-kubelets/pkg/internal/disclosure"
)

var (
	podsResource  = schema.GroupResource{Resource: "pods"}  //nolint:gochecknoglobals // never written
	nodesResource = schema.GroupResource{Resource: "nodes"} //nolint:gochecknoglobals // never written
)

// writeError responds with a Status object of Kubernetes, or with text for requests
// for logs: see forLogs.
func writeError(w http.ResponseWriter, r *http.Request, err error) {
	status := forLogs(r, statusOf(err))
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	if status.Details != nil && status.Details.RetryAfterSeconds > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(status.Details.RetryAfterSeconds)))
	}
	if status.Code == http.StatusUnauthorized || status.Code == http.StatusForbidden {
		// A rejected peer does not keep one of the limited connections.
		w.Header().Set("Connection", "close")
	}
	body, contentType := encodeStatus(r, status)
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(int(status.Code))
	_, _ = w.Write(body) //nolint:gosec // JSON or plain text, as its content type says
}

// logText reports whether errors of the request are text. kube-apiserver does not
// parse the body of a response for logs: the body itself is the message that kubectl
// prints, and a Status would appear as raw JSON. Callers that accept JSON get JSON on
// every path.
// https://github.com/kubernetes/kubernetes/blob/v1.37.1/staging/src/k8s.io/apiserver/pkg/registry/generic/rest/response_checker.go
func logText(r *http.Request) bool {
	return strings.HasPrefix(r.URL.Path, "/containerLogs/") && !strings.Contains(r.Header.Get("Accept"), "application/json")
}

// forLogs turns all server errors into 500, whose text kube-apiserver passes on
// unchanged. It embeds the text of a 502 in a sentence of its own, and drops that of
// a 503 or 504.
func forLogs(r *http.Request, status metav1.Status) metav1.Status {
	if logText(r) && status.Code > http.StatusInternalServerError {
		status.Code = http.StatusInternalServerError
	}
	return status
}

func encodeStatus(r *http.Request, status metav1.Status) (body []byte, contentType string) {
	if logText(r) {
		return []byte(status.Message), "text/plain; charset=utf-8"
	}
	body, err := json.Marshal(status)
	if err != nil {
		return []byte(status.Message), "text/plain; charset=utf-8"
	}
	return append(body, '\n'), "application/json"
}

func statusOf(err error) metav1.Status {
	var apiStatus apierrors.APIStatus
	if !errors.As(err, &apiStatus) {
		apiStatus = apierrors.NewInternalError(err)
	}
	status := apiStatus.Status()
	status.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	return status
}

func newStatus(code int, reason metav1.StatusReason, format string, args ...any) *apierrors.StatusError {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status:  metav1.StatusFailure,
		Code:    int32(code), //nolint:gosec // an HTTP status code
		Reason:  reason,
		Message: fmt.Sprintf(format, args...),
	}}
}

// withPod adds the local pod to the details, as the API server does.
func withPod(err *apierrors.StatusError, pod string) *apierrors.StatusError {
	if err.ErrStatus.Details == nil {
		err.ErrStatus.Details = &metav1.StatusDetails{}
	}
	err.ErrStatus.Details.Kind = podsResource.Resource
	err.ErrStatus.Details.Name = pod
	return err
}

func withRetry(err *apierrors.StatusError, seconds int32) *apierrors.StatusError {
	if err.ErrStatus.Details == nil {
		err.ErrStatus.Details = &metav1.StatusDetails{}
	}
	err.ErrStatus.Details.RetryAfterSeconds = seconds
	return err
}

func podNotFound(t target) *apierrors.StatusError {
	return withPod(newStatus(http.StatusNotFound, metav1.StatusReasonNotFound,
		"pod %q not found in namespace %q on this node", t.pod, t.namespace), t.pod)
}

// noRemotePod is the error of a kubelet for a container that it has not started, or
// whose pod has ended and is gone. For logs, kube-apiserver passes on the text of a
// 400.
func noRemotePod(t target, local *corev1.Pod) *apierrors.StatusError {
	what := fmt.Sprintf("pod %q", t.pod)
	if t.container != "" {
		what = fmt.Sprintf("container %q in pod %q", t.container, t.pod)
	}
	ended := local.Status.Phase == corev1.PodSucceeded || local.Status.Phase == corev1.PodFailed
	switch {
	case local.Status.StartTime != nil:
		return withPod(newStatus(http.StatusBadRequest, metav1.StatusReasonBadRequest,
			"%s is gone from the remote cluster, and its logs with it", what), t.pod)
	case ended:
		return withPod(newStatus(http.StatusBadRequest, metav1.StatusReasonBadRequest,
			"%s never ran: %s", what, cmp.Or(local.Status.Message, local.Status.Reason, "see the events of the pod")), t.pod)
	}
	return withPod(newStatus(http.StatusBadRequest, metav1.StatusReasonBadRequest,
		"%s is waiting to start: the pod has not been created in the remote cluster yet; its events say why", what), t.pod)
}

func unreachable(node string, t target) *apierrors.StatusError {
	return withRetry(withPod(newStatus(http.StatusBadGateway, metav1.StatusReasonServiceUnavailable,
		"node %q cannot reach the remote cluster that runs pod %q: retry in a few seconds; if it lasts, see the conditions of the node",
		node, t.pod), t.pod), 5)
}

// remoteError turns an error of the remote API server into one about the local pod.
// status.Message is that of the remote API server, or empty.
func remoteError(node string, s stream, status metav1.Status) *apierrors.StatusError {
	message := s.localize(status.Message)
	code := int(status.Code)
	switch {
	case code == http.StatusUnauthorized:
		// kubectl would ask its user to log in after a 401.
		return withPod(newStatus(http.StatusBadGateway, metav1.StatusReasonServiceUnavailable,
			"the remote cluster does not accept the credentials of node %q: give akd a remote kubeconfig with valid ones", node), s.pod)
	case code == http.StatusForbidden:
		return withPod(newStatus(http.StatusForbidden, metav1.StatusReasonForbidden,
			"node %q may not do this in the remote cluster: %s; the administrator of the remote cluster can grant it",
			node, cmp.Or(message, "forbidden")), s.pod)
	case code == http.StatusNotFound:
		return withPod(newStatus(http.StatusNotFound, metav1.StatusReasonNotFound,
			"pod %q not found in the remote cluster%s", s.pod, detail(message, fmt.Sprintf("pods %q not found", s.pod))), s.pod)
	case code == http.StatusTooManyRequests:
		return withRetry(withPod(newStatus(code, metav1.StatusReasonTooManyRequests,
			"the remote cluster is busy: %s", cmp.Or(message, "retry later")), s.pod), 1)
	case code >= 500:
		return withPod(newStatus(http.StatusBadGateway, metav1.StatusReasonInternalError,
			"the remote cluster could not open a stream to pod %q: %s", s.pod,
			cmp.Or(strings.TrimPrefix(message, internalError), http.StatusText(code))), s.pod)
	case code < 400:
		return withPod(newStatus(http.StatusBadGateway, metav1.StatusReasonInternalError,
			"the remote cluster answered with a redirect (%d), which node %q does not follow: check the address of the remote server", code, node),
			s.pod)
	}
	local := newStatus(code, status.Reason, "%s", cmp.Or(message, http.StatusText(code)))
	return withPod(local, s.pod)
}

// internalError is in front of what API servers pass on. The local one puts it in
// front of this error again.
const internalError = "Internal error occurred: "

// detail is what a message says more than the given one, as the end of a sentence.
func detail(message, given string) string {
	if message == "" || message == given {
		return ""
	}
	return ": " + message
}

// localize returns what local users may read of a message of the remote API server,
// with local instead of remote names.
func (s stream) localize(message string) string {
	message = strings.ReplaceAll(message, s.remoteNamespace, s.namespace)
	if s.remoteName != s.pod {
		message = strings.ReplaceAll(message, s.remoteName, s.pod)
	}
	return disclosure.Text(message)
}
