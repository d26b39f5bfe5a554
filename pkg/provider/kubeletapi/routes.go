package kubeletapi

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// target is what a path of the kubelet API refers to.
type target struct {
	namespace, pod, uid, container string
}

func targetOf(r *http.Request) target {
	return target{
		namespace: r.PathValue("namespace"),
		pod:       r.PathValue("pod"),
		uid:       r.PathValue("uid"),
		container: r.PathValue("container"),
	}
}

// stream is a request to forward to the remote API server.
type stream struct {
	target
	remoteNamespace, remoteName string
	subresource                 string
	query                       url.Values
	upgrade                     bool // to a connection that both sides write to
}

// translation translates the query of a kubelet path to that of a pod subresource.
type translation func(query url.Values, container string) (url.Values, error)

// execQuery accepts both dialects, as do the other translations: that of the kubelet,
// input=1&output=1&error=1, and that of the API server, stdin=true&stdout=true&….
// The result has the dialect of the API server.
func execQuery(query url.Values, container string) (url.Values, error) {
	out, err := attachQuery(query, container)
	if err != nil {
		return nil, err
	}
	if len(query["command"]) == 0 {
		return nil, apierrors.NewBadRequest("you must specify at least 1 command for the container")
	}
	out["command"] = query["command"]
	return out, nil
}

func attachQuery(query url.Values, container string) (url.Values, error) {
	out := url.Values{"container": {container}}
	stdin := flag(query, "input", "stdin")
	stdout := flag(query, "output", "stdout")
	stderr := flag(query, "error", "stderr")
	tty := flag(query, "tty")
	if !stdin && !stdout && !stderr {
		return nil, apierrors.NewBadRequest("you must specify at least 1 of stdin, stdout, stderr")
	}
	setFlag(out, "stdin", stdin)
	setFlag(out, "stdout", stdout)
	// A terminal has one output; the kubelet drops stderr as well.
	setFlag(out, "stderr", stderr && !tty)
	setFlag(out, "tty", tty)
	return out, nil
}

func portForwardQuery(query url.Values, _ string) (url.Values, error) {
	out := url.Values{}
	for _, name := range []string{"port", "ports"} {
		for _, list := range query[name] {
			for port := range strings.SplitSeq(list, ",") {
				if _, err := strconv.ParseUint(port, 10, 16); err != nil {
					return nil, apierrors.NewBadRequest("port " + strconv.Quote(port) + " is not a number from 0 to 65535")
				}
				out.Add("ports", port)
			}
		}
	}
	return out, nil
}

// logOptions are the fields of PodLogOptions that a kubelet uses. The remote API
// server validates the values, so that zero (tailLines=0) and invalid values have the
// same effect as there.
var logOptions = [...]string{ //nolint:gochecknoglobals // never written
	"follow", "previous", "sinceSeconds", "sinceTime", "timestamps", "tailLines", "limitBytes", "stream",
}

func logQuery(query url.Values, container string) (url.Values, error) {
	out := url.Values{"container": {container}}
	for _, name := range logOptions {
		if value := query.Get(name); value != "" {
			out.Set(name, value)
		}
	}
	// "tail" is an older name of the kubelet; "all" is the same as omitting it.
	if tail := query.Get("tail"); tail == "all" {
		out.Del("tailLines")
	} else if tail != "" {
		out.Set("tailLines", tail)
	}
	// Omit the default: API servers without PodLogsQuerySplitStreams reject the field,
	// whatever its value.
	if out.Get("stream") == corev1.LogStreamAll {
		out.Del("stream")
	}
	return out, nil
}

func flag(query url.Values, names ...string) bool {
	for _, name := range names {
		if value := query.Get(name); value == "1" || value == "true" {
			return true
		}
	}
	return false
}

func setFlag(query url.Values, name string, on bool) {
	if on {
		query.Set(name, "true")
	}
}
