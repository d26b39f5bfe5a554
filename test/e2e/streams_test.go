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
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

// What kubectl does with a pod on an actual node it does with one of akd's.
func TestStreams(t *testing.T) {
	b := shared
	b.startAKD(t, exampleNode)
	p := pod{b, b.namespace(t, "streams"), "server"}
	b.apply(t, p.namespace, fmt.Sprintf(`
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
`, exampleNode))
	b.kubectl(t, "local", "wait", "--for=condition=Ready", "pod/server", "pod/echo", "-n", p.namespace, "--timeout=3m")
	for _, step := range []struct {
		name string
		run  func(*testing.T, pod)
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

// kubectlCommand is a kubectl whose streams the caller connects.
func (b *bed) kubectlCommand(ctx context.Context, side string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, b.clusters, append([]string{"--dir", b.dir, "kubectl", side}, args...)...)
}

// transcript collects what a command writes while it runs.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *transcript) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *transcript) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// says waits until the text is there.
func (s *transcript) says(t *testing.T, text string) {
	t.Helper()
	eventually(t, fmt.Sprintf("it says %q", text), func(context.Context) error {
		if said := s.String(); !strings.Contains(said, text) {
			return fmt.Errorf("so far %q", said[max(0, len(said)-1024):])
		}
		return nil
	})
}

// process is a command that runs beside the test.
type process struct {
	*exec.Cmd
	output transcript // both outputs, unless Stdout was set
	ended  chan struct{}
	err    error // once ended
}

// begin starts the command; it is killed when the test ends.
func begin(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{Cmd: cmd, ended: make(chan struct{})}
	if cmd.Stdout == nil {
		cmd.Stdout, cmd.Stderr = &p.output, &p.output
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.watch(t)
	return p
}

func (p *process) watch(t *testing.T) {
	go func() {
		defer close(p.ended)
		p.err = p.Wait()
	}()
	t.Cleanup(func() {
		_ = p.Process.Kill()
		<-p.ended
	})
}

// ends waits for the command's end and returns its exit code.
func (p *process) ends(t *testing.T) int {
	t.Helper()
	eventually(t, strings.Join(p.Args, " ")+" ends", func(context.Context) error {
		select {
		case <-p.ended:
			return nil
		default:
			return fmt.Errorf("it still runs and said %q", p.output.String())
		}
	})
	if p.err != nil && exitCode(p.err) == 0 {
		t.Errorf("%s: %v", strings.Join(p.Args, " "), p.err)
	}
	return exitCode(p.err)
}

func testExitCode(t *testing.T, p pod) {
	for _, code := range []int{0, 1, 42, 255} {
		_, stderr, err := p.tryKubectl("local", nil, "exec", "-n", p.namespace, p.name, "-c", "app", "--", "sh", "-c", fmt.Sprintf("exit %d", code))
		if got := exitCode(err); got != code {
			t.Errorf("exec of a command that exits %d gave %d: %s", code, got, stderr)
		}
	}
}

// Both outputs arrive apart, and the end of the input is passed on.
func testOutputs(t *testing.T, p pod) {
	stdout, stderr, err := p.tryKubectl("local", strings.NewReader("three\none\ntwo\n"),
		"exec", "-i", "-n", p.namespace, p.name, "-c", "app", "--", "sh", "-c", "echo to stderr >&2; sort")
	if err != nil || stdout != "one\nthree\ntwo\n" || stderr != "to stderr\n" {
		t.Errorf("outputs %q and %q, %v", stdout, stderr, err)
	}
}

// A terminal has the size of the user's window, follows it, and carries keys.
func testTerminal(t *testing.T, p pod) {
	cmd := p.kubectlCommand(t.Context(), "local", "exec", "-it", "-n", p.namespace, p.name, "-c", "app", "--",
		"sh", "-c", "while :; do stty size; sleep 0.2; done")
	window, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 80})
	if err != nil {
		t.Fatal(err)
	}
	run := &process{Cmd: cmd, ended: make(chan struct{})}
	run.watch(t)
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = io.Copy(&run.output, window) // ends in EIO when the last writer has closed
	}()
	t.Cleanup(func() {
		_ = window.Close()
		<-read
	})
	for _, size := range []pty.Winsize{{Rows: 24, Cols: 80}, {Rows: 50, Cols: 132}, {Rows: 10, Cols: 40}} {
		if err := pty.Setsize(window, &size); err != nil {
			t.Fatal(err)
		}
		run.output.says(t, fmt.Sprintf("%d %d\r\n", size.Rows, size.Cols))
	}
	const interrupt, bySIGINT = "\x03", 128 + 2
	if _, err := io.WriteString(window, interrupt); err != nil {
		t.Fatal(err)
	}
	if code := run.ends(t); code != bySIGINT {
		t.Errorf("a command that was interrupted gave %d, want %d", code, bySIGINT)
	}
}

