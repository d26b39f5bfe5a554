//go:build e2e

package env

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// A wrong count would let akd's requests grow unseen.
func TestRequests(t *testing.T) {
	t.Parallel()
	page := func(creates, leases string) Requests {
		counts, err := parseRequests(`# TYPE akd_requests_total counter
akd_requests_total{cluster="remote",code="201",resource="pods",verb="create"} ` + creates + `
akd_requests_total{cluster="remote",code="403",resource="pods",verb="create"} 1
akd_requests_total{cluster="local",code="200",resource="leases",verb="update"} ` + leases + `
akd_requests_total{cluster="local",code="200",resource="pods",verb="watch"} 3
`)
		if err != nil {
			t.Fatal(err)
		}
		return counts
	}
	added := page("5", "9").Since(page("2", "7"))
	if diff := cmp.Diff(Requests{"remote create pods": 3, "local update leases": 2}, added); diff != "" {
		t.Errorf("added requests (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(Requests{"remote create pods": 3}, added.Writes()); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
}

func TestProcess(t *testing.T) {
	t.Parallel()
	run := Start(t, exec.CommandContext(t.Context(), "sh", "-c", "echo out; echo err >&2; exit 42"))
	if code := run.WaitExit(t); code != 42 {
		t.Errorf("exit code %d, want 42", code)
	}
	run.Transcript.WaitFor(t, "out\n")
	run.Transcript.WaitFor(t, "err\n")
	if out := Run(t, exec.CommandContext(t.Context(), "echo", "out")); out != "out\n" {
		t.Errorf("output %q, want the standard output", out)
	}
}

// akd can be stopped and started again, and one that ends by itself is noticed.
// A script stands for `clusters exec`.
func TestAKD(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "logs"), 0o755); err != nil {
		t.Fatal(err)
	}
	script := filepath.Join(dir, "clusters")
	content := "#!/bin/sh\necho with $*\ncase $* in *'--node-name ends'*) exit 2;; esac\nexec sleep 300\n"
	if err := os.WriteFile(script, []byte(content), 0o700); err != nil {
		t.Fatal(err)
	}
	e := &Env{Dir: dir, Address: "192.0.2.1", clusters: script, akd: "bin/akd"}
	ends := e.LaunchAKD(t, "ends", "--remote-kubeconfig", "none")
	ends.WaitExit(t, 2, "with --dir "+dir+" exec local -- bin/akd --node-name ends --local-kubeconfig "+dir+"/akd-local.kubeconfig "+
		"--remote-kubeconfig "+dir+"/akd-remote.kubeconfig --node-address 192.0.2.1 --kubelet-api-address 192.0.2.1 "+
		"--remote-kubeconfig none\n")
	if !ends.HasExited() {
		t.Error("it has ended, and HasExited says that it has not")
	}
	runs := e.LaunchAKD(t, "runs", "--remote-kubeconfig", "none")
	waitStarts(t, runs, 1)
	runs.Stop(t, syscall.SIGTERM)
	runs.Stop(t, syscall.SIGTERM) // has no effect
	runs.Start(t)
	waitStarts(t, runs, 2)
	if runs.HasExited() {
		t.Error("it runs, and HasExited says that it has ended")
	}
}

// Components are suspended and killed by their process IDs. A script stands for
// `clusters status`.
func TestComponents(t *testing.T) {
	t.Parallel()
	component := Start(t, exec.CommandContext(t.Context(), "sleep", "300"))
	script := filepath.Join(t.TempDir(), "clusters")
	content := fmt.Sprintf("#!/bin/sh\necho '{\"components\": [{\"name\": \"local-etcd\", \"pid\": %d}]}'\n", component.Process.Pid)
	if err := os.WriteFile(script, []byte(content), 0o700); err != nil {
		t.Fatal(err)
	}
	e := &Env{clusters: script}
	thaw := e.Freeze(t, "local-etcd")
	if states := threadStates(component.Process.Pid); states != "T" {
		t.Errorf("states %q, want T: suspended", states)
	}
	thaw()
	Eventually(t, "it is not suspended", func(context.Context) error {
		if states := threadStates(component.Process.Pid); states != "S" {
			return fmt.Errorf("states %q", states)
		}
		return nil
	})
	e.Kill(t, "local-etcd")
	thaw() // has no effect
}

