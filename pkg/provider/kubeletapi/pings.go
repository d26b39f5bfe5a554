package kubeletapi

import (
	"encoding/binary"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// pingQuiet is how long the remote must have sent nothing before it gets a ping.
	// Clients send one every 5 s.
	pingQuiet = 2 * time.Second
	// maxHeldPings limits the pings held for a client that does not wait for
	// responses.
	maxHeldPings = 64 * spdyPing

	spdyHeader  = 8  // of a frame
	spdyPing    = 12 // a whole ping frame: header and id
	spdyControl = 0x8000
	spdyPingKey = 6
)

// pingHolder is the SPDY connection to the remote. It holds back the pings of the
// caller while the remote sends data. API servers and kubelets on the way end a
// stream as soon as either direction fails, and a ping to a container runtime that
// has sent everything and closed the connection makes one fail while megabytes of
// output are still on their way. A stream with data needs no ping to show that it is
// alive.
// https://github.com/kubernetes/kubernetes/blob/v1.37.1/staging/src/k8s.io/apimachinery/pkg/util/proxy/upgradeaware.go
//
// Everything else passes unchanged; the headers distinguish the frames.
// https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/#TOC-2.2-Framing
type pingHolder struct {
	io.ReadWriteCloser
	quiet time.Duration
	heard atomic.Int64 // when the remote last sent data, Unix nanoseconds
	ended atomic.Bool  // the remote has sent everything

	mu     sync.Mutex // of writes
	header []byte     // of the current frame, while it is incomplete
	left   int        // remaining bytes of the current frame
	held   []byte     // pings
	out    []byte     // what sift returned last
	timer  *time.Timer
}

func newPingHolder(remote io.ReadWriteCloser, quiet time.Duration) *pingHolder {
	return &pingHolder{ReadWriteCloser: remote, quiet: quiet}
}

func (h *pingHolder) Read(p []byte) (int, error) {
	n, err := h.ReadWriteCloser.Read(p)
	if n > 0 {
		h.heard.Store(time.Now().UnixNano())
	}
	if err != nil {
		h.ended.Store(true)
	}
	return n, err
}

// Write passes on everything except pings.
func (h *pingHolder) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if out := h.sift(p); len(out) > 0 {
		if _, err := h.ReadWriteCloser.Write(out); err != nil {
			return 0, err
		}
	}
	return len(p), h.release()
}

// sift keeps pings, and a header that is incomplete.
func (h *pingHolder) sift(p []byte) (out []byte) {
	if len(p) <= h.left { // the usual case with much data
		h.left -= len(p)
		return p
	}
	out = h.out[:0]
	defer func() { h.out = out }()
	for len(p) > 0 {
		if h.left > 0 {
			n := min(h.left, len(p))
			out, p, h.left = append(out, p[:n]...), p[n:], h.left-n
			continue
		}
		h.header, p = append(h.header, p[0]), p[1:]
		switch {
		case len(h.header) < spdyHeader:
		case isPing(h.header) && len(h.header) < spdyPing:
		case isPing(h.header):
			h.held, h.header = append(h.held, h.header...), h.header[:0]
		default:
			const lengthMask = 1<<24 - 1 // the first byte is flags
			h.left = int(binary.BigEndian.Uint32(h.header[4:]) & lengthMask)
			out, h.header = append(out, h.header...), h.header[:0]
		}
	}
	return out
}

func isPing(header []byte) bool {
	const length = spdyPing - spdyHeader
	return binary.BigEndian.Uint16(header)&spdyControl != 0 && binary.BigEndian.Uint16(header[2:]) == spdyPingKey &&
		binary.BigEndian.Uint32(header[4:]) == length
}

// release sends the held pings if the remote has sent nothing for long enough.
// Otherwise it makes sure that they are sent then. It is called with mu held.
func (h *pingHolder) release() error {
	if h.ended.Load() {
		h.held = nil
	}
	// A ping must not interrupt another frame.
	if len(h.held) == 0 || h.left > 0 {
		return nil
	}
	wait := h.quiet - time.Since(time.Unix(0, h.heard.Load()))
	if wait > 0 && len(h.held) < maxHeldPings {
		if h.timer == nil {
			h.timer = time.AfterFunc(wait, h.later)
		}
		return nil
	}
	_, err := h.ReadWriteCloser.Write(h.held)
	h.held = h.held[:0]
	return err
}

func (h *pingHolder) later() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.timer = nil
	_ = h.release() // a reader gets the error of a broken connection
}

func (h *pingHolder) Close() error {
	h.ended.Store(true)
	return h.ReadWriteCloser.Close()
}

// CloseWrite ends one half; see lingeringBody.
func (h *pingHolder) CloseWrite() error {
	half, ok := h.ReadWriteCloser.(interface{ CloseWrite() error })
	if !ok {
		return h.Close()
	}
	return half.CloseWrite()
}
