package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// streamsMeasurement moves bytes out of one pod and into it, in the ways that
// kubectl does.
type streamsMeasurement struct {
	mebibytes int // of each stream
	rounds    int
}

const (
	streamsNamespace = "bench-streams"
	streamsPod       = "streams"
	streamsPort      = 8080
	// logMebibytes stays below the 10 MiB at which a kubelet rotates a log: a
	// rotated log is not read whole. Lines are long, because the log's file holds
	// a time with each of them.
	logMebibytes = 8
)

// end is one of the two ways to the pod: its API server, and its name there.
type end struct {
	config    *rest.Config
	client    kubernetes.Interface
	namespace string
}

// transfer is one kind of stream. It moves its bytes once and returns how many.
type transfer struct {
	name string
	move func(ctx context.Context, e end) (bytes int64, err error)
}

func (m *streamsMeasurement) needs() (needs, error) {
	if m.mebibytes < logMebibytes || m.rounds < 1 {
		return needs{}, fmt.Errorf("nothing to measure: give --mebibytes of %d or more, and --rounds of 1 or more", logMebibytes)
	}
	return needs{akd: true}, nil
}

func (m *streamsMeasurement) run(ctx context.Context, env *environment) (_ string, err error) {
	viaRemote, err := newEnd(env, remoteSide, contract.RemoteNamespace(benchNode, streamsNamespace))
	if err != nil {
		return "", err
	}
	viaLocal, err := newEnd(env, localSide, streamsNamespace)
	if err != nil {
		return "", err
	}
	if err := m.createPod(ctx, viaLocal.client); err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, deletePod(context.WithoutCancel(ctx), viaLocal.client)) }()
	return m.measure(ctx, env, map[string]end{direct: viaRemote, ak: viaLocal})
}

func newEnd(env *environment, s side, namespace string) (end, error) {
	config, err := clientcmd.BuildConfigFromFlags("", filepath.Join(env.dir, string(s)+".kubeconfig"))
	if err != nil {
		return end{}, fmt.Errorf("kubeconfig of the %s cluster: %w", s, err)
	}
	return end{config: config, client: env.clients[s], namespace: namespace}, nil
}

func (m *streamsMeasurement) measure(ctx context.Context, env *environment, ends map[string]end) (string, error) {
	t := table{head: []string{"stream", "direct, MiB/s", "AK, MiB/s", "AK / direct", "akd's CPU, s/GiB"}}
	for _, transfer := range m.transfers() {
		speeds, ratios, cpu := map[string]series{}, series{}, series{}
		for round := -1; round < m.rounds; round++ { // the first round warms up and is not counted
			speed := map[string]float64{}
			for _, kind := range alternately(round) {
				moved, err := transfer.once(ctx, ends[kind], env.daemon)
				if err != nil {
					return "", fmt.Errorf("%s, %s: %w", transfer.name, kind, err)
				}
				speed[kind] = moved.speed
				if kind == ak && round >= 0 {
					cpu = append(cpu, moved.cpu)
				}
			}
			if round < 0 {
				continue
			}
			for kind, s := range speed {
				speeds[kind] = append(speeds[kind], s)
			}
			ratios = append(ratios, speed[ak]/speed[direct])
		}
		t.add(transfer.name, speeds[direct].show("%.0f"), speeds[ak].show("%.0f"), ratios.show("%.2f"), cpu.show("%.1f"))
		env.logf("%s is done: %s", transfer.name, ratios.show("%.2f"))
	}
	return fmt.Sprintf("### One stream at a time of %d MiB, median of %d rounds\n\n%s\n", m.mebibytes, m.rounds, t.String()), nil
}

// moved are the figures of one transfer.
type moved struct {
	speed float64 // MiB/s
	cpu   float64 // akd's, in seconds per GiB
}

// once moves a transfer's bytes once.
func (t transfer) once(ctx context.Context, e end, d *daemon) (m moved, err error) {
	before, err := d.usage()
	if err != nil {
		return m, err
	}
	start := time.Now()
	bytes, err := t.move(ctx, e)
	if err != nil {
		return m, err
	}
	m.speed = float64(bytes) / (1 << 20) / time.Since(start).Seconds()
	after, err := d.usage()
	m.cpu = (after.cpu - before.cpu).Seconds() / (float64(bytes) / (1 << 30))
	return m, err
}

