package kubeletapi

import (
	"net/http"
	"testing"
)

func TestStreamLimit(t *testing.T) {
	e := newEnv(t, func(c *Config) { c.Limits.Streams = 1 })
	release := make(chan struct{})
	e.remote.logs = func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		<-release
	}
	done := make(chan struct{})
	go func() { defer close(done); e.ask(t, http.MethodGet, "/containerLogs/shop/web/main", goodToken) }()
	eventually(t, "first stream is open", func() bool { return e.streams.open() == 1 })
	res, body := e.ask(t, http.MethodGet, "/containerLogs/shop/web/main", goodToken)
	if want := `node "vk" carries 1 streams already, its limit: close some, then retry the log`; res.StatusCode != 429 || body != want {
		t.Errorf("got %d %q, want 429 %q", res.StatusCode, body, want)
	}
	close(release)
	<-done
}

func TestStreamLimiter(t *testing.T) {
	p := newStreamLimiter(4)
	var releases []func()
	for range 3 {
		release, limit := p.acquire("greedy")
		if release == nil {
			t.Fatalf("refused at limit %d", limit)
		}
		releases = append(releases, release)
	}
	if release, limit := p.acquire("greedy"); release != nil || limit != 3 {
		t.Errorf("one user has all streams: limit %d", limit)
	}
	last, _ := p.acquire("modest")
	if last == nil {
		t.Fatal("another user has no stream")
	}
	if release, limit := p.acquire("third"); release != nil || limit != 4 {
		t.Errorf("more streams than the limit: limit %d", limit)
	}
	for _, release := range append(releases, last) {
		release()
	}
	if p.open() != 0 || len(p.users) != 0 {
		t.Errorf("%d streams and %d users are left", p.open(), len(p.users))
	}
}
