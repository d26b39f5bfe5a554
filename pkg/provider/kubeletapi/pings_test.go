package kubeletapi

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// talker is a remote that says something whenever it is read, until it ends.
type talker struct {
	ended bool
	deaf  bool

	mu    sync.Mutex
	heard bytes.Buffer
}

func (r *talker) all() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return bytes.Clone(r.heard.Bytes())
}

func (r *talker) Read(p []byte) (int, error) {
	if r.ended {
		return 0, io.EOF
	}
	return copy(p, "something"), nil
}

func (r *talker) Write(p []byte) (int, error) {
	if r.deaf {
		return 0, errors.New("broken pipe")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.heard.Write(p)
}

func (r *talker) Close() error { return nil }

// Frames of SPDY, as clients write them: in pieces.
var (
	synStream = [][]byte{{0x80, 3}, {0, 1}, {1, 0, 0, 5}, []byte("hello")}
	ping      = [][]byte{{0x80, 3}, {0, 6}, {0, 0, 0, 4}, {0, 0, 0, 7}}
	data      = [][]byte{{0, 0, 0, 1}, {0, 0, 0, 16}, {0x80, 3, 0, 6, 0, 0, 0, 4}, {0, 0, 0, 7, 0x80, 3, 0, 6}} // looks like a ping
)

func joined(frames ...[][]byte) (all []byte) {
	for _, frame := range frames {
		all = append(all, bytes.Join(frame, nil)...)
	}
	return all
}

// The end of an exec's output, megabytes of it, was lost one time in four when
// a ping met a container runtime that had closed.
func TestPingsWaitWhileTheRemoteTalks(t *testing.T) {
	cases := map[string]func(h *pingHolder){
		"InPieces": func(h *pingHolder) {
			for _, frame := range [][][]byte{synStream, ping, data} {
				for _, piece := range frame {
					if n, err := h.Write(piece); n != len(piece) || err != nil {
						t.Errorf("wrote %d of %d: %v", n, len(piece), err)
					}
				}
			}
		},
		"AtOnce":     func(h *pingHolder) { _, _ = h.Write(joined(synStream, ping, data)) },
		"ByteByByte": func(h *pingHolder) { writeEach(h, joined(synStream, ping, data)) },
	}
	for name, write := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				remote := &talker{}
				h := newPingHolder(remote, pingQuiet)
				check := func(when string, frames ...[][]byte) {
					t.Helper()
					synctest.Wait()
					if diff := cmp.Diff(joined(frames...), remote.all()); diff != "" {
						t.Errorf("%s, the remote has heard (-want +got):\n%s", when, diff)
					}
				}
				_, _ = h.Read(make([]byte, 10))
				write(h)
				check("while it talks", synStream, data)
				<-time.After(pingQuiet - time.Second)
				_, _ = h.Read(make([]byte, 10))
				<-time.After(pingQuiet - time.Second)
				check("before it has been silent for long", synStream, data)
				<-time.After(2 * time.Second)
				check("after a silence", synStream, data, ping)
				_, _ = h.Write(joined(ping))
				check("in a silence", synStream, data, ping, ping)
				_, _ = h.Read(make([]byte, 10))
				remote.ended = true
				_, _ = h.Read(make([]byte, 10))
				_, _ = h.Write(joined(ping))
				<-time.After(time.Minute)
				check("after it has ended", synStream, data, ping, ping)
			})
		})
	}
}

func writeEach(w io.Writer, all []byte) {
	for i := range all {
		_, _ = w.Write(all[i : i+1])
	}
}

func TestHeldPingsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		remote := &talker{}
		h := newPingHolder(remote, pingQuiet)
		_, _ = h.Read(make([]byte, 10))
		for range 1000 {
			_, _ = h.Write(joined(ping))
		}
		h.mu.Lock()
		held := len(h.held)
		h.mu.Unlock()
		if held > maxHeldPings {
			t.Errorf("%d bytes of pings are held, want %d at most", held, maxHeldPings)
		}
		<-time.After(time.Minute)
		synctest.Wait()
		if got := len(remote.all()); got != 1000*spdyPing {
			t.Errorf("%d bytes arrived, want all %d", got, 1000*spdyPing)
		}
	})
}

// ReverseProxy ends a stream when one direction fails.
func TestRemoteThatStoppedListeningIsHeardOut(t *testing.T) {
	b := &lingeringBody{ReadWriteCloser: &talker{deaf: true}}
	for range 2 {
		if n, err := io.WriteString(b, "input"); n != len("input") || err != nil {
			t.Errorf("wrote %d: %v", n, err)
		}
	}
	if n, err := b.Read(make([]byte, 10)); n == 0 || err != nil {
		t.Errorf("read %d: %v", n, err)
	}
}
