package kubeletapi

import (
	"k8s.io/client-go/rest"
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestQueries(t *testing.T) {
	cases := map[string]struct {
		reason    string
		translate translation
		query     string
		want      url.Values
		refused   bool
	}{
		"KubeletDialect": {
			reason:    "what kube-apiserver sends to kubelets",
			translate: execQuery,
			query:     "input=1&output=1&error=1&command=a&command=b",
			want:      url.Values{"container": {"main"}, "command": {"a", "b"}, "stdin": {"true"}, "stdout": {"true"}, "stderr": {"true"}},
		},
		"APIDialect": {
			reason:    "what API servers understand",
			translate: execQuery,
			query:     "stdin=true&stdout=true&command=a",
			want:      url.Values{"container": {"main"}, "command": {"a"}, "stdin": {"true"}, "stdout": {"true"}},
		},
		"EmptyArgument": {
			reason:    "an empty argument is an argument",
			translate: execQuery,
			query:     "stdout=1&command=test&command=",
			want:      url.Values{"container": {"main"}, "command": {"test", ""}, "stdout": {"true"}},
		},
		"Off": {
			reason:    "zero and false are off",
			translate: execQuery,
			query:     "output=1&input=0&error=false&command=a",
			want:      url.Values{"container": {"main"}, "command": {"a"}, "stdout": {"true"}},
		},
		"OtherPod": {
			reason:    "the container is the path's",
			translate: attachQuery,
			query:     "output=1&container=other",
			want:      url.Values{"container": {"main"}, "stdout": {"true"}},
		},
		"Terminal": {
			reason:    "a terminal has one output",
			translate: attachQuery,
			query:     "output=1&error=1&tty=1&input=1",
			want:      url.Values{"container": {"main"}, "stdin": {"true"}, "stdout": {"true"}, "tty": {"true"}},
		},
		"NoStream":  {reason: "as a kubelet", translate: attachQuery, query: "tty=1", refused: true},
		"NoCommand": {reason: "as an API server", translate: execQuery, query: "output=1", refused: true},
		"SPDYPorts": {reason: "SPDY names ports in its streams", translate: portForwardQuery, want: url.Values{}},
		"WebSocketPort": {
			reason:    "kube-apiserver joins them with commas",
			translate: portForwardQuery,
			query:     "port=80,443",
			want:      url.Values{"ports": {"80", "443"}},
		},
		"BothDialects": {
			reason:    "and other clients repeat them",
			translate: portForwardQuery,
			query:     "ports=80&port=81&port=82",
			want:      url.Values{"ports": {"81", "82", "80"}},
		},
		"PortTooBig": {reason: "not a port", translate: portForwardQuery, query: "port=65536", refused: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			query, err := url.ParseQuery(tc.query)
			if err != nil {
				t.Fatal(err)
			}
			got, err := tc.translate(query, "main")
			if (err != nil) != tc.refused {
				t.Errorf("%s: error %v", tc.reason, err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// A kubeconfig's server rarely has a path, and a request line without a
// leading slash is refused by every API server.
func TestRemoteURL(t *testing.T) {
	t.Parallel()
	str := stream{remoteNamespace: "ak-1", remoteName: "web", subresource: "log"}
	for host, want := range map[string]string{
		"https://192.0.2.1:6443":      "/api/v1/namespaces/ak-1/pods/web/log",
		"https://192.0.2.1:6443/":     "/api/v1/namespaces/ak-1/pods/web/log",
		"https://192.0.2.1:6443/k8s/": "/k8s/api/v1/namespaces/ak-1/pods/web/log",
	} {
		remotes, err := newRemotes(&rest.Config{Host: host})
		if err != nil {
			t.Fatal(err)
		}
		if got := remotes.url(str).RequestURI(); got != want {
			t.Errorf("%s: requests %s, want %s", host, got, want)
		}
	}
}
