//go:build e2e

package e2e

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/remotecommand"

	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

// endpoint is a request to the kubelet API and the right that it takes.
type endpoint struct {
	method, path, right string
	// granted is the answer to who has the right, in the cases' namespace
	// without pods.
	granted int
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
	{"GET", "/metrics/cadvisor", "nodes/metrics", 404},
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

// refusal is what a refused caller is told; log requests get the message
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

// Who gets in, what leaves nothing behind, and by what akd is known, on one
// akd with one pod.
func TestKubeletAPI(t *testing.T) {
	e := shared
	e.Kubectl(t, "local", "delete", "certificatesigningrequests", "--all")
	akd := e.StartAKD(t, env.ExampleNode)
	p := e.Pod(e.Namespace(t, "kubelet-api"), "speaker")
	e.Apply(t, p.Namespace, fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: speaker}
spec:
  nodeName: %s
  terminationGracePeriodSeconds: 1
  containers: [{name: app, image: "busybox:1.36", imagePullPolicy: Never, command: [sh, -c, 'echo a word; trap exit TERM; while :; do sleep 1 & wait; done']}]
`, env.ExampleNode))
	e.WaitReady(t, p.Namespace, "speaker")
	t.Run("Refuses", func(t *testing.T) { testRefuses(t, e, p.Namespace) })
	t.Run("ServingCertificate", func(t *testing.T) { testServingCertificate(t, p) })
	t.Run("DroppedStreams", func(t *testing.T) { testDroppedStreams(t, p) })
	if akd.HasExited() {
		t.Error("akd has ended")
	}
}

// Nobody gets in without the right that the very path takes, and everybody is
// told what is missing.
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
	verbs := map[string]string{"GET": "get", "POST": "create", "PUT": "update", "DELETE": "delete"}
	t.Run("NoRight", func(t *testing.T) {
		c := e.ServiceAccount(t, e.Local, namespace, "none")
		for _, to := range endpoints {
			code, body := c.Request(t, to.method, to.path)
			status, err := refusal(to.path, body)
			want := fmt.Sprintf(`nodes %q is forbidden: user "system:serviceaccount:%s:none" needs verb %q on %s of this node`, env.ExampleNode, namespace, verbs[to.method], to.right)
			if code != http.StatusForbidden || err != nil || !strings.HasPrefix(status.Message, want) {
				t.Errorf("%s %s: %d %q, want 403 and %q", to.method, to.path, code, body, want)
			}
		}
	})
	t.Run("OneRight", func(t *testing.T) {
		c := e.ServiceAccount(t, e.Local, namespace, "metrics", rbacv1.PolicyRule{
			APIGroups: []string{""}, Resources: []string{"nodes/metrics"}, ResourceNames: []string{env.ExampleNode}, Verbs: []string{"get"},
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
	t.Run("AllRights", func(t *testing.T) {
		for _, to := range endpoints {
			if code, body := e.Administrator(t, "local").Request(t, to.method, to.path); code != to.granted {
				t.Errorf("%s %s: %d %q, want %d", to.method, to.path, code, body, to.granted)
			}
		}
	})
}

// sizes of akd, as it measures itself.
type sizes struct {
	goroutines, files, heap, resident, streams float64
}

func (s sizes) String() string {
	return fmt.Sprintf("%v goroutines, %v files, %.1f MiB of heap, %.1f MiB resident, %v streams", s.goroutines, s.files, s.heap/(1<<20), s.resident/(1<<20), s.streams)
}

func sizesOf(t *testing.T, e *env.Env) sizes {
	t.Helper()
	_, body := e.Administrator(t, "local").Request(t, "GET", "/metrics")
	value := func(name string) float64 {
		found := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindStringSubmatch(body)
		if found == nil {
			t.Fatalf("/metrics lacks %s:\n%s", name, body)
		}
		n, err := strconv.ParseFloat(found[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	return sizes{
		value("go_goroutines"), value("process_open_fds"), value("go_memstats_heap_alloc_bytes"),
		value("process_resident_memory_bytes"), value("akd_kubelet_api_streams"),
	}
}

// Users close their laptops while commands run: what they had opened is gone
// from akd, and the commands end.
func testDroppedStreams(t *testing.T, p env.Pod) {
	e, sessions := p.Env, 50
	if env.Slow() {
		sessions = 500
	}
	dropped(t, e, p, 10) // akd's caches and pools are warm after it
	var before sizes
	env.Eventually(t, "the first few are gone", func(context.Context) error {
		if before = sizesOf(t, e); before.streams > 0 {
			return fmt.Errorf("%v", before)
		}
		return nil
	})
	open := dropped(t, e, p, sessions)
	var after sizes
	// Go collects at least every two minutes.
	env.Within(t, 2*env.Timeout, "akd is as it was before", func(context.Context) error {
		after = sizesOf(t, e)
		if after.streams > before.streams || after.goroutines > before.goroutines+10 || after.files > before.files+5 || after.heap > before.heap*1.25+8<<20 {
			return fmt.Errorf("%v, before it were %v", after, before)
		}
		return nil
	})
	t.Logf("before %d sessions:  %v\nwhile they were open: %v\nafter:                %v", sessions, before, open, after)
	env.Eventually(t, "the commands have ended", func(context.Context) error {
		if left := p.Kubectl(t, "local", "exec", "-n", p.Namespace, p.Name, "--", "sh", "-c", "pidof cat || true"); strings.TrimSpace(left) != "" {
			return fmt.Errorf("of cat run %s", left)
		}
		return nil
	})
}

// dropped opens exec sessions that say a word and wait, then breaks their
// connections. It returns akd's sizes while all were open.
func dropped(t *testing.T, e *env.Env, p env.Pod, sessions int) sizes {
	t.Helper()
	cfg := e.RESTConfig(t, "local")
	to := env.StartRelay(t, cfg)
	request := e.Local.CoreV1().RESTClient().Post().Namespace(p.Namespace).Resource("pods").Name(p.Name).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Command: []string{"cat"}, Stdin: true, Stdout: true}, scheme.ParameterCodec).URL()
	request.Host = to.Address
	opening := make(chan struct{}, 20)
	var echoed, ended sync.WaitGroup
	for range sessions {
		executor, err := remotecommand.NewSPDYExecutor(cfg, http.MethodPost, request)
		if err != nil {
			t.Fatal(err)
		}
		opening <- struct{}{}
		echoed.Add(1)
		stdin, typing := io.Pipe()
		heard := sync.OnceFunc(func() { <-opening; echoed.Done() })
		ended.Go(func() {
			defer func() { _ = typing.Close() }()
			go func() { _, _ = io.WriteString(typing, "a word\n") }()
			// An end is no error to client-go, a reset is.
			_ = executor.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdin: stdin, Stdout: onWrite(heard)})
			heard()
		})
	}
	echoed.Wait()
	open := sizesOf(t, e)
	if int(open.streams) != sessions {
		t.Errorf("akd counts %v streams, want %d", open.streams, sessions)
	}
	to.Cut()
	ended.Wait()
	return open
}

type onWrite func()

func (f onWrite) Write(p []byte) (int, error) { f(); return len(p), nil }

// A second API server, which verifies kubelets' certificates, talks to akd
// once somebody has approved akd's request, and akd need not be restarted.
func testServingCertificate(t *testing.T, p env.Pod) {
	e := p.Env
	verifying := e.StartVerifyingServer(t)

	if out, err := verifying("logs", p.Name, "-n", p.Namespace); err == nil || !strings.Contains(out, "certificate signed by unknown authority") {
		t.Errorf("before the approval: %v %s", err, out)
	}
	request := e.PendingRequest(t)
	// The controller manager publishes nothing that shows it, so look at what
	// the user who approves is shown.
	described := e.Kubectl(t, "local", "describe", "certificatesigningrequest", request)
	for _, want := range []string{"system:node:" + env.ExampleNode, "kubernetes.io/kubelet-serving", e.Address, "Pending"} {
		if !strings.Contains(described, want) {
			t.Errorf("the request does not show %q:\n%s", want, described)
		}
	}
	e.Kubectl(t, "local", "certificate", "approve", request)
	env.Eventually(t, "the API server that verifies reads the log", func(context.Context) error {
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
