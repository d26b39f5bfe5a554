//go:build e2e

package e2e

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/remotecommand"
)

// dialLocal connects from within the local cluster's network, where akd
// listens.
func (b *bed) dialLocal(ctx context.Context, network, address string) (conn net.Conn, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		// Never unlocked: the thread is in another network, and ends with the
		// goroutine.
		runtime.LockOSThread()
		conn, err = dialIn(ctx, b.network, network, address)
	}()
	<-done
	return conn, err
}

func dialIn(ctx context.Context, namespace, network, address string) (net.Conn, error) {
	file, err := os.Open(namespace)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	if err := unix.Setns(int(file.Fd()), unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("enter network namespace %s: %w", namespace, err)
	}
	return (&net.Dialer{}).DialContext(ctx, network, address)
}

// caller is somebody who asks akd's kubelet API.
type caller struct {
	bed         *bed
	certificate []tls.Certificate
	token       string
}

// administrator of one of the clusters, with a client certificate.
func (b *bed) administrator(t *testing.T, side string) caller {
	t.Helper()
	cfg := b.config(t, side)
	pair, err := tls.X509KeyPair(cfg.CertData, cfg.KeyData)
	if err != nil {
		t.Fatal(err)
	}
	return caller{bed: b, certificate: []tls.Certificate{pair}}
}

func (b *bed) config(t *testing.T, side string) *rest.Config {
	t.Helper()
	cfg, err := clientcmd.BuildConfigFromFlags("", filepath.Join(b.dir, side+".kubeconfig"))
	if err == nil {
		err = rest.LoadTLSFiles(cfg)
	}
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// serviceAccount makes one that has the rules in the local cluster, and
// returns it with a token of its own.
func (b *bed) serviceAccount(t *testing.T, client kubernetes.Interface, namespace, name string, rules ...rbacv1.PolicyRule) caller {
	t.Helper()
	_, err := client.CoreV1().ServiceAccounts(namespace).Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(rules) > 0 {
		meta := metav1.ObjectMeta{Name: "e2e-" + namespace + "-" + name}
		if _, err := client.RbacV1().ClusterRoles().Create(t.Context(), &rbacv1.ClusterRole{ObjectMeta: meta, Rules: rules}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { b.kubectl(t, "local", "delete", "clusterrole,clusterrolebinding", meta.Name) })
		if _, err := client.RbacV1().ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
			ObjectMeta: meta,
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: meta.Name},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: name}},
		}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	token, err := client.CoreV1().ServiceAccounts(namespace).CreateToken(t.Context(), name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return caller{bed: b, token: token.Status.Token}
}

