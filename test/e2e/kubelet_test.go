//go:build e2e

package e2e

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

// endpoint is a request to the kubelet API and the right that it requires.
type endpoint struct {
	method, path, right string
	// granted is the status code for a caller with the right; the pods do not
	// exist.
	granted int
}

// verb is that of the right: whoever opens a stream or runs a command creates
// something, whatever the method.
func (to endpoint) verb() string {
	if first, _, _ := strings.Cut(to.path[1:], "/"); slices.Contains([]string{"exec", "attach", "portForward", "run"}, first) {
		return "create"
	}
	return map[string]string{"GET": "get", "POST": "create", "PUT": "update", "DELETE": "delete"}[to.method]
}

const anyProxy = "nodes/proxy"

var endpoints = []endpoint{
	{"GET", "/pods", "nodes/pods or nodes/proxy", 200},
	{"GET", "/runningpods/", "nodes/pods or nodes/proxy", 200},
	{"GET", "/configz", "nodes/configz or nodes/proxy", 200},
	{"GET", "/healthz", "nodes/healthz or nodes/proxy", 200},
	{"GET", "/healthz/ping", "nodes/healthz or nodes/proxy", 200},
	{"GET", "/healthz/log", "nodes/healthz or nodes/proxy", 200},
	{"GET", "/healthz/syncloop", "nodes/healthz or nodes/proxy", 200},
	{"GET", "/metrics", "nodes/metrics", 200},
	{"GET", "/metrics/resource", "nodes/metrics", 200},
	{"GET", "/metrics/cadvisor", "nodes/metrics", 200},
	{"GET", "/metrics/probes", "nodes/metrics", 200},
	{"GET", "/metrics/slis", "nodes/metrics", 200},
	{"GET", "/metrics/machine", "nodes/metrics", 404},
	{"GET", "/stats/summary", "nodes/stats", 200},
	{"GET", "/stats/container", "nodes/stats", 404},
	{"GET", "/logs/", "nodes/log", 404},
	{"GET", "/containerLogs/no-such/pod/app", anyProxy, 404},
	{"POST", "/exec/no-such/pod/app?command=id&output=1", anyProxy, 400},
	{"GET", "/exec/no-such/pod/app?command=id&output=1", anyProxy, 400},
	{"POST", "/exec/no-such/pod/uid/app?command=id&output=1", anyProxy, 400},
	{"POST", "/attach/no-such/pod/app?output=1", anyProxy, 400},
	{"POST", "/attach/no-such/pod/uid/app?output=1", anyProxy, 400},
	{"POST", "/portForward/no-such/pod", anyProxy, 400},
	{"POST", "/portForward/no-such/pod/uid", anyProxy, 400},
	{"POST", "/run/no-such/pod/app?cmd=id", anyProxy, 404},
	{"POST", "/run/no-such/pod/uid/app?cmd=id", anyProxy, 404},
	{"POST", "/checkpoint/no-such/pod/app", "nodes/checkpoint", 501},
	{"GET", "/allocatedPods", "nodes/pods or nodes/proxy", 404},
	{"GET", "/statusz", "nodes/statusz", 404},
	{"GET", "/flagz", "nodes/configz", 404},
	{"GET", "/debug/pprof/", anyProxy, 404},
	{"GET", "/", anyProxy, 404},
	{"GET", "/no/such/path", anyProxy, 404},
	{"DELETE", "/pods", "nodes/pods or nodes/proxy", 405},
	{"PUT", "/exec/no-such/pod/app?command=id&output=1", anyProxy, 405},
}

// refusal reads the body of a refused request: a Status, or for logs the message
// alone.
func refusal(path, body string) (metav1.Status, error) {
	if strings.HasPrefix(path, "/containerLogs/") {
		return metav1.Status{Message: body}, nil
	}
	var status metav1.Status
	err := json.Unmarshal([]byte(body), &status)
	if err == nil && status.Kind != "Status" {
		err = errors.New("not a Status")
	}
	return status, err
}