// waitStarts waits until an akd has logged so many starts.
func waitStarts(t *testing.T, akd *AKD, starts int) {
	t.Helper()
	Eventually(t, fmt.Sprintf("akd has started %d times", starts), func(context.Context) error {
		if log := tail(akd.Log); strings.Count(log, "--node-name "+akd.Node+" ") != starts {
			return fmt.Errorf("so far %q", log)
		}
		return nil
	})
}

// A relay passes on what both sides send until Cut breaks the connection.
func TestRelay(t *testing.T) {
	t.Parallel()
	server, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var echo sync.WaitGroup
	defer echo.Wait()
	defer func() { _ = server.Close() }()
	echo.Go(func() {
		conn, err := server.Accept()
		if err != nil {
			return
		}
		_, _ = io.Copy(conn, conn)
		_ = conn.Close()
	})
	config := &rest.Config{Host: "https://" + server.Addr().String()}
	relay := StartRelay(t, config)
	if config.ServerName != "127.0.0.1" {
		t.Errorf("clients verify the server as %q", config.ServerName)
	}
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", relay.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, "a word\n"); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(conn)
	if line, err := in.ReadString('\n'); err != nil || line != "a word\n" {
		t.Errorf("%q, %v: want the echo", line, err)
	}
	relay.Cut()
	if more, err := in.ReadByte(); err == nil {
		t.Errorf("read %q after the cut", more)
	}
}

// Entering a network namespace needs root, as all tests on clusters do.
func TestDialLocal(t *testing.T) {
	t.Parallel()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	for namespace, works := range map[string]bool{"/proc/self/ns/net": true, "/proc/self/ns/mnt": false, "/nowhere": false} {
		e := &Env{network: namespace}
		conn, err := e.dialLocal(t.Context(), "tcp", listener.Addr().String())
		if (err == nil) != works {
			t.Errorf("dial in %s: %v", namespace, err)
		}
		if err == nil {
			_ = conn.Close()
		}
	}
}

func TestWithToken(t *testing.T) {
	t.Parallel()
	config := clientcmdapi.NewConfig()
	config.CurrentContext = "a"
	config.Contexts["a"] = &clientcmdapi.Context{AuthInfo: "admin"}
	config.AuthInfos["admin"] = &clientcmdapi.AuthInfo{ClientCertificate: "certificate"}
	config.AuthInfos["other"] = &clientcmdapi.AuthInfo{ClientCertificate: "certificate"}
	want := map[string]*clientcmdapi.AuthInfo{"admin": {Token: "token"}}
	if diff := cmp.Diff(want, withToken(config, "token").AuthInfos); diff != "" {
		t.Errorf("users (-want +got):\n%s", diff)
	}
	if config.AuthInfos["admin"].Token != "" {
		t.Error("the original was changed")
	}
}

// An API server with another key serves under the same names, and its clients trust it.
func TestRotateServingCertificate(t *testing.T) {
	t.Parallel()
	e := &Env{Dir: t.TempDir()}
	dir := filepath.Join(e.Dir, "remote", "pki")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		DNSNames:              []string{"kubernetes"},
		NotAfter:              time.Now().Add(time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	writePair(t, filepath.Join(dir, "ca"), der, key)
	writePair(t, filepath.Join(dir, "apiserver"), der, key)
	e.RotateServingCertificate(t, "remote")
	authority, err := tls.LoadX509KeyPair(filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key"))
	if err != nil {
		t.Fatal(err)
	}
	rotated, err := tls.LoadX509KeyPair(filepath.Join(dir, "apiserver.crt"), filepath.Join(dir, "apiserver.key"))
	if err != nil {
		t.Fatal(err)
	}
	trusted := x509.NewCertPool()
	trusted.AddCert(authority.Leaf)
	if _, err := rotated.Leaf.Verify(x509.VerifyOptions{DNSName: "kubernetes", Roots: trusted}); err != nil {
		t.Error(err)
	}
	if rotated.Leaf.SerialNumber.Cmp(authority.Leaf.SerialNumber) == 0 {
		t.Error("it is the same certificate")
	}
}