// What is sent arrives whole, and comes back whole.
func testTransfer(t *testing.T, p pod) {
	size := int64(64 << 20)
	if os.Getenv("E2E_SLOW") != "" {
		size = 1 << 30
	}
	sent, back := sha256.New(), sha256.New()
	upload := p.kubectlCommand(t.Context(), "local", "exec", "-i", "-n", p.namespace, p.name, "-c", "app", "--", "sh", "-c", "cat > /data/blob; sha256sum < /data/blob")
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
	download := p.kubectlCommand(t.Context(), "local", "exec", "-n", p.namespace, p.name, "-c", "app", "--", "cat", "/data/blob")
	download.Stdout, download.Stderr = back, &stderr
	if err := download.Run(); err != nil {
		t.Fatalf("fetch %d bytes: %v: %s", size, err, &stderr)
	}
	if got := hex.EncodeToString(back.Sum(nil)); got != want {
		t.Errorf("checksum of %d bytes fetched: %s, want %s", size, got, want)
	}
	p.kubectl(t, "local", "exec", "-n", p.namespace, p.name, "-c", "app", "--", "rm", "/data/blob")
}

// A tree that was copied there and back is the same tree.
func testCopy(t *testing.T, p pod) {
	there, back := filepath.Join(t.TempDir(), "tree"), filepath.Join(t.TempDir(), "tree")
	content := rand.NewChaCha8([32]byte{1})
	for name, size := range map[string]int64{
		"empty": 0, "one": 1, "deep/er/down/file": 100_000, "name with spaces.txt": 10, "big": 5 << 20,
	} {
		path := filepath.Join(there, filepath.FromSlash(name))
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
		if err := os.WriteFile(filepath.Join(there, fmt.Sprintf("small-%03d", i)), fmt.Appendf(nil, "file %d\n", i), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p.kubectl(t, "local", "cp", "-c", "app", there, p.namespace+"/"+p.name+":/data/tree")
	p.kubectl(t, "local", "cp", "-c", "app", p.namespace+"/"+p.name+":/data/tree", back)
	if diff := cmp.Diff(treeOf(t, there), treeOf(t, back)); diff != "" {
		t.Errorf("tree after cp there and back, -sent, +got:\n%s", diff)
	}
}

// treeOf describes each file of a tree, but for its mode: kubectl cp drops it.
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
func (p pod) forward(t *testing.T, port string) (address string, run *process) {
	t.Helper()
	run = begin(t, p.kubectlCommand(t.Context(), "local", "port-forward", "-n", p.namespace, "pod/"+p.name, ":"+port, "--address=127.0.0.1"))
	listening := regexp.MustCompile(`Forwarding from (127\.0\.0\.1:\d+) `)
	eventually(t, "port-forward listens", func(context.Context) error {
		found := listening.FindStringSubmatch(run.output.String())
		if found == nil {
			return fmt.Errorf("it says %q", run.output.String())
		}
		address = found[1]
		return nil
	})
	return address, run
}

// A hundred requests are under way at a time: every connection is open, with
// half of its request sent, before the first is completed.
func testPortForward(t *testing.T, p pod) {
	address, _ := p.forward(t, "8080")
	const parallel = 100
	var connections [parallel]net.Conn
	for i := range connections {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
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

// completeRequest ends the request's header, and reads the answer.
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

// A port on which nothing listens is told, and port-forward goes the way that
// it goes on an actual node.
func testPortForwardRefused(t *testing.T, p pod) {
	address, run := p.forward(t, "9")
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, _ = io.Copy(io.Discard, conn)
	run.output.says(t, "onnection refused")
}

// Input reaches the container's own process, and its end ends the process.
func testAttach(t *testing.T, p pod) {
	p.name = "echo"
	cmd := p.kubectlCommand(t.Context(), "local", "attach", "-i", "-n", p.namespace, p.name)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	run := begin(t, cmd)
	for _, word := range []string{"hello", "again"} {
		if _, err := fmt.Fprintln(stdin, word); err != nil {
			t.Fatal(err)
		}
		run.output.says(t, "got "+word+"\n")
	}
	if err := stdin.Close(); err != nil {
		t.Fatal(err)
	}
	if code := run.ends(t); code != 0 {
		t.Errorf("attach ended with %d: %s", code, &run.output)
	}
	p.until(t, "the process has read the end of its input", func(pod *corev1.Pod) error {
		if pod.Status.Phase != corev1.PodSucceeded {
			return fmt.Errorf("phase %s", pod.Status.Phase)
		}
		return nil
	})
	if log := p.kubectl(t, "local", "logs", "-n", p.namespace, p.name); log != "got hello\ngot again\nno more\n" {
		t.Errorf("the container wrote %q", log)
	}
}

// A debugger joins the pod, sees the processes of its target, and talks to the
// user.
func testDebug(t *testing.T, p pod) {
	cmd := p.kubectlCommand(t.Context(), "local", "debug", "-i", "-n", p.namespace, p.name, "--image=busybox:1.36", "-c", "debugger",
		"--target=app", "--profile=baseline", "--", "sh", "-c", `read line; echo "debugger got $line"; tr '\0' ' ' < /proc/1/cmdline; wget -qO- localhost:8080/hostname`)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	run := begin(t, cmd)
	if _, err := fmt.Fprintln(stdin, "a word"); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"debugger got a word\n", "trap exit TERM", p.name} {
		run.output.says(t, text)
	}
	if err := stdin.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		t.Fatal(err)
	}
	if code := run.ends(t); code != 0 {
		t.Errorf("debug ended with %d: %s", code, &run.output)
	}
}
