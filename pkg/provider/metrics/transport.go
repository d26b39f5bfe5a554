package metrics

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Cluster names one of the two clusters.
type Cluster string

// The clusters that requests go to.
const (
	Local  Cluster = "local"
	Remote Cluster = "remote"
)

// Verbs, as in Kubernetes' audit log and RBAC; connect is for streams.
const (
	verbConnect = "connect"
	verbWatch   = "watch"
)

// Transport returns a wrapper for rest.Config.Wrap that measures the requests to
// a cluster.
func (m *Metrics) Transport(cluster Cluster) func(http.RoundTripper) http.RoundTripper {
	return func(next http.RoundTripper) http.RoundTripper {
		return &transport{metrics: m, cluster: string(cluster), next: next}
	}
}

type transport struct {
	metrics *Metrics
	cluster string
	next    http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(request *http.Request) (*http.Response, error) {
	verb, resource := attributes(request)
	began := t.metrics.clock.Now()
	response, err := t.next.RoundTrip(request)
	if verb != verbWatch && verb != verbConnect {
		t.metrics.request.WithLabelValues(t.cluster, verb).Observe(t.metrics.clock.Since(began).Seconds())
	}
	t.metrics.requests.WithLabelValues(t.cluster, verb, resource, code(response, err)).Inc()
	return response, err
}

// WrappedRoundTripper lets apimachinery find the TLS configuration of the
// transport below.
func (t *transport) WrappedRoundTripper() http.RoundTripper { return t.next }

func code(response *http.Response, err error) string {
	switch {
	case errors.Is(err, context.Canceled):
		return "canceled"
	case err != nil || response == nil:
		return "error"
	case response.StatusCode < 100 || response.StatusCode > 599:
		return "other"
	}
	return strconv.Itoa(response.StatusCode)
}

// attributes returns the verb of a request and its resource with subresource, as
// in RBAC. A resource that is not part of the Kubernetes API, or that akd never
// requests, is other, so that the number of values stays small.
// https://kubernetes.io/docs/reference/access-authn-authz/authorization/#determine-the-request-verb
func attributes(request *http.Request) (verb, resource string) {
	resource, name := path(strings.Split(strings.Trim(request.URL.Path, "/"), "/"))
	if resource == "" {
		return method(request.Method, true), "other"
	}
	_, sub, _ := strings.Cut(resource, "/")
	if slices.Contains([]string{"exec", "attach", "portforward", "proxy"}, sub) {
		return verbConnect, resource
	}
	query := request.URL.Query()
	if watch, err := strconv.ParseBool(query.Get("watch")); err == nil && watch && request.Method == http.MethodGet {
		return verbWatch, resource
	}
	// A followed log is a stream: its first byte may take hours.
	if follow, err := strconv.ParseBool(query.Get("follow")); err == nil && follow && sub == "log" {
		return verbConnect, resource
	}
	return method(request.Method, name), resource
}

// method returns the verb; named reports whether the request names one object.
func method(method string, named bool) string {
	switch method {
	case http.MethodGet, http.MethodHead:
		if !named {
			return "list"
		}
		return "get"
	case http.MethodPost:
		return "create"
	case http.MethodPut:
		return "update"
	case http.MethodPatch:
		return "patch"
	case http.MethodDelete:
		if !named {
			return "deletecollection"
		}
		return "delete"
	}
	return "other"
}

// path parses /api/VERSION/… and /apis/GROUP/VERSION/…, after any prefix of the
// server, and reports whether the path names an object. The resource is "" if
// there is none.
func path(segments []string) (resource string, named bool) {
	var group string
	for i, segment := range segments {
		if segment == "api" && i+1 < len(segments) && version(segments[i+1]) {
			segments = segments[i+2:]
			return object(group, segments)
		}
		if segment == "apis" && i+2 < len(segments) && version(segments[i+2]) {
			group, segments = segments[i+1], segments[i+3:]
			return object(group, segments)
		}
	}
	return "", false
}

func version(segment string) bool {
	return len(segment) > 1 && segment[0] == 'v' && segment[1] >= '0' && segment[1] <= '9'
}

// object parses [namespaces/NAMESPACE/]RESOURCE[/NAME[/SUBRESOURCE]].
func object(group string, segments []string) (resource string, named bool) {
	// /namespaces/NAME/status and /finalize are subresources of a namespace.
	if len(segments) > 2 && segments[0] == "namespaces" && segments[2] != "status" && segments[2] != "finalize" {
		segments = segments[2:]
	}
	if len(segments) == 0 || segments[0] == "" {
		return "", false
	}
	resource = segments[0]
	if group == "metrics.k8s.io" {
		resource += "." + group // pods and nodes there are not those of the core
	}
	if !slices.Contains(resources(), resource) {
		return "other", len(segments) > 1
	}
	if len(segments) > 2 {
		if sub := segments[2]; slices.Contains(subresources(), sub) {
			resource += "/" + sub
		} else {
			resource += "/other"
		}
	}
	return resource, len(segments) > 1
}

func resources() []string {
	return []string{
		"certificatesigningrequests", "configmaps", "endpoints", "endpointslices", "events", "leases", "namespaces",
		"nodes", "nodes.metrics.k8s.io", "poddisruptionbudgets", "pods", "pods.metrics.k8s.io", "rolebindings", "secrets",
		"selfsubjectaccessreviews", "selfsubjectreviews", "selfsubjectrulesreviews", "serviceaccounts", "services",
		"subjectaccessreviews", "tokenreviews",
	}
}

func subresources() []string {
	return []string{
		"attach", "ephemeralcontainers", "exec", "finalize", "log", "portforward", "proxy", "resize", "status", "token",
	}
}
