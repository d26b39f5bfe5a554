package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/actual-kubelets/actual-kubelets/test/clusters/internal/build"
	"github.com/actual-kubelets/actual-kubelets/test/clusters/internal/images"
	"github.com/actual-kubelets/actual-kubelets/test/clusters/internal/lab"
)

// toolchain builds the programs and images of the clusters, and shows the progress.
type toolchain struct {
	builder  *build.Builder
	progress *progress
}

func newToolchain(p *progress) *toolchain {
	return &toolchain{progress: p, builder: &build.Builder{Report: func(step build.Progress) {
		text := fmt.Sprintf("building %s (%d of %d), %s", step.Name, step.I, step.N, step.Elapsed.Round(time.Second))
		if step.Elapsed > 0 && !step.Done {
			p.update(text)
			return
		}
		p.step("%s", text)
	}}}
}

// Programs implements lab.Toolchain.
func (t *toolchain) Programs(ctx context.Context, version string, simulated bool) (map[string]string, error) {
	if !simulated {
		if err := t.builder.Packages(ctx); err != nil {
			return nil, err
		}
	}
	return t.builder.Programs(ctx, version, simulated)
}

// Sidecars implements lab.Toolchain.
func (t *toolchain) Sidecars(ctx context.Context) (map[string]string, error) {
	return t.builder.Sidecars(ctx)
}

// Images implements lab.Toolchain.
func (t *toolchain) Images(ctx context.Context, programs map[string]string) (lab.Images, error) {
	cache, err := build.DefaultCache()
	if err != nil {
		return lab.Images{}, err
	}
	t.progress.step("making images")
	set, err := images.Ensure(ctx, cache, programs)
	if err != nil {
		return lab.Images{}, err
	}
	return lab.Images{
		Archives: set.Archives,
		Pause:    images.PauseName,
		CoreDNS:  images.CoreDNSName,
		Busybox:  images.BusyboxName,
	}, nil
}

// LocalPath implements lab.Toolchain.
func (t *toolchain) LocalPath(ctx context.Context) (string, error) { return t.builder.LocalPath(ctx) }
