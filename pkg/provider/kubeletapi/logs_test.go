package kubeletapi

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestLogs(t *testing.T) {
	e := newEnv(t)
	e.remote.logs = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		fmt.Fprint(w, "a line of "+remoteNamespace+"\n")
	}
	cases := map[string]struct {
		reason string
		query  string
		want   url.Values
	}{
		"None":      {"the container is always named", "", url.Values{"container": {"main"}}},
		"TailZero":  {"zero lines are not all lines", "?tailLines=0", url.Values{"container": {"main"}, "tailLines": {"0"}}},
		"TailAlias": {"the kubelet's older name", "?tail=5", url.Values{"container": {"main"}, "tailLines": {"5"}}},
		"TailAll":   {"all is no limit", "?tail=all&tailLines=3", url.Values{"container": {"main"}}},
		"StreamAll": {"older API servers refuse the field", "?stream=All", url.Values{"container": {"main"}}},
		"Everything": {"each option arrives",
			"?follow=true&previous=true&sinceSeconds=9&sinceTime=2026-01-02T03:04:05Z&timestamps=true&limitBytes=7&stream=Stderr&other=1",
			url.Values{"container": {"main"}, "follow": {"true"}, "previous": {"true"}, "sinceSeconds": {"9"},
				"sinceTime": {"2026-01-02T03:04:05Z"}, "timestamps": {"true"}, "limitBytes": {"7"}, "stream": {"Stderr"}}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			res, body := e.ask(t, http.MethodGet, "/containerLogs/shop/web/main"+tc.query, goodToken)
			if res.StatusCode != http.StatusOK || body != "a line of "+remoteNamespace+"\n" {
				t.Errorf("%s: got %d %q, want the line untouched", tc.reason, res.StatusCode, body)
			}
			if diff := cmp.Diff(tc.want, e.remote.last().URL.Query()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
			if res.Header.Get("Audit-Id") != "" {
				t.Error("the remote's audit id came through")
			}
		})
	}
}

// Logs are text that is read, with the right to read: an upgrade would make of the
// request a connection to the remote that both sides write to.
func TestLogsAreNotUpgraded(t *testing.T) {
	e := newEnv(t)
	e.remote.logs = func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "upgraded: %t", r.Header.Get("Upgrade") != "") //nolint:gosec // not what the caller wrote
	}
	req, err := http.NewRequest(http.MethodGet, "https://"+e.addr+"/containerLogs/shop/web/main", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"Authorization": "Bearer " + goodToken, "Connection": "Upgrade", "Upgrade": "websocket", "Sec-Websocket-Version": "13",
		"Sec-Websocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-Websocket-Protocol": "binary.k8s.io",
	} {
		req.Header.Set(name, value)
	}
	res, err := e.client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if want := "upgraded: false"; err != nil || res.StatusCode != http.StatusOK || string(body) != want {
		t.Errorf("got %d %q, error %v, want 200 %q", res.StatusCode, body, err, want)
	}
}

func TestFollowedLogsComeAtOnceAndStopWithTheCaller(t *testing.T) {
	e := newEnv(t)
	gone := make(chan struct{})
	e.remote.logs = func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "first\n")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		close(gone)
	}
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+e.addr+"/containerLogs/shop/web/main?follow=true", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+goodToken)
	res, err := e.client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	line := make([]byte, 6)
	if _, err := io.ReadFull(res.Body, line); err != nil || string(line) != "first\n" {
		t.Fatalf("got %q, error %v", line, err)
	}
	cancel()
	<-gone
}

func TestLogErrorsAreText(t *testing.T) {
	e := newEnv(t)
	e.remote.fail = refuse(400, metav1.StatusReasonBadRequest, `container "main" in pod "web" is waiting to start: ContainerCreating`)
	const path = "/containerLogs/shop/web/main"
	res, body := e.ask(t, http.MethodGet, path, goodToken)
	if want := `container "main" in pod "web" is waiting to start: ContainerCreating`; res.StatusCode != 400 || body != want {
		t.Errorf("got %d %q, want %q alone: kube-apiserver makes the body the message", res.StatusCode, body, want)
	}
	req, err := http.NewRequest(http.MethodGet, "https://"+e.addr+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+goodToken)
	req.Header.Set("Accept", "application/json")
	res, err = e.client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var status metav1.Status
	if err := json.NewDecoder(res.Body).Decode(&status); err != nil || status.Kind != "Status" || status.Code != 400 {
		t.Errorf("got %+v, error %v, want a Status for who accepts JSON", status, err)
	}
}

// A remote that vanished without a word leaves its idle connections open: a
// request for logs that took one of them was not answered for minutes, and a
// request for a followed log cannot tell that from a container that is silent.
func TestLogsDoNotTrustAnOldConnection(t *testing.T) {
	e := newEnv(t)
	e.remote.logs = func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "a line\n") }
	seen := map[string]bool{}
	for range 2 {
		res, body := e.ask(t, http.MethodGet, "/containerLogs/shop/web/main", goodToken)
		if res.StatusCode != http.StatusOK || body != "a line\n" {
			t.Fatalf("got %d %q", res.StatusCode, body)
		}
		seen[e.remote.last().RemoteAddr] = true
	}
	if len(seen) != 2 {
		t.Errorf("two requests came over %d connections, want one each", len(seen))
	}
}
