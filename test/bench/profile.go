package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/google/pprof/profile"
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
		a.err = errors.Join(err, d.keep(ctx, name, cpu))
		done <- a
	}()
	return func() (profiled, error) {
		a := <-done
		return a.profiled, a.err
	}
}

// keep writes the profiles down, if the user wants them.
func (d *daemon) keep(ctx context.Context, name, cpu string) error {
	if d.bed.profiles == "" {
		return nil
	}
	heap, err := d.get(ctx, "/debug/pprof/heap")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(d.bed.profiles, 0o755); err != nil {
		return fmt.Errorf("folder for profiles: %w", err)
	}
	for kind, content := range map[string]string{"cpu": cpu, "heap": heap} {
		if err := os.WriteFile(filepath.Join(d.bed.profiles, name+"-"+kind+".pprof"), []byte(content), 0o600); err != nil {
			return fmt.Errorf("keep profile: %w", err)
		}
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
