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

// profiled is what akd's CPU profile of a run says.
type profiled struct {
	// own is the share of akd's CPU time that is neither transport nor encoding
	// nor client-go's and Go's own upkeep: translation, decisions and queues.
	own float64
}

// profile profiles akd for the next seconds, and keeps the profile and one of
// the heap where the user wants them. The returned function waits for them.
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
		a.err = errors.Join(err, d.bed.keepProfile(name+"-cpu", cpu), d.keepHeap(ctx, name))
		done <- a
	}()
	return func() (profiled, error) {
		a := <-done
		return a.profiled, a.err
	}
}

// keepHeap writes down what akd's heap holds, if the user wants profiles.
func (d *daemon) keepHeap(ctx context.Context, name string) error {
	if d.bed.profiles == "" {
		return nil
	}
	heap, err := d.get(ctx, "/debug/pprof/heap?gc=1")
	return errors.Join(err, d.bed.keepProfile(name+"-heap", heap))
}

// profileServers profiles both API servers for the next seconds, if the user
// wants profiles: they are what most of the time goes to. The returned function
// waits for them.
func (b *bed) profileServers(ctx context.Context, name string, length time.Duration) (wait func() error) {
	if b.profiles == "" {
		return func() error { return nil }
	}
	group, ctx := errgroup.WithContext(ctx)
	for s, client := range b.clients {
		group.Go(func() error {
			cpu, err := client.RESTClient().Get().AbsPath("/debug/pprof/profile").
				Param("seconds", strconv.Itoa(int(length.Seconds()))).DoRaw(ctx)
			if err != nil {
				return fmt.Errorf("profile the %s API server: %w", s, err)
			}
			return b.keepProfile(fmt.Sprintf("%s-%s-kube-apiserver", name, s), string(cpu))
		})
	}
	return group.Wait
}

func (b *bed) keepProfile(name, content string) error {
	if b.profiles == "" {
		return nil
	}
	if err := os.MkdirAll(b.profiles, 0o755); err != nil {
		return fmt.Errorf("folder for profiles: %w", err)
	}
	if err := os.WriteFile(filepath.Join(b.profiles, name+".pprof"), []byte(content), 0o600); err != nil {
		return fmt.Errorf("keep profile: %w", err)
	}
	return nil
}

// carried are functions of what carries bytes between akd and the API servers,
// and turns them into objects.
var carried = regexp.MustCompile(`net/http|http2|crypto/|encoding/json|protobuf|serializer|compress/|client-go/rest|client-go/gentype|Unmarshal`)

// ownShare is the share of samples within akd's code, and not in what it calls
// to send and receive.
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
			if carried.MatchString(line.Function.Name) {
				return false
			}
			within = within || strings.Contains(line.Function.Name, "actual-kubelets")
		}
	}
	return within
}