// alternately lets each way be the first in every other round.
func alternately(round int) [2]string {
	if round%2 == 0 {
		return [2]string{direct, ak}
	}
	return [2]string{ak, direct}
}

func (m *streamsMeasurement) transfers() []transfer {
	size := int64(m.mebibytes) << 20
	return []transfer{
		{"exec, output", func(ctx context.Context, e end) (int64, error) {
			into := &count{}
			return into.exactly(size, e.exec(ctx, remotecommand.StreamOptions{Stdout: into}, "cat", "/data/block"))
		}},
		{"exec, input", func(ctx context.Context, e end) (int64, error) {
			counted := &strings.Builder{}
			err := e.exec(ctx, remotecommand.StreamOptions{Stdin: io.LimitReader(zeros{}, size), Stdout: counted}, "wc", "-c")
			if got := strings.TrimSpace(counted.String()); err == nil && got != strconv.FormatInt(size, 10) {
				err = fmt.Errorf("got %s bytes, want %d", got, size)
			}
			return size, err
		}},
		{"port-forward", func(ctx context.Context, e end) (int64, error) {
			into := &count{}
			return into.exactly(size, e.fetch(ctx, into))
		}},
		{"logs", func(ctx context.Context, e end) (int64, error) {
			const whole = logMebibytes << 20
			into := &count{}
			times := size / whole
			for range times {
				log, err := e.client.CoreV1().Pods(e.namespace).GetLogs(streamsPod, &corev1.PodLogOptions{Container: "log"}).Stream(ctx)
				if err != nil {
					return 0, fmt.Errorf("open log: %w", err)
				}
				_, err = io.Copy(into, log)
				_ = log.Close()
				if err != nil {
					return 0, fmt.Errorf("read log: %w", err)
				}
			}
			return into.exactly(times*whole, nil)
		}},
	}
}

// count is a Writer that keeps nothing.
type count struct{ bytes int64 }

func (c *count) Write(p []byte) (int, error) {
	c.bytes += int64(len(p))
	return len(p), nil
}

func (c *count) exactly(want int64, err error) (int64, error) {
	if err == nil && c.bytes != want {
		err = fmt.Errorf("got %d bytes, want %d", c.bytes, want)
	}
	return c.bytes, err
}

// zeros is an endless Reader.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func (e end) subresource(name string, options runtime.Object) *rest.Request {
	request := e.client.CoreV1().RESTClient().Get().Namespace(e.namespace).Resource("pods").Name(streamsPod).SubResource(name)
	return request.VersionedParams(options, scheme.ParameterCodec)
}

func (e end) exec(ctx context.Context, streams remotecommand.StreamOptions, command ...string) error {
	request := e.subresource("exec", &corev1.PodExecOptions{
		Container: "main", Command: command, Stdin: streams.Stdin != nil, Stdout: true,
	})
	executor, err := remotecommand.NewWebSocketExecutor(e.config, http.MethodGet, request.URL().String())
	if err != nil {
		return fmt.Errorf("prepare exec: %w", err)
	}
	return executor.StreamWithContext(ctx, streams)
}

