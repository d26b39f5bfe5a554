package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/google/pprof/profile"
	"golang.org/x/sync/errgroup"
)

// profiled are figures from akd's CPU profile of a run.
type profiled struct {
	// own is the share of akd's CPU time that is neither transport nor encoding
	// nor client-go's and Go's own upkeep: translation, decisions and queues.
	own float64
}

// profile profiles akd for the next seconds, and keeps this profile and one of
// the heap if the user wants profiles. The returned function waits for them.
func (d *daemon) profile(ctx context.Context, name string, length time.Duration) (wait func() (profiled, error)) {
	type answer struct {
		profiled
		err error
	}
	done := make(chan answer, 1)
	go func() {
		var a answer
		cpu, err := d.get(ctx, fmt.Sprintf("/debug/pprof/profile?seconds=%d", int(length.Seconds())))
		if err == nil {
			a.own, err = ownShare(cpu)
		}
		a.err = errors.Join(err, d.env.keepProfile(name+"-cpu", cpu), d.keepHeap(ctx, name))
		done <- a
	}()
	return func() (profiled, error) {
		a := <-done
		return a.profiled, a.err
	}
}

// keepHeap keeps a profile of akd's heap, if the user wants profiles.
func (d *daemon) keepHeap(ctx context.Context, name string) error {
	if d.env.profiles == "" {
		return nil
	}
	heap, err := d.get(ctx, "/debug/pprof/heap?gc=1")
	return errors.Join(err, d.env.keepProfile(name+"-heap", heap))
}

// profileServers profiles both API servers for the next seconds, if the user
// wants profiles: most of the time is spent there. The returned function waits
// for them.
func (env *environment) profileServers(ctx context.Context, name string, length time.Duration) (wait func() error) {
	if env.profiles == "" {
		return func() error { return nil }
	}
	group, ctx := errgroup.WithContext(ctx)
	for s, client := range env.clients {
		group.Go(func() error {
			cpu, err := client.RESTClient().Get().AbsPath("/debug/pprof/profile").
				Param("seconds", strconv.Itoa(int(length.Seconds()))).DoRaw(ctx)
			if err != nil {
				return fmt.Errorf("profile the %s API server: %w", s, err)
			}
			return env.keepProfile(fmt.Sprintf("%s-%s-kube-apiserver", name, s), string(cpu))
		})
	}
	return group.Wait
}

func (env *environment) keepProfile(name, content string) error {
	if env.profiles == "" {
		return nil
	}
	if err := os.MkdirAll(env.profiles, 0o755); err != nil {
		return fmt.Errorf("folder for profiles: %w", err)
	}
	if err := os.WriteFile(filepath.Join(env.profiles, name+".pprof"), []byte(content), 0o600); err != nil {
		return fmt.Errorf("keep profile: %w", err)
	}
	return nil
}

// transport matches functions that carry bytes between akd and the API servers,
// and turn them into objects.
var transport = regexp.MustCompile(
	`net/http|http2|crypto/|encoding/json|protobuf|serializer|compress/|client-go/rest|client-go/gentype|Unmarshal`)

// ownShare is the share of samples in akd's code, without the functions that it
// calls to send and receive.
func ownShare(content string) (float64, error) {
	p, err := profile.Parse(strings.NewReader(content))
	if err != nil {
		return 0, fmt.Errorf("read akd's profile: %w", err)
	}
	var own, all int64
	for _, sample := range p.Sample {
		used := sample.Value[len(sample.Value)-1] // nanoseconds
		all += used
		if isOwn(sample) {
			own += used
		}
	}
	if all == 0 {
		return 0, nil
	}
	return float64(own) / float64(all), nil
}

func isOwn(sample *profile.Sample) bool {
	within := false
	for _, location := range sample.Location {
		for _, line := range location.Line {
			if transport.MatchString(line.Function.Name) {
				return false
			}
			within = within || strings.Contains(line.Function.Name, "actual-kubelets")
		}
	}
	return within
}
