package lab

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/actual-kubelets/actual-kubelets/test/clusters/internal/cgroup"
	"github.com/actual-kubelets/actual-kubelets/test/clusters/internal/netns"
	"github.com/actual-kubelets/actual-kubelets/test/clusters/internal/process"
)

// Local and Remote name the two clusters.
const (
	Local  = "local"
	Remote = "remote"
)

// SimulatedNotice must be part of every output about simulated nodes.
const SimulatedNotice = "simulated nodes: containers do not really run"

// entries are all that a run puts into its folder. Down removes nothing else.
var entries = [...]string{ //nolint:gochecknoglobals // never written
	"state.json", "run", "logs", Local, Remote,
	"kubeconfig", "local.kubeconfig", "remote.kubeconfig", "akd-local.kubeconfig", "akd-remote.kubeconfig",
}

// Environment holds the dependencies of a Lab.
type Environment struct {
	// Self is this program's file; it holds the trampoline and the forwarders.
	Self string
	Now  func() time.Time
	// Report is called at the beginning of each step.
	Report func(format string, args ...any)
	// Toolchain provides programs and images.
	Toolchain Toolchain
}

// Toolchain provides programs and images, and builds them if necessary.
type Toolchain interface {
	// Programs returns the files of all programs of a Kubernetes version by
	// name. An unknown version is a Mistake.
	Programs(ctx context.Context, version string, simulated bool) (map[string]string, error)
	// Sidecars returns, as Programs does, the programs beside a storage driver.
	Sidecars(ctx context.Context) (map[string]string, error)
	// Images returns the image archives that every node gets, made of programs.
	Images(ctx context.Context, programs map[string]string) (Images, error)
	// LocalPath returns the file of rancher/local-path-provisioner.
	LocalPath(ctx context.Context) (string, error)
}

// Images are the archives for every node, and the names of images in them.
type Images struct {
	Archives                []string
	Pause, CoreDNS, Busybox string
}

// Lab is the run in one folder.
type Lab struct {
	// Dir is the run folder, absolute and without links.
	Dir string
	env Environment
	id  string
}

// New returns the lab of the run folder dir, which need not exist.
func New(dir string, env Environment) (*Lab, error) {
	dir, err := resolve(dir)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(dir))
	return &Lab{Dir: dir, env: env, id: "ak-" + hex.EncodeToString(sum[:4])}, nil
}

// resolve returns the canonical path of a folder, because the names of namespaces
// and control groups derive from it.
func resolve(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	rest := ""
	for parent := dir; ; parent = filepath.Dir(parent) {
		resolved, err := filepath.EvalSymlinks(parent)
		if err == nil {
			return filepath.Join(resolved, rest), nil
		}
		if !errors.Is(err, fs.ErrNotExist) || parent == filepath.Dir(parent) {
			return "", mistakef("cannot use run folder %s: %v: choose another --dir", dir, err)
		}
		rest = filepath.Join(filepath.Base(parent), rest)
	}
}

// Possible reports whether this user on this machine can run real nodes.
func Possible() bool { return runtime.GOOS == "linux" && os.Geteuid() == 0 }

func (l *Lab) path(parts ...string) string {
	return filepath.Join(append([]string{l.Dir}, parts...)...)
}

func (l *Lab) table() process.Table {
	return process.Table{Self: l.env.Self, Records: l.path("run"), Logs: l.path("logs"), Identity: l.id}
}

func (l *Lab) group() cgroup.Group { return cgroup.Group{Root: "/sys/fs/cgroup", Name: l.id} }

func (l *Lab) namespace(cluster string) string { return l.id + "-" + cluster }

func (l *Lab) namespacePath(cluster string) string { return netns.Path(l.namespace(cluster)) }

// Kubeconfig returns the path of a kubeconfig of the run by its name: kubeconfig
// (both contexts), local, remote, akd-local, akd-remote.
func (l *Lab) Kubeconfig(name string) string {
	if name == "kubeconfig" {
		return l.path(name)
	}
	return l.path(name + ".kubeconfig")
}

// poll calls condition until it is done or ctx ends. The condition's error says
// why it is not done yet, and becomes part of poll's own; only a ComponentError
// ends the wait at once.
func poll(ctx context.Context, what string, condition func(context.Context) (bool, error)) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		done, err := condition(ctx)
		if done {
			return nil
		}
		if _, ok := errors.AsType[*ComponentError](err); ok {
			return err
		}
		select {
		case <-ctx.Done():
			if err != nil {
				return fmt.Errorf("wait for %s: %w: last: %w", what, context.Cause(ctx), err)
			}
			return fmt.Errorf("wait for %s: %w", what, context.Cause(ctx))
		case <-tick.C:
		}
	}
}
