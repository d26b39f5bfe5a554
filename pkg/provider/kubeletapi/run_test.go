package kubeletapi

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	server "k8s.io/cri-streaming/pkg/streaming/remotecommand"
)

func TestRun(t *testing.T) {
	e := newEnv(t)
	e.remote.command = func(_ context.Context, _ io.Reader, out, _ io.WriteCloser, cmd []string, _ <-chan server.TerminalSize) error {
		fmt.Fprintf(out, "%q", cmd)
		if cmd[0] == "false" {
			return exitWith(1)
		}
		return nil
	}
	if res, body := e.ask(t, http.MethodPost, "/run/shop/web/main?cmd=echo+a", goodToken); res.StatusCode != 200 || body != `["echo" "a"]` {
		t.Errorf("got %d %s", res.StatusCode, body)
	}
	res, body := e.ask(t, http.MethodPost, "/run/shop/web/main?cmd=false", goodToken)
	if res.StatusCode != 500 || !strings.Contains(body, "exit code 1") {
		t.Errorf("got %d %s", res.StatusCode, body)
	}
}

// The command may be in the body, which is read into memory.
func TestRunReadsLittle(t *testing.T) {
	e := newEnv(t)
	e.remote.command = func(_ context.Context, _ io.Reader, out, _ io.WriteCloser, cmd []string, _ <-chan server.TerminalSize) error {
		fmt.Fprintf(out, "%.20q", cmd)
		return nil
	}
	for body, want := range map[string]int{"cmd=echo+a": http.StatusOK, "cmd=" + strings.Repeat("a", 1<<20): http.StatusBadRequest} {
		req, err := http.NewRequest(http.MethodPost, "https://"+e.addr+"/run/shop/web/main", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+goodToken)
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		res, err := e.client(t).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%d bytes: got %d, want %d", len(body), res.StatusCode, want)
		}
	}
}
