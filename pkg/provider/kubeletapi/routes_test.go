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
		"KubeletDialect": {"what kube-apiserver sends to kubelets", execQuery, "input=1&output=1&error=1&command=a&command=b",
			url.Values{"container": {"main"}, "command": {"a", "b"}, "stdin": {"true"}, "stdout": {"true"}, "stderr": {"true"}}, false},
		"APIDialect": {"what API servers understand", execQuery, "stdin=true&stdout=true&command=a",
			url.Values{"container": {"main"}, "command": {"a"}, "stdin": {"true"}, "stdout": {"true"}}, false},
		"EmptyArgument": {"an empty argument is an argument", execQuery, "stdout=1&command=test&command=",
			url.Values{"container": {"main"}, "command": {"test", ""}, "stdout": {"true"}}, false},
		"Off":           {"zero and false are off", execQuery, "output=1&input=0&error=false&command=a", url.Values{"container": {"main"}, "command": {"a"}, "stdout": {"true"}}, false},
		"OtherPod":      {"the container is the path's", attachQuery, "output=1&container=other", url.Values{"container": {"main"}, "stdout": {"true"}}, false},
		"Terminal":      {"a terminal has one output", attachQuery, "output=1&error=1&tty=1&input=1", url.Values{"container": {"main"}, "stdin": {"true"}, "stdout": {"true"}, "tty": {"true"}}, false},
		"NoStream":      {"as a kubelet", attachQuery, "tty=1", nil, true},
		"NoCommand":     {"as an API server", execQuery, "output=1", nil, true},
		"SPDYPorts":     {"SPDY names ports in its streams", portForwardQuery, "", url.Values{}, false},
		"WebSocketPort": {"kube-apiserver joins them with commas", portForwardQuery, "port=80,443", url.Values{"ports": {"80", "443"}}, false},
		"BothDialects":  {"and other clients repeat them", portForwardQuery, "ports=80&port=81&port=82", url.Values{"ports": {"81", "82", "80"}}, false},
		"PortTooBig":    {"not a port", portForwardQuery, "port=65536", nil, true},
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