// The kubelet API of one akd with one pod: who gets access, how akd identifies
// itself, and what remains of dropped streams.
func TestKubeletAPI(t *testing.T) {
	e := shared
	e.Kubectl(t, "local", "delete", "certificatesigningrequests", "--all")
	akd := e.StartAKD(t, env.ExampleNode, "--kubelet-api-max-streams", "2048") // a pod has a quarter of them
	p := e.Pod(e.Namespace(t, "kubelet-api"), "speaker")
	e.Apply(t, p.Namespace, fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: speaker}
spec:
  nodeName: %s
  terminationGracePeriodSeconds: 1
  containers:
  - name: app
    image: busybox:1.36
    imagePullPolicy: Never
    command: [sh, -c, 'echo a word; trap exit TERM; while :; do sleep 1 & wait; done']
`, env.ExampleNode))
	e.WaitReady(t, p.Namespace, "speaker")
	t.Run("Refuses", func(t *testing.T) { testRefuses(t, e, p.Namespace) })
	t.Run("ServingCertificate", func(t *testing.T) { testServingCertificate(t, p) })
	t.Run("DroppedStreams", func(t *testing.T) { testDroppedStreams(t, p) })
	if akd.HasExited() {
		t.Error("akd has ended")
	}
}

// Nobody gets access to a path without the right that it requires, and the
// response names what is missing.
func testRefuses(t *testing.T, e *env.Env, namespace string) {
	strangers := map[string]struct {
		env.Caller
		want string
	}{
		"Nobody":             {e.Anonymous(), "present a client certificate"},
		"ForgedCertificate":  {e.Forger(t), "the client certificate is not valid here"},
		"ForeignCertificate": {e.Administrator(t, "remote"), "the client certificate is not valid here"},
		"ForgedToken":        {e.Bearer("eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9."), "the bearer token is not valid in this cluster"},
		"ForeignToken":       {e.ServiceAccount(t, e.Remote, "default", "e2e-foreigner"), "the bearer token is not valid in this cluster"},
	}
	t.Cleanup(func() { e.Kubectl(t, "remote", "delete", "serviceaccount", "e2e-foreigner") })
	for name, stranger := range strangers {
		t.Run(name, func(t *testing.T) {
			for _, to := range endpoints {
				code, body := stranger.Request(t, to.method, to.path)
				status, err := refusal(to.path, body)
				if code != http.StatusUnauthorized || err != nil || !strings.Contains(status.Message, stranger.want) {
					t.Errorf("%s %s: %d %q, want 401 and %q", to.method, to.path, code, body, stranger.want)
				}
			}
		})
	}
	t.Run("NoRight", func(t *testing.T) {
		c := e.ServiceAccount(t, e.Local, namespace, "none")
		for _, to := range endpoints {
			code, body := c.Request(t, to.method, to.path)
			status, err := refusal(to.path, body)
			want := fmt.Sprintf(`nodes %q is forbidden: user "system:serviceaccount:%s:none" needs verb %q on %s of this node`,
				env.ExampleNode, namespace, to.verb(), to.right)
			if code != http.StatusForbidden || err != nil || !strings.HasPrefix(status.Message, want) {
				t.Errorf("%s %s: %d %q, want 403 and %q", to.method, to.path, code, body, want)
			}
		}
	})
	t.Run("OneRight", func(t *testing.T) {
		c := e.ServiceAccount(t, e.Local, namespace, "metrics", rbacv1.PolicyRule{
			APIGroups:     []string{""},
			Resources:     []string{"nodes/metrics"},
			ResourceNames: []string{env.ExampleNode},
			Verbs:         []string{"get"},
		})
		for _, to := range endpoints {
			want := http.StatusForbidden
			if to.right == "nodes/metrics" {
				want = to.granted
			}
			if code, body := c.Request(t, to.method, to.path); code != want {
				t.Errorf("%s %s: %d %q, want %d", to.method, to.path, code, body, want)
			}
		}
	})
	// Monitoring often has this right, which a kubelet takes for that to run commands
	// through a WebSocket.
	t.Run("OnlyReads", func(t *testing.T) {
		c := e.ServiceAccount(t, e.Local, namespace, "reader", rbacv1.PolicyRule{
			APIGroups: []string{""},
			Resources: []string{anyProxy},
			Verbs:     []string{"get"},
		})
		for _, to := range endpoints {
			want := http.StatusForbidden
			if to.verb() == "get" && strings.Contains(to.right, anyProxy) {
				want = to.granted
			}
			if code, body := c.Request(t, to.method, to.path); code != want {
				t.Errorf("%s %s: %d %q, want %d", to.method, to.path, code, body, want)
			}
		}
	})
	t.Run("AllRights", func(t *testing.T) {
		for _, to := range endpoints {
			if code, body := e.Administrator(t, "local").Request(t, to.method, to.path); code != to.granted {
				t.Errorf("%s %s: %d %q, want %d", to.method, to.path, code, body, to.granted)
			}
		}
	})
}

// An API server that verifies kubelets' certificates can reach akd once somebody
// has approved akd's request, without a restart of akd.
func testServingCertificate(t *testing.T, p env.Pod) {
	e := p.Env
	verifying := e.StartVerifyingServer(t)

	out, err := verifying("logs", p.Name, "-n", p.Namespace)
	if err == nil || !strings.Contains(out, "certificate signed by unknown authority") {
		t.Errorf("before the approval: %v %s", err, out)
	}
	request := e.PendingRequest(t)
	// This is what users see before they approve it.
	described := e.Kubectl(t, "local", "describe", "certificatesigningrequest", request)
	for _, want := range []string{"system:node:" + env.ExampleNode, "kubernetes.io/kubelet-serving", e.Address, "Pending"} {
		if !strings.Contains(described, want) {
			t.Errorf("the request does not show %q:\n%s", want, described)
		}
	}
	e.Kubectl(t, "local", "certificate", "approve", request)
	env.Eventually(t, "the API server that verifies kubelets reads the log", func(context.Context) error {
		out, err := verifying("logs", p.Name, "-n", p.Namespace)
		if err != nil || out != "a word\n" {
			return fmt.Errorf("%w: %s", cmp.Or(err, errors.New("another log")), out)
		}
		return nil
	})
	if out, err := verifying("exec", p.Name, "-n", p.Namespace, "--", "echo", "another"); err != nil || out != "another\n" {
		t.Errorf("exec: %v %s", err, out)
	}
}
