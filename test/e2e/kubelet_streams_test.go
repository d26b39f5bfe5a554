//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/remotecommand"

	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

// sizes of akd, by its own metrics.
type sizes struct {
	goroutines, files, heap, resident, streams float64
}

func (s sizes) String() string {
	return fmt.Sprintf("%v goroutines, %v files, %.1f MiB of heap, %.1f MiB resident, %v streams",
		s.goroutines, s.files, s.heap/(1<<20), s.resident/(1<<20), s.streams)
}

func sizesOf(t *testing.T, e *env.Env) sizes {
	t.Helper()
	_, body := e.Administrator(t, "local").Request(t, "GET", "/metrics")
	value := func(name string) float64 {
		found := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindStringSubmatch(body)
		if found == nil {
			t.Fatalf("/metrics has no %s:\n%s", name, body)
		}
		n, err := strconv.ParseFloat(found[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	return sizes{
		goroutines: value("go_goroutines"),
		files:      value("process_open_fds"),
		heap:       value("go_memstats_heap_alloc_bytes"),
		resident:   value("process_resident_memory_bytes"),
		streams:    value("akd_kubelet_api_streams"),
	}
}

// When users close their laptops while commands run, akd releases everything that
// they had opened, and the commands end.
func testDroppedStreams(t *testing.T, p env.Pod) {
	e, sessions := p.Env, 50
	if env.Slow() {
		sessions = 500
	}
	dropSessions(t, e, p, 10) // warms akd's caches and pools
	var before sizes
	env.Eventually(t, "the first few have ended", func(context.Context) error {
		if before = sizesOf(t, e); before.streams > 0 {
			return fmt.Errorf("%v", before)
		}
		return nil
	})
	open := dropSessions(t, e, p, sessions)
	var after sizes
	// Go collects at least every two minutes.
	env.Within(t, 2*env.Timeout, "akd's sizes are as before", func(context.Context) error {
		after = sizesOf(t, e)
		if after.streams > before.streams || after.goroutines > before.goroutines+10 || after.files > before.files+5 ||
			after.heap > before.heap*1.25+8<<20 {
			return fmt.Errorf("%v; before: %v", after, before)
		}
		return nil
	})
	t.Logf("before %d sessions:  %v\nwhile they were open: %v\nafter:                %v", sessions, before, open, after)
	env.Eventually(t, "the commands have ended", func(context.Context) error {
		if left := strings.TrimSpace(p.Shell(t, "pidof cat || true")); left != "" {
			return fmt.Errorf("cat still runs as %s", left)
		}
		return nil
	})
}

// dropSessions opens exec sessions that echo a word and wait, then breaks their
// connections. It returns akd's sizes while all were open.
func dropSessions(t *testing.T, e *env.Env, p env.Pod, sessions int) sizes {
	t.Helper()
	config := e.RESTConfig(t, "local")
	relay := env.StartRelay(t, config)
	request := e.Local.CoreV1().RESTClient().Post().Namespace(p.Namespace).Resource("pods").Name(p.Name).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Command: []string{"cat"}, Stdin: true, Stdout: true}, scheme.ParameterCodec).URL()
	request.Host = relay.Address
	opening := make(chan struct{}, 20)
	var echoed, ended sync.WaitGroup
	for range sessions {
		executor, err := remotecommand.NewSPDYExecutor(config, http.MethodPost, request)
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
			// client-go returns an error for a reset and none for an end.
			_ = executor.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdin: stdin, Stdout: onWrite(heard)})
			heard()
		})
	}
	echoed.Wait()
	open := sizesOf(t, e)
	if int(open.streams) != sessions {
		t.Errorf("akd counts %v streams, want %d", open.streams, sessions)
	}
	relay.Cut()
	ended.Wait()
	return open
}

// onWrite is called at each write.
type onWrite func()

func (f onWrite) Write(p []byte) (int, error) { f(); return len(p), nil }