// forged is a certificate of the highest name and group that anybody can make.
func (b *bed) forged(t *testing.T) caller {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "kube-apiserver-kubelet-client", Organization: []string{"system:masters"}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return caller{bed: b, certificate: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// ask sends one request over a connection of its own.
func (c caller) ask(t *testing.T, method, path string) (code int, body string) {
	t.Helper()
	transport := &http.Transport{
		DialContext: c.bed.dialLocal, DisableKeepAlives: true,
		// Who akd is, testServingCertificate asks.
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, Certificates: c.certificate}, //nolint:gosec // see above
	}
	req, err := http.NewRequestWithContext(t.Context(), method, "https://"+net.JoinHostPort(c.bed.address, "10250")+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	res, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer func() { _ = res.Body.Close() }()
	content, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return res.StatusCode, string(content)
}

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
	b := shared
	b.kubectl(t, "local", "delete", "certificatesigningrequests", "--all")
	akd := b.startAKD(t, exampleNode)
	p := pod{b, b.namespace(t, "kubelet-api"), "speaker"}
	b.apply(t, p.namespace, fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: speaker}
spec:
  nodeName: %s
  terminationGracePeriodSeconds: 1
  containers: [{name: app, image: "busybox:1.36", imagePullPolicy: Never, command: [sh, -c, 'echo a word; trap exit TERM; while :; do sleep 1 & wait; done']}]
`, exampleNode))
	b.kubectl(t, "local", "wait", "--for=condition=Ready", "pod/speaker", "-n", p.namespace, "--timeout=3m")
	t.Run("Refuses", func(t *testing.T) { testRefuses(t, b, p.namespace) })
	t.Run("ServingCertificate", func(t *testing.T) { testServingCertificate(t, p) })
	t.Run("DroppedStreams", func(t *testing.T) { testDroppedStreams(t, p) })
	if len(akd.exited) > 0 {
		t.Error("akd has ended")
	}
}

// Nobody gets in without the right that the very path takes, and everybody is
// told what is missing.
func testRefuses(t *testing.T, b *bed, namespace string) {
	strangers := map[string]struct {
		caller
		says string
	}{
		"Nobody":             {caller{bed: b}, "present a client certificate"},
		"ForgedCertificate":  {b.forged(t), "the client certificate is not valid here"},
		"ForeignCertificate": {b.administrator(t, "remote"), "the client certificate is not valid here"},
		"ForgedToken":        {caller{bed: b, token: "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9."}, "the bearer token is not valid in this cluster"},
		"ForeignToken":       {b.serviceAccount(t, b.remote, "default", "e2e-foreigner"), "the bearer token is not valid in this cluster"},
	}
	t.Cleanup(func() { b.kubectl(t, "remote", "delete", "serviceaccount", "e2e-foreigner") })
	for name, stranger := range strangers {
		t.Run(name, func(t *testing.T) {
			for _, e := range endpoints {
				code, body := stranger.ask(t, e.method, e.path)
				status, err := refusal(e.path, body)
				if code != http.StatusUnauthorized || err != nil || !strings.Contains(status.Message, stranger.says) {
					t.Errorf("%s %s: %d %q, want 401 and %q", e.method, e.path, code, body, stranger.says)
				}
			}
		})
	}
	verbs := map[string]string{"GET": "get", "POST": "create", "PUT": "update", "DELETE": "delete"}
	t.Run("NoRight", func(t *testing.T) {
		c := b.serviceAccount(t, b.local, namespace, "none")
		for _, e := range endpoints {
			code, body := c.ask(t, e.method, e.path)
			status, err := refusal(e.path, body)
			want := fmt.Sprintf(`nodes %q is forbidden: user "system:serviceaccount:%s:none" needs verb %q on %s of this node`, exampleNode, namespace, verbs[e.method], e.right)
			if code != http.StatusForbidden || err != nil || !strings.HasPrefix(status.Message, want) {
				t.Errorf("%s %s: %d %q, want 403 and %q", e.method, e.path, code, body, want)
			}
		}
	})
	t.Run("OneRight", func(t *testing.T) {
		c := b.serviceAccount(t, b.local, namespace, "metrics", rbacv1.PolicyRule{
			APIGroups: []string{""}, Resources: []string{"nodes/metrics"}, ResourceNames: []string{exampleNode}, Verbs: []string{"get"},
		})
		for _, e := range endpoints {
			want := http.StatusForbidden
			if e.right == "nodes/metrics" {
				want = e.granted
			}
			if code, body := c.ask(t, e.method, e.path); code != want {
				t.Errorf("%s %s: %d %q, want %d", e.method, e.path, code, body, want)
			}
		}
	})
	t.Run("AllRights", func(t *testing.T) {
		for _, e := range endpoints {
			if code, body := b.administrator(t, "local").ask(t, e.method, e.path); code != e.granted {
				t.Errorf("%s %s: %d %q, want %d", e.method, e.path, code, body, e.granted)
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

func (b *bed) sizes(t *testing.T) sizes {
	t.Helper()
	_, body := b.administrator(t, "local").ask(t, "GET", "/metrics")
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
func testDroppedStreams(t *testing.T, p pod) {
	b, sessions := p.bed, 50
	if os.Getenv("E2E_SLOW") != "" {
		sessions = 500
	}
	b.dropped(t, p, 10) // akd's caches and pools are warm after it
	var before sizes
	eventually(t, "the first few are gone", func(context.Context) error {
		if before = b.sizes(t); before.streams > 0 {
			return fmt.Errorf("%v", before)
		}
		return nil
	})
	open := b.dropped(t, p, sessions)
	var after sizes
	// Go collects at least every two minutes.
	within(t, 2*patience, "akd is as it was before", func(context.Context) error {
		after = b.sizes(t)
		if after.streams > before.streams || after.goroutines > before.goroutines+10 || after.files > before.files+5 || after.heap > before.heap*1.25+8<<20 {
			return fmt.Errorf("%v, before it were %v", after, before)
		}
		return nil
	})
	t.Logf("before %d sessions:  %v\nwhile they were open: %v\nafter:                %v", sessions, before, open, after)
	eventually(t, "the commands have ended", func(context.Context) error {
		if left := p.kubectl(t, "local", "exec", "-n", p.namespace, p.name, "--", "sh", "-c", "pidof cat || true"); strings.TrimSpace(left) != "" {
			return fmt.Errorf("of cat run %s", left)
		}
		return nil
	})
}

// dropped opens exec sessions that say a word and wait, then breaks their
// connections. It returns akd's sizes while all were open.
func (b *bed) dropped(t *testing.T, p pod, sessions int) sizes {
	t.Helper()
	cfg := b.config(t, "local")
	to := relayTo(t, cfg)
	request := b.local.CoreV1().RESTClient().Post().Namespace(p.namespace).Resource("pods").Name(p.name).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Command: []string{"cat"}, Stdin: true, Stdout: true}, scheme.ParameterCodec).URL()
	request.Host = to.Addr().String()
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
	open := b.sizes(t)
	if int(open.streams) != sessions {
		t.Errorf("akd counts %v streams, want %d", open.streams, sessions)
	}
	to.cut()
	ended.Wait()
	return open
}

// relay is a way to a server that can be cut.
type relay struct {
	net.Listener
	server string

	mu    sync.Mutex
	conns []*net.TCPConn
}

// relayTo makes the configuration's server reachable at the relay's address.
func relayTo(t *testing.T, cfg *rest.Config) *relay {
	t.Helper()
	server, err := url.Parse(cfg.Host)
	if err != nil {
		t.Fatal(err)
	}
	cfg.ServerName = server.Hostname()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{Listener: listener, server: server.Host}
	done := make(chan struct{})
	go func() { defer close(done); r.serve() }()
	t.Cleanup(func() { _ = listener.Close(); <-done })
	return r
}

func (r *relay) serve() {
	var open sync.WaitGroup
	defer open.Wait()
	defer r.cut()
	for {
		conn, err := r.Accept()
		if err != nil {
			return
		}
		open.Go(func() { r.carry(conn.(*net.TCPConn)) })
	}
}

func (r *relay) carry(client *net.TCPConn) {
	defer func() { _ = client.Close() }()
	conn, err := (&net.Dialer{}).Dial("tcp", r.server)
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	server := conn.(*net.TCPConn)
	r.mu.Lock()
	r.conns = append(r.conns, client, server)
	r.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(server, client)
		_ = server.CloseWrite()
	}()
	_, _ = io.Copy(client, server)
	_ = client.CloseWrite()
	<-done
}

// cut breaks all connections: half of them with a reset, half with an end.
func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, conn := range r.conns {
		if i/2%2 == 0 {
			_ = conn.SetLinger(0)
		}
		_ = conn.Close()
	}
	r.conns = nil
}

type onWrite func()

func (f onWrite) Write(p []byte) (int, error) { f(); return len(p), nil }

// A second API server, which verifies kubelets' certificates, talks to akd
// once somebody has approved akd's request, and akd need not be restarted.
func testServingCertificate(t *testing.T, p pod) {
	b := p.bed
	verifying := b.verifyingServer(t)

	if out, err := verifying("logs", p.name, "-n", p.namespace); err == nil || !strings.Contains(out, "certificate signed by unknown authority") {
		t.Errorf("before the approval: %v %s", err, out)
	}
	request := b.pendingRequest(t)
	// The controller manager publishes nothing that shows it, so look at what
	// the user who approves is shown.
	described := b.kubectl(t, "local", "describe", "certificatesigningrequest", request)
	for _, want := range []string{"system:node:" + exampleNode, "kubernetes.io/kubelet-serving", b.address, "Pending"} {
		if !strings.Contains(described, want) {
			t.Errorf("the request does not show %q:\n%s", want, described)
		}
	}
	b.kubectl(t, "local", "certificate", "approve", request)
	eventually(t, "the API server that verifies reads the log", func(context.Context) error {
		out, err := verifying("logs", p.name, "-n", p.namespace)
		if err != nil || out != "a word\n" {
			return fmt.Errorf("%w: %s", cmp.Or(err, errors.New("another log")), out)
		}
		return nil
	})
	if out, err := verifying("exec", p.name, "-n", p.namespace, "--", "echo", "another"); err != nil || out != "another\n" {
		t.Errorf("exec: %v %s", err, out)
	}
}

// pendingRequest waits for akd's request and returns its name.
func (b *bed) pendingRequest(t *testing.T) (name string) {
	t.Helper()
	eventually(t, "akd asks for a serving certificate", func(ctx context.Context) error {
		list, err := b.local.CertificatesV1().CertificateSigningRequests().List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for i := range list.Items {
			if request := &list.Items[i]; request.Spec.Username == "system:node:"+exampleNode && len(request.Status.Conditions) == 0 {
				name = request.Name
				return nil
			}
		}
		return fmt.Errorf("none among %d requests", len(list.Items))
	})
	return name
}

// verifyingServer starts another kube-apiserver of the local cluster, as a
// cluster with three of them has, and returns a kubectl that asks this one.
// It alone verifies kubelets: akd's are self-signed in most tests.
func (b *bed) verifyingServer(t *testing.T) func(args ...string) (output string, err error) {
	t.Helper()
	const port = "6444"
	argv := b.commandLine(t, "local-kube-apiserver")
	argv = slices.DeleteFunc(argv, func(arg string) bool { return strings.HasPrefix(arg, "--secure-port=") })
	ca := ""
	for _, arg := range argv {
		if file, ok := strings.CutPrefix(arg, "--client-ca-file="); ok {
			ca = file // it signs kubelets' certificates, too
		}
	}
	argv = append(argv, "--secure-port="+port, "--endpoint-reconciler-type=none", "--kubelet-certificate-authority="+ca)
	server := exec.CommandContext(t.Context(), b.clusters, append([]string{"--dir", b.dir, "exec", "local", "--"}, argv...)...)
	server.Dir = t.TempDir()
	run := begin(t, server)
	kubectl := filepath.Join(filepath.Dir(argv[0]), "kubectl")
	ask := func(args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), b.clusters, append([]string{"--dir", b.dir, "exec", "local", "--", kubectl,
			"--kubeconfig", filepath.Join(b.dir, "akd-local.kubeconfig"), "--server", "https://" + b.server + ":" + port}, args...)...)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	eventually(t, "the second API server is ready", func(context.Context) error {
		if out, err := ask("get", "--raw", "/readyz"); err != nil {
			return fmt.Errorf("%s %s", out, tailOf(run.output.String()))
		}
		return nil
	})
	return ask
}

func tailOf(text string) string { return text[max(0, len(text)-1024):] }

// commandLine of a component of the clusters.
func (b *bed) commandLine(t *testing.T, name string) []string {
	t.Helper()
	status, err := b.status()
	if err != nil {
		t.Fatal(err)
	}
	for _, component := range status.Components {
		if component.Name == name {
			content, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", component.PID))
			if err != nil {
				t.Fatal(err)
			}
			return strings.Split(strings.TrimRight(string(content), "\x00"), "\x00")
		}
	}
	t.Fatalf("the clusters have no component %s", name)
	return nil
}
