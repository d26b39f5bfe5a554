//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

// kubectl works with a pod on an akd node as it does on any node.
func TestStreams(t *testing.T) {
	e := shared
	e.StartAKD(t, env.ExampleNode)
	p := e.Pod(e.Namespace(t, "streams"), "server")
	e.Apply(t, p.Namespace, fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: server}
spec:
  nodeName: %[1]s
  terminationGracePeriodSeconds: 1
  containers:
  - name: app
    image: busybox:1.36
    imagePullPolicy: Never
    command: [sh, -c, 'trap exit TERM; while :; do sleep 1 & wait; done']
    volumeMounts: [{name: data, mountPath: /data}]
  - name: http
    image: agnhost:stable
    imagePullPolicy: Never
    args: [netexec, --http-port=8080, --udp-port=-1]
  volumes: [{name: data, emptyDir: {}}]
---
apiVersion: v1
kind: Pod
metadata: {name: echo}
spec:
  nodeName: %[1]s
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  containers:
  - name: echo
    image: busybox:1.36
    imagePullPolicy: Never
    stdin: true
    stdinOnce: true
    command: [sh, -c, 'while read line; do echo got $line; done; echo no more']
`, env.ExampleNode))
	e.WaitReady(t, p.Namespace, "server", "echo")
	for _, step := range []struct {
		name string
		run  func(*testing.T, env.Pod)
	}{
		{"ExitCode", testExitCode},
		{"Outputs", testOutputs},
		{"Terminal", testTerminal},
		{"Transfer", testTransfer},
		{"Copy", testCopy},
		{"PortForward", testPortForward},
		{"PortForwardRefused", testPortForwardRefused},
		{"Attach", testAttach},
		{"Debug", testDebug},
	} {
		t.Run(step.name, func(t *testing.T) { step.run(t, p) })
	}
}

func testExitCode(t *testing.T, p env.Pod) {
	for _, code := range []int{0, 1, 42, 255} {
		_, stderr, err := p.TryKubectl("local", nil,
			"exec", "-n", p.Namespace, p.Name, "-c", "app", "--", "sh", "-c", fmt.Sprintf("exit %d", code))
		if got := env.ExitCode(err); got != code {
			t.Errorf("exec of a command that exits %d gave %d: %s", code, got, stderr)
		}
	}
}

// Standard output and standard error stay apart, and the end of the input is
// passed on.
func testOutputs(t *testing.T, p env.Pod) {
	stdout, stderr, err := p.TryKubectl("local", strings.NewReader("three\none\ntwo\n"),
		"exec", "-i", "-n", p.Namespace, p.Name, "-c", "app", "--", "sh", "-c", "echo to stderr >&2; sort")
	if err != nil || stdout != "one\nthree\ntwo\n" || stderr != "to stderr\n" {
		t.Errorf("outputs %q and %q, %v", stdout, stderr, err)
	}
}

// A terminal has the size of the user's window, follows its changes, and passes on
// keys.
func testTerminal(t *testing.T, p env.Pod) {
	cmd := p.KubectlCommand(t.Context(), "local", "exec", "-it", "-n", p.Namespace, p.Name, "-c", "app", "--",
		"sh", "-c", "while :; do stty size; sleep 0.2; done")
	window, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 80})
	if err != nil {
		t.Fatal(err)
	}
	run := env.Watch(t, cmd)
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = io.Copy(&run.Transcript, window) // ends in EIO when the last writer has closed
	}()
	t.Cleanup(func() {
		_ = window.Close()
		<-read
	})
	for _, size := range []pty.Winsize{{Rows: 24, Cols: 80}, {Rows: 50, Cols: 132}, {Rows: 10, Cols: 40}} {
		if err := pty.Setsize(window, &size); err != nil {
			t.Fatal(err)
		}
		run.Transcript.WaitFor(t, fmt.Sprintf("%d %d\r\n", size.Rows, size.Cols))
	}
	const interrupt, bySIGINT = "\x03", 128 + 2
	if _, err := io.WriteString(window, interrupt); err != nil {
		t.Fatal(err)
	}
	if code := run.WaitExit(t); code != bySIGINT {
		t.Errorf("an interrupted command gave %d, want %d", code, bySIGINT)
	}
}

// Large input and output arrive complete.
func testTransfer(t *testing.T, p env.Pod) {
	size := int64(64 << 20)
	if env.Slow() {
		size = 1 << 30
	}
	sent, back := sha256.New(), sha256.New()
	upload := p.KubectlCommand(t.Context(), "local", "exec", "-i", "-n", p.Namespace, p.Name, "-c", "app", "--",
		"sh", "-c", "cat > /data/blob; sha256sum < /data/blob")
	var arrived, stderr bytes.Buffer
	upload.Stdin = io.TeeReader(io.LimitReader(rand.NewChaCha8([32]byte{}), size), sent)
	upload.Stdout, upload.Stderr = &arrived, &stderr
	if err := upload.Run(); err != nil {
		t.Fatalf("send %d bytes: %v: %s", size, err, &stderr)
	}
	want := hex.EncodeToString(sent.Sum(nil))
	if got, _, _ := strings.Cut(arrived.String(), " "); got != want {
		t.Errorf("checksum of %d bytes sent: %s, want %s", size, got, want)
	}
	download := p.KubectlCommand(t.Context(), "local", "exec", "-n", p.Namespace, p.Name, "-c", "app", "--", "cat", "/data/blob")
	download.Stdout, download.Stderr = back, &stderr
	if err := download.Run(); err != nil {
		t.Fatalf("fetch %d bytes: %v: %s", size, err, &stderr)
	}
	if got := hex.EncodeToString(back.Sum(nil)); got != want {
		t.Errorf("checksum of %d bytes fetched: %s, want %s", size, got, want)
	}
	p.Kubectl(t, "local", "exec", "-n", p.Namespace, p.Name, "-c", "app", "--", "rm", "/data/blob")
}

// A tree that is copied to the pod and back is unchanged.
func testCopy(t *testing.T, p env.Pod) {
	sent, back := filepath.Join(t.TempDir(), "tree"), filepath.Join(t.TempDir(), "tree")
	content := rand.NewChaCha8([32]byte{1})
	for name, size := range map[string]int64{
		"empty":                0,
		"one":                  1,
		"deep/er/down/file":    100_000,
		"name with spaces.txt": 10,
		"big":                  5 << 20,
	} {
		path := filepath.Join(sent, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(io.LimitReader(content, size))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 200 {
		path := filepath.Join(sent, fmt.Sprintf("small-%03d", i))
		if err := os.WriteFile(path, fmt.Appendf(nil, "file %d\n", i), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p.Kubectl(t, "local", "cp", "-c", "app", sent, p.Namespace+"/"+p.Name+":/data/tree")
	p.Kubectl(t, "local", "cp", "-c", "app", p.Namespace+"/"+p.Name+":/data/tree", back)
	if diff := cmp.Diff(treeOf(t, sent), treeOf(t, back)); diff != "" {
		t.Errorf("tree after it was copied to the pod and back (-sent +got):\n%s", diff)
	}
}

// treeOf describes each file of a tree, without its mode: kubectl cp does not keep
// it.
func treeOf(t *testing.T, root string) map[string]string {
	t.Helper()
	tree := map[string]string{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		tree[name] = fmt.Sprintf("%d bytes %x", len(content), sha256.Sum256(content))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// forward runs kubectl port-forward and returns the address that it listens on.
func forward(t *testing.T, p env.Pod, port string) (address string, run *env.Process) {
	t.Helper()
	run = env.Start(t, p.KubectlCommand(t.Context(), "local",
		"port-forward", "-n", p.Namespace, "pod/"+p.Name, ":"+port, "--address=127.0.0.1"))
	listening := regexp.MustCompile(`Forwarding from (127\.0\.0\.1:\d+) `)
	env.Eventually(t, "port-forward listens", func(context.Context) error {
		found := listening.FindStringSubmatch(run.Transcript.String())
		if found == nil {
			return fmt.Errorf("so far %q", run.Transcript.String())
		}
		address = found[1]
		return nil
	})
	return address, run
}

// A hundred requests can be in flight: every connection is open, with half of
// its request sent, before the first request is completed.
func testPortForward(t *testing.T, p env.Pod) {
	address, _ := forward(t, p, "8080")
	const parallel = 100
	var connections [parallel]net.Conn
	for i := range connections {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		if err := conn.SetDeadline(time.Now().Add(env.Timeout)); err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprintf(conn, "GET /echo?msg=%d HTTP/1.1\r\nHost: pod\r\n", i); err != nil {
			t.Fatal(err)
		}
		connections[i] = conn
	}
	var wg sync.WaitGroup
	for i, conn := range connections {
		wg.Go(func() {
			if err := completeRequest(conn, fmt.Sprint(i)); err != nil {
				t.Errorf("request %d: %v", i, err)
			}
		})
	}
	wg.Wait()
}

// completeRequest sends the end of the request's header and reads the response.
func completeRequest(conn net.Conn, want string) error {
	if _, err := io.WriteString(conn, "Connection: close\r\n\r\n"); err != nil {
		return err
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err == nil && string(body) != want {
		err = fmt.Errorf("%s: %q, want %q", res.Status, body, want)
	}
	return err
}

// If nothing listens on a port, port-forward reports it as on any node.
func testPortForwardRefused(t *testing.T, p env.Pod) {
	address, run := forward(t, p, "9")
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, _ = io.Copy(io.Discard, conn)
	run.Transcript.WaitFor(t, "onnection refused")
}

// Input reaches the container's own process, and so does its end.
func testAttach(t *testing.T, p env.Pod) {
	p.Name = "echo"
	cmd := p.KubectlCommand(t.Context(), "local", "attach", "-i", "-n", p.Namespace, p.Name)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	run := env.Start(t, cmd)
	for _, word := range []string{"hello", "again"} {
		if _, err := fmt.Fprintln(stdin, word); err != nil {
			t.Fatal(err)
		}
		run.Transcript.WaitFor(t, "got "+word+"\n")
	}
	if err := stdin.Close(); err != nil {
		t.Fatal(err)
	}
	if code := run.WaitExit(t); code != 0 {
		t.Errorf("attach ended with %d: %s", code, &run.Transcript)
	}
	p.Eventually(t, "the process has read the end of its input", func(pod *corev1.Pod) error {
		if pod.Status.Phase != corev1.PodSucceeded {
			return fmt.Errorf("phase %s", pod.Status.Phase)
		}
		return nil
	})
	if log := p.Kubectl(t, "local", "logs", "-n", p.Namespace, p.Name); log != "got hello\ngot again\nno more\n" {
		t.Errorf("the container wrote %q", log)
	}
}

// A debug container joins the pod, sees the processes of its target, and has the
// user's input and output.
func testDebug(t *testing.T, p env.Pod) {
	cmd := p.KubectlCommand(t.Context(), "local", "debug", "-i", "-n", p.Namespace, p.Name, "--image=busybox:1.36", "-c", "debugger",
		"--target=app", "--profile=baseline", "--",
		"sh", "-c", `read line; echo "debugger got $line"; tr '\0' ' ' < /proc/1/cmdline; wget -qO- localhost:8080/hostname`)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	run := env.Start(t, cmd)
	if _, err := fmt.Fprintln(stdin, "a word"); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"debugger got a word\n", "trap exit TERM", p.Name} {
		run.Transcript.WaitFor(t, text)
	}
	if err := stdin.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		t.Fatal(err)
	}
	if code := run.WaitExit(t); code != 0 {
		t.Errorf("debug ended with %d: %s", code, &run.Transcript)
	}
}