// fetch reads the block over HTTP through a forwarded port.
func (e end) fetch(ctx context.Context, into io.Writer) error {
	url := e.subresource("portforward", &corev1.PodPortForwardOptions{}).URL()
	dialer, err := portforward.NewSPDYOverWebsocketDialerForStreaming(url, e.config)
	if err != nil {
		return fmt.Errorf("prepare port-forward: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ready := make(chan struct{})
	addresses, forwarded := []string{"127.0.0.1"}, []string{fmt.Sprintf("0:%d", streamsPort)}
	forwarder, err := portforward.NewOnAddressesForStreamingWithContext(
		ctx, dialer, addresses, forwarded, ready, io.Discard, io.Discard)
	if err != nil {
		return fmt.Errorf("prepare port-forward: %w", err)
	}
	done := make(chan struct{})
	var ended error
	go func() { defer close(done); ended = forwarder.ForwardPorts() }()
	defer func() { cancel(); <-done }()
	select {
	case <-done:
		return fmt.Errorf("port-forward: %w", ended)
	case <-ready:
	}
	ports, err := forwarder.GetPorts()
	if err != nil {
		return fmt.Errorf("port-forward: %w", err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/block", ports[0].Local), http.NoBody)
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("fetch through the port: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	if _, err := io.Copy(into, res.Body); err != nil {
		return fmt.Errorf("fetch through the port: %w", err)
	}
	return nil
}

// createPod creates the pod through AK and waits until its block can be
// fetched and its log has been written.
func (m *streamsMeasurement) createPod(ctx context.Context, client kubernetes.Interface) error {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: streamsNamespace}}
	if _, err := client.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create namespace %s: %w", streamsNamespace, err)
	}
	err := poll(ctx, "pod "+streamsPod+" is created", func(ctx context.Context) error {
		_, err := client.CoreV1().Pods(streamsNamespace).Create(ctx, m.pod(), metav1.CreateOptions{})
		return err // at first the namespace has no service account
	})
	if err != nil {
		return err
	}
	return poll(ctx, "pod "+streamsPod+" is Ready", func(ctx context.Context) error {
		pod, err := client.CoreV1().Pods(streamsNamespace).Get(ctx, streamsPod, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if !isReady(pod) {
			return errors.New("not Ready")
		}
		return nil
	})
}

func deletePod(ctx context.Context, client kubernetes.Interface) error {
	pods := client.CoreV1().Pods(streamsNamespace)
	if err := pods.Delete(ctx, streamsPod, metav1.DeleteOptions{}); err != nil {
		return fmt.Errorf("delete pod %s: %w", streamsPod, err)
	}
	return poll(ctx, "pod "+streamsPod+" is gone", func(ctx context.Context) error {
		_, err := pods.Get(ctx, streamsPod, metav1.GetOptions{})
		if err == nil {
			return errors.New("it is still there")
		}
		if apierrors.IsNotFound(err) {
			return nil
		}
		return err
	})
}

func (m *streamsMeasurement) pod() *corev1.Pod {
	grace := int64(1)
	serve := fmt.Sprintf("head -c %d /dev/zero > /data/new && mv /data/new /data/block && exec httpd -f -p %d -h /data",
		m.mebibytes<<20, streamsPort)
	log := fmt.Sprintf("yes %01023d | head -n %d && touch /data/logged; trap exit TERM; while :; do sleep 1 & wait; done",
		0, logMebibytes<<10)
	// In memory: this does not measure the disk.
	data := &corev1.EmptyDirVolumeSource{
		Medium:    corev1.StorageMediumMemory,
		SizeLimit: resource.NewQuantity(int64(m.mebibytes+1)<<20, resource.BinarySI),
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: streamsNamespace, Name: streamsPod},
		Spec: corev1.PodSpec{
			NodeSelector:                  map[string]string{corev1.LabelHostname: benchNode},
			Tolerations:                   []corev1.Toleration{{Key: "actual.vk/infra", Operator: corev1.TolerationOpExists}},
			TerminationGracePeriodSeconds: &grace,
			Containers:                    []corev1.Container{shell("main", serve, "/data/block"), shell("log", log, "/data/logged")},
			Volumes:                       []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{EmptyDir: data}}},
		},
	}
}

// shell is a container that runs a script, and is ready once a file exists.
func shell(name, script, file string) corev1.Container {
	exists := &corev1.ExecAction{Command: []string{"test", "-e", file}}
	return corev1.Container{
		Name:            name,
		Image:           "busybox:1.36",
		ImagePullPolicy: corev1.PullNever,
		Command:         []string{"sh", "-c", script},
		VolumeMounts:    []corev1.VolumeMount{{Name: "data", MountPath: "/data"}},
		ReadinessProbe:  &corev1.Probe{PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{Exec: exists}},
	}
}
