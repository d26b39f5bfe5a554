//go:build e2e

package e2e

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// patience is how long a condition may take before a test gives up. It says
// nothing about speed: it only ends tests of conditions that never come.
const patience = 3 * time.Minute

// slow leaves a test out unless E2E_SLOW is set: it waits for minutes, or
// builds other projects' programs.
func slow(t *testing.T) {
	t.Helper()
	if os.Getenv("E2E_SLOW") == "" {
		t.Skip("slow: set E2E_SLOW=1, as make e2e does")
	}
}

// bed is the two clusters that all tests of the package share.
type bed struct {
	clusters string // the clusters command
	akd      string // the akd binary
	dir      string // run folder of the clusters
	address  string // where akd listens in the local cluster's network
	network  string // file of the local cluster's network namespace
	server   string // IP address of the local API server there

	local  *kubernetes.Clientset
	remote *kubernetes.Clientset
}

var shared *bed

func TestMain(m *testing.M) {
	keep := flag.Bool("keep", false, "leave the clusters running after the tests")
	flag.Parse()
	code, err := run(m, *keep)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M, keep bool) (code int, err error) {
	b, err := up(cmp.Or(os.Getenv("E2E_CLUSTERS_DIR"), filepath.Join("..", "..", ".clusters-e2e")))
	if err != nil {
		return 1, err
	}
	if !keep {
		defer func() {
			if downErr := b.command("down").Run(); downErr != nil {
				err = errors.Join(err, fmt.Errorf("clusters down: %w", downErr))
			}
		}()
	}
	shared = b
	return m.Run(), nil
}

// up starts the clusters of a run folder, or finds them running.
func up(dir string, more ...string) (*bed, error) {
	root, err := filepath.Abs("../..")
	if err != nil {
		return nil, err
	}
	b := &bed{clusters: filepath.Join(root, "bin", "clusters"), akd: filepath.Join(root, "bin", "akd-race")}
	if b.dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	args := append([]string{"up"}, more...)
	for _, side := range []string{"local", "remote"} {
		if version := os.Getenv("E2E_" + strings.ToUpper(side) + "_VERSION"); version != "" {
			args = append(args, "--"+side+"-version", version)
		}
	}
	if err := b.command(args...).Run(); err != nil {
		return nil, fmt.Errorf("clusters up: %w", err)
	}
	report, err := b.status()
	if err != nil {
		return nil, err
	}
	if report.Simulated {
		return nil, errors.New("the clusters' nodes are simulated: end-to-end tests need real containers, so root on Linux")
	}
	b.address, b.network = report.AKDAddress, report.Clusters.Local.NetworkNamespace
	server, err := url.Parse(report.Clusters.Local.InNetworkServer)
	if err != nil {
		return nil, err
	}
	b.server = server.Hostname()
	if b.local, err = b.client("local"); err != nil {
		return nil, err
	}
	b.remote, err = b.client("remote")
	return b, err
}

// report is what the clusters command tells of its clusters.
type report struct {
	AKDAddress string `json:"akdAddress"`
	Simulated  bool   `json:"simulated"`
	Clusters   struct {
		Local struct {
			InNetworkServer  string `json:"inNetworkServer"`
			NetworkNamespace string `json:"networkNamespace"`
		} `json:"local"`
	} `json:"clusters"`
	Components []struct {
		Name string `json:"name"`
		PID  int    `json:"pid"`
	} `json:"components"`
}

func (b *bed) status() (r report, err error) {
	out, err := exec.Command(b.clusters, "--dir", b.dir, "status", "-o", "json").Output()
	if err == nil {
		err = json.Unmarshal(out, &r)
	}
	if err != nil {
		return r, fmt.Errorf("clusters status: %w", err)
	}
	return r, nil
}

