package kubeletapi

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	client "k8s.io/client-go/tools/remotecommand"
	server "k8s.io/cri-streaming/pkg/streaming/remotecommand"
)

// crowd is pods of several namespaces, all of which are the one pod of the fake
// remote.
type crowd []*corev1.Pod

func newCrowd(names ...string) crowd {
	var pods crowd
	for _, name := range names {
		namespace, name, _ := strings.Cut(name, "/")
		pods = append(pods, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}})
	}
	return pods
}

func (c crowd) List() []*corev1.Pod { return c }
func (c crowd) Pod(namespace, name string) (*corev1.Pod, bool) {
	return fixedPods(c).Pod(namespace, name)
}
func (c crowd) Remote(*corev1.Pod) (namespace, name string, _ bool) {
	return remoteNamespace, "web", true
}

// Through the local API server, all requests come from one user: without limits
// for pods and namespaces, a user with one namespace could take all streams of the
// node.
func TestStreamLimits(t *testing.T) {
	e := newEnv(t, func(c *Config) {
		c.Limits.Streams = 8
		c.Pods = newCrowd("shop/web", "shop/api", "shop/job", "bank/web", "bank/api", "club/web")
	})
	e.remote.logs = func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		if r.URL.Query().Get("follow") == "true" {
			<-r.Context().Done()
		}
	}
	e.remote.command = func(_ context.Context, in io.Reader, out, _ io.WriteCloser, _ []string, _ <-chan server.TerminalSize) error {
		fmt.Fprint(out, "ready")
		_, err := io.Copy(io.Discard, in)
		return err
	}
	steps := []struct {
		opened, refused string
		message         string
	}{
		{opened: "shop/web"},
		{opened: "shop/web", refused: "shop/web", message: `node "vk" carries 2 streams of pod "shop/web" already, its limit`},
		{opened: "shop/api"},
		{opened: "shop/api", refused: "shop/job", message: `node "vk" carries 4 streams of namespace "shop" already, its limit`},
		{opened: "bank/web"},
		{opened: "bank/api", refused: "bank/web", message: `node "vk" carries 6 streams of user "good" already, its limit`},
	}
	open := 0
	for i, step := range steps {
		// Both kinds count: a log that is followed, and a shell.
		if i%2 == 0 {
			e.followLog(t, step.opened)
		} else {
			e.openShell(t, step.opened, goodToken)
		}
		open++
		eventually(t, "stream is open", func() bool { return e.streams.open() == open })
		if step.refused == "" {
			continue
		}
		res, body := e.ask(t, http.MethodGet, "/containerLogs/"+step.refused+"/main", goodToken)
		if want := step.message + ": close some, then retry the log"; res.StatusCode != 429 || body != want {
			t.Errorf("log of %s: got %d %q, want 429 %q", step.refused, res.StatusCode, body, want)
		}
		code, status := upgrade(t, e, "/exec/"+step.refused+"/main?command=a&output=1")
		if want := step.message + ": close some, then retry the exec"; code != 429 || status.Message != want {
			t.Errorf("exec in %s: got %d %q, want 429 %q", step.refused, code, status.Message, want)
		}
		if status.Details == nil || status.Details.RetryAfterSeconds == 0 {
			t.Errorf("exec in %s: no hint when to retry", step.refused)
		}
	}
	// What the greedy have left is for the others, to the last stream.
	e.openShell(t, "club/web", otherToken)
	e.openShell(t, "club/web", otherToken)
	eventually(t, "others' streams are open", func() bool { return e.streams.open() == 8 })
	res, body := e.ask(t, http.MethodGet, "/containerLogs/bank/api/main", otherToken)
	if want := `node "vk" carries 8 streams already, its limit: close some, then retry the log`; res.StatusCode != 429 || body != want {
		t.Errorf("got %d %q, want 429 %q", res.StatusCode, body, want)
	}
}

// followLog follows a log until the test ends.
func (e *env) followLog(t *testing.T, pod string) {
	t.Helper()
	log := "https://" + e.addr + "/containerLogs/" + pod + "/main?follow=true"
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, log, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+goodToken)
	res, err := e.client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	if res.StatusCode != http.StatusOK {
		t.Fatalf("log of %s: got %d", pod, res.StatusCode)
	}
}

// openShell runs a command that reads until the test ends.
func (e *env) openShell(t *testing.T, pod, token string) {
	t.Helper()
	config := e.config(t)
	config.TLSClientConfig.CertData, config.TLSClientConfig.KeyData, config.BearerToken = nil, nil, token
	u := &url.URL{Scheme: "https", Host: e.addr, Path: "/exec/" + pod + "/main", RawQuery: "command=cat&input=1&output=1"}
	executor, err := client.NewSPDYExecutor(config, http.MethodPost, u)
	if err != nil {
		t.Fatal(err)
	}
	stdin, typing := io.Pipe()
	ready, ended := make(chan struct{}, 1), make(chan error, 1)
	go func() {
		ended <- executor.StreamWithContext(t.Context(), client.StreamOptions{Stdin: stdin, Stdout: writerFunc(func() { ready <- struct{}{} })})
	}()
	t.Cleanup(func() { _ = typing.Close() })
	select {
	case <-ready:
	case err := <-ended:
		t.Fatalf("shell in %s: %v", pod, err)
	}
}

func TestStreamLimiter(t *testing.T) {
	cases := map[string]struct {
		reason                      string
		total, user, namespace, pod int
	}{
		"One":     {"a single stream is for anyone", 1, 1, 1, 1},
		"Few":     {"every pod can have one", 2, 2, 1, 1},
		"Some":    {"three quarters, half, a quarter", 8, 6, 4, 2},
		"Default": {"three quarters, half, a quarter", 1024, 768, 512, 256},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			for kind, want := range map[share]int{ofNode: tc.total, ofUser: tc.user, ofNamespace: tc.namespace, ofPod: tc.pod} {
				l := newStreamLimiter(tc.total)
				var releases []func()
				for i := range want {
					release, limit, _ := l.acquire(holderOf(kind, i))
					if release == nil {
						t.Fatalf("%s: %d streams%s, want %d", tc.reason, limit, holderOf(kind, i).whose(kind), want)
					}
					releases = append(releases, release)
				}
				release, limit, reached := l.acquire(holderOf(kind, want))
				if release != nil || limit != want || want < tc.total && reached != kind {
					t.Errorf("%s: got limit %d of share %d, want %d of share %d", tc.reason, limit, reached, want, kind)
				}
				for _, release := range releases {
					release()
				}
				for s, counts := range l.counts {
					if len(counts) > 0 {
						t.Errorf("share %d keeps %v", s, counts)
					}
				}
			}
		})
	}
}

// holderOf is a holder that has only the one share in common with the others.
func holderOf(kind share, i int) holder {
	h := holder{user: fmt.Sprint("user-", i), namespace: fmt.Sprint("namespace-", i), pod: fmt.Sprint("pod-", i)}
	switch kind { //nolint:exhaustive // all share the node
	case ofUser:
		h.user = "same"
	case ofNamespace:
		h.namespace = "same"
	case ofPod:
		h.namespace, h.pod = "same", "same"
	}
	return h
}
