package link

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// Faults of the link, as toxics of the proxy. Each exists for both directions; the
// direction is part of the name.
const (
	latencyToxic = "latency"
	cutToxic     = "cut"
	resetToxic   = "reset"
)

// Directions of the link, as toxiproxy calls them.
const (
	upstream   = "upstream"
	downstream = "downstream"
)

// State is the condition of the link.
type State struct {
	// Cut lets nothing through.
	Cut bool `json:"cut"`
	// HalfOpen lets requests through, and no answers.
	HalfOpen bool `json:"halfOpen"`
	// Reset resets each connection at its next byte.
	Reset bool `json:"reset"`
	// Latency is added to each round trip, half in each direction.
	Latency time.Duration `json:"latencyNanoseconds"`
}

// Control controls a proxy through its socket.
type Control struct {
	Socket string
}

type toxic struct {
	Name       string           `json:"name"`
	Type       string           `json:"type"`
	Stream     string           `json:"stream"`
	Toxicity   float32          `json:"toxicity"`
	Attributes map[string]int64 `json:"attributes"`
}

// Set applies state to existing and future connections.
//
// A cut link acts like a network partition: bytes vanish in both directions and no
// connection is reset. New connections are accepted, because the proxy accepts
// before it dials upstream, but get no answer. A half-open link does so to answers
// only. A restored link closes the connections that lived through either, because
// bytes are missing in them.
func (c Control) Set(ctx context.Context, state State) error {
	for _, stream := range []string{upstream, downstream} {
		cut := toxic{Name: cutToxic + "-" + stream, Type: "timeout", Attributes: map[string]int64{"timeout": 0}}
		slow := toxic{Name: latencyToxic + "-" + stream, Type: "latency"}
		slow.Attributes = map[string]int64{"latency": (state.Latency / 2).Milliseconds()}
		reset := toxic{Name: resetToxic + "-" + stream, Type: "reset_peer", Attributes: map[string]int64{"timeout": 0}}
		silent := state.Cut || state.HalfOpen && stream == downstream
		for _, change := range []struct {
			toxic  toxic
			wanted bool
		}{{slow, state.Latency > 0}, {cut, silent}, {reset, state.Reset}} {
			change.toxic.Stream, change.toxic.Toxicity = stream, 1
			if err := c.change(ctx, change.toxic, change.wanted); err != nil {
				return fmt.Errorf("change link: %w", err)
			}
		}
	}
	return nil
}

func (c Control) change(ctx context.Context, t toxic, wanted bool) error {
	path := "/proxies/" + proxyName + "/toxics"
	if !wanted {
		return c.call(ctx, http.MethodDelete, path+"/"+t.Name, nil, nil)
	}
	err := c.call(ctx, http.MethodPost, path+"/"+t.Name, t, nil)
	var status statusError
	if errors.As(err, &status) && status == http.StatusNotFound {
		return c.call(ctx, http.MethodPost, path, t, nil)
	}
	return err
}

// State returns the current state of the link.
func (c Control) State(ctx context.Context) (State, error) {
	var toxics []toxic
	if err := c.call(ctx, http.MethodGet, "/proxies/"+proxyName+"/toxics", nil, &toxics); err != nil {
		return State{}, fmt.Errorf("read link state: %w", err)
	}
	var state State
	silent := map[string]bool{}
	for _, t := range toxics {
		switch t.Type {
		case "timeout":
			silent[t.Stream] = true
		case "reset_peer":
			state.Reset = true
		case "latency":
			state.Latency += time.Duration(t.Attributes["latency"]) * time.Millisecond
		}
	}
	state.Cut = silent[upstream]
	state.HalfOpen = silent[downstream] && !state.Cut
	return state, nil
}

// statusError is an HTTP status that is not success.
type statusError int

func (s statusError) Error() string { return http.StatusText(int(s)) }

func (c Control) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(data)
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://link"+path, body)
	if err != nil {
		return err
	}
	client := http.Client{Transport: &http.Transport{DialContext: c.dial, DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	switch {
	case method == http.MethodDelete && response.StatusCode == http.StatusNotFound:
		return nil
	case response.StatusCode >= http.StatusBadRequest:
		return statusError(response.StatusCode)
	case out != nil:
		return json.NewDecoder(response.Body).Decode(out)
	}
	return nil
}

func (c Control) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	short, done, err := shorten(c.Socket)
	if err != nil {
		return nil, err
	}
	defer done()
	return new(net.Dialer).DialContext(ctx, "unix", short)
}