// command is a clusters command whose output is the test's.
func (b *bed) command(args ...string) *exec.Cmd {
	cmd := exec.Command(b.clusters, append([]string{"--dir", b.dir}, args...)...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd
}

func (b *bed) client(side string) (*kubernetes.Clientset, error) {
	cfg, err := clientcmd.BuildConfigFromFlags("", filepath.Join(b.dir, side+".kubeconfig"))
	if err != nil {
		return nil, fmt.Errorf("kubeconfig of the %s cluster: %w", side, err)
	}
	cfg.QPS = -1
	return kubernetes.NewForConfig(cfg)
}

// Ports of the metrics of one akd, and of another one beside it.
const firstAKD, secondAKD = "10254", "10255"

// ask gets a page from akd's metrics server, inside the local cluster's network.
func (b *bed) ask(ctx context.Context, port, path string) (string, error) {
	out, err := exec.CommandContext(ctx, b.clusters, "--dir", b.dir, "exec", "local", "--", "curl", "-sf", "http://127.0.0.1:"+port+path).Output()
	return string(out), err
}

// kubectl runs a real kubectl against one side and returns its standard output.
func (b *bed) kubectl(t *testing.T, side string, args ...string) string {
	t.Helper()
	out, stderr, err := b.tryKubectl(side, nil, args...)
	if err != nil {
		t.Fatalf("kubectl %s %s: %v\n%s%s", side, strings.Join(args, " "), err, out, stderr)
	}
	return out
}

func (b *bed) tryKubectl(side string, stdin io.Reader, args ...string) (stdout, stderr string, err error) {
	cmd := exec.Command(b.clusters, append([]string{"--dir", b.dir, "kubectl", side}, args...)...)
	var outBuffer, errBuffer bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &outBuffer, &errBuffer
	err = cmd.Run()
	return outBuffer.String(), errBuffer.String(), err
}

// daemon is a running akd.
type daemon struct {
	bed    *bed
	node   string
	args   []string
	log    string
	cmd    *exec.Cmd
	exited chan error
	// started is when the akd that runs now, or ran last, was started.
	started time.Time
}

// startAKD starts akd for a node in the local cluster's network, waits until
// the node is Ready, and stops it when the test ends.
func (b *bed) startAKD(t *testing.T, node string, args ...string) *daemon {
	t.Helper()
	d := b.launch(t, node, args...)
	d.waitReady(t)
	return d
}

// launch starts akd and waits for nothing.
func (b *bed) launch(t *testing.T, node string, args ...string) *daemon {
	t.Helper()
	d := &daemon{bed: b, node: node, log: filepath.Join(b.dir, "logs", fmt.Sprintf("akd-%s-%s.log", node, strings.ReplaceAll(t.Name(), "/", "-")))}
	d.args = append([]string{
		"--dir", b.dir, "exec", "local", "--", b.akd, "--node-name", node,
		"--local-kubeconfig", filepath.Join(b.dir, "akd-local.kubeconfig"),
		"--remote-kubeconfig", b.remoteKubeconfig(t, node, args),
		"--node-address", b.address, "--kubelet-api-address", b.address,
	}, args...)
	d.start(t)
	t.Cleanup(func() {
		d.stop(t, syscall.SIGTERM)
		if t.Failed() {
			t.Logf("akd's log is %s; its end:\n%s", d.log, tail(d.log))
		}
	})
	return d
}

// remoteKubeconfig is an administrator's, or, with E2E_TENANT set, that of a
// tenant with the rights that the tests' nodes need: all of them then run as
// users run akd.
func (b *bed) remoteKubeconfig(t *testing.T, node string, args []string) string {
	t.Helper()
	if os.Getenv("E2E_TENANT") == "" || slices.Contains(args, "--remote-kubeconfig") {
		return filepath.Join(b.dir, "akd-remote.kubeconfig")
	}
	values := b.mirroring(node)
	values.ReadNodes, values.ReadMetrics = true, true
	return b.tenant(t, values).kubeconfig
}

// start starts akd, also again after stop.
func (d *daemon) start(t *testing.T) {
	t.Helper()
	log, err := os.OpenFile(d.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	d.cmd, d.exited = exec.Command(d.bed.clusters, d.args...), make(chan error, 1)
	d.cmd.Stdout, d.cmd.Stderr = log, log
	d.started = time.Now()
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func(cmd *exec.Cmd, exited chan<- error) {
		exited <- cmd.Wait()
		_ = log.Close()
	}(d.cmd, d.exited)
}

// waitReady waits until the local cluster finds the node Ready.
func (d *daemon) waitReady(t *testing.T) {
	t.Helper()
	eventually(t, "node "+d.node+" is Ready", func(ctx context.Context) error {
		found, err := d.bed.local.CoreV1().Nodes().Get(ctx, d.node, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, condition := range found.Status.Conditions {
			// What an earlier akd of that name has said holds for a while after its end.
			fresh := !condition.LastHeartbeatTime.Time.Before(d.started.Truncate(time.Second))
			if condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue && fresh {
				return nil
			}
		}
		return errors.New("not Ready")
	})
}

// stop sends the signal and waits until akd has ended. It may be called twice.
func (d *daemon) stop(t *testing.T, signal syscall.Signal) {
	t.Helper()
	if d.cmd == nil {
		return
	}
	_ = d.cmd.Process.Signal(signal)
	select {
	case <-d.exited:
	case <-time.After(patience):
		t.Errorf("akd did not end on %s", signal)
		_ = d.cmd.Process.Kill()
		<-d.exited
	}
	d.cmd = nil
}

func tail(path string) string {
	const most = 8 << 10
	content, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(content[max(0, len(content)-most):])
}

// eventually waits for a condition, which says what it still lacks.
func eventually(t *testing.T, what string, condition func(context.Context) error) {
	t.Helper()
	within(t, patience, what, condition)
}

// within is eventually for what takes its time by its nature.
func within(t *testing.T, limit time.Duration, what string, condition func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	for {
		err := condition(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// namespace makes a local namespace that goes, with all that is in it, when
// the test ends.
func (b *bed) namespace(t *testing.T, name string) string {
	t.Helper()
	_, err := b.local.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			out, _, _ := b.tryKubectl("local", nil, "get", "pods,events", "-n", name, "-o", "wide")
			t.Log(out)
		}
		if out, stderr, err := b.tryKubectl("local", nil, "delete", "namespace", name, "--wait=true", "--timeout=3m"); err != nil {
			t.Errorf("delete namespace %s: %v\n%s%s", name, err, out, stderr)
		}
	})
	eventually(t, "default service account in "+name, func(ctx context.Context) error {
		_, err := b.local.CoreV1().ServiceAccounts(name).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
	return name
}

// apply applies YAML to the local cluster.
func (b *bed) apply(t *testing.T, namespace, manifest string) {
	t.Helper()
	out, stderr, err := b.tryKubectl("local", strings.NewReader(manifest), "apply", "-n", namespace, "-f", "-")
	if err != nil {
		t.Fatalf("kubectl apply: %v\n%s%s\n%s", err, out, stderr, manifest)
	}
}

func exitCode(err error) int {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	return 0
}
