package kubeletapi

import (
	"net/http"
	"testing"
)

func TestStreamLimit(t *testing.T) {
	b := newBed(t, func(c *Config) { c.Limits.Streams = 1 })
	release := make(chan struct{})
	b.remote.logs = func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		<-release
	}
	done := make(chan struct{})
	go func() { defer close(done); b.ask(t, http.MethodGet, "/containerLogs/shop/web/main", goodToken) }()
	eventually(t, "first stream is open", func() bool { return b.streams.taken() == 1 })
	res, body := b.ask(t, http.MethodGet, "/containerLogs/shop/web/main", goodToken)
	if want := `node "vk" carries 1 streams already, its limit: close some, then retry the log`; res.StatusCode != 429 || body != want {
		t.Errorf("got %d %q, want 429 %q", res.StatusCode, body, want)
	}
	close(release)
	<-done
}

func TestPlaces(t *testing.T) {
	p := newPlaces(4)
	var releases []func()
	for range 3 {
		release, limit := p.take("greedy")
		if release == nil {
			t.Fatalf("refused at limit %d", limit)
		}
		releases = append(releases, release)
	}
	if release, limit := p.take("greedy"); release != nil || limit != 3 {
		t.Errorf("one user has all places: limit %d", limit)
	}
	last, _ := p.take("modest")
	if last == nil {
		t.Fatal("another user has no place")
	}
	if release, limit := p.take("third"); release != nil || limit != 4 {
		t.Errorf("more streams than places: limit %d", limit)
	}
	for _, release := range append(releases, last) {
		release()
	}
	if p.taken() != 0 || len(p.users) != 0 {
		t.Errorf("%d places and %d users are left", p.taken(), len(p.users))
	}
}
