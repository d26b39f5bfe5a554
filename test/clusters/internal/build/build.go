package build

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// neededBytes is what a cold build of one version takes in the cache and in
// Go's own caches, rounded up.
const neededBytes = 12 << 30

// Builder builds programs into a cache and finds them there.
type Builder struct {
	// Cache is the folder for what was built; DefaultCache unless set.
	Cache string
	// Report is told what is being built; it may be nil.
	Report func(Progress)
}

// Progress is how far building has come.
type Progress struct {
	Name    string // what is being built
	I, N    int    // the i-th of n
	Elapsed time.Duration
	Done    bool
}

// Error says in one sentence what keeps a program from being built and what to
// do about it.
type Error struct {
	What string
	Err  error
}

// Error implements error.
func (e *Error) Error() string {
	if e.Err == nil {
		return e.What
	}
	return fmt.Sprintf("%s: %v", e.What, e.Err)
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// DefaultCache is a folder in the user's cache folder.
func DefaultCache() (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return "", &Error{"find a folder for the cache of programs: set XDG_CACHE_HOME", err}
	}
	return filepath.Join(base, "actual-kubelets"), nil
}

// Programs returns the file of each program by its name, and builds what the
// cache lacks: Kubernetes of that version with etcd, and either what a real
// node runs or, for simulated nodes, kwok.
func (b *Builder) Programs(ctx context.Context, version string, simulated bool) (map[string]string, error) {
	if err := CheckVersion(version); err != nil {
		return nil, err
	}
	recipes := []recipe{etcd(), kubernetes(version)}
	if simulated {
		recipes = append(recipes, kwok())
	} else {
		recipes = append(recipes, nodeRecipes()...)
	}
	return b.ensure(ctx, recipes)
}

func (b *Builder) ensure(ctx context.Context, recipes []recipe) (map[string]string, error) {
	files := map[string]string{}
	for i, r := range recipes {
		dir, err := b.dir(r)
		if err != nil {
			return nil, err
		}
		if !built(dir) {
			if err := b.build(ctx, r, dir, Progress{Name: r.name, I: i + 1, N: len(recipes)}); err != nil {
				return nil, err
			}
		}
		for _, binary := range r.binaries {
			files[binary] = filepath.Join(dir, binary)
		}
	}
	return files, nil
}

// dir is where a recipe's binaries are kept. The hash makes a changed recipe
// another one.
func (b *Builder) dir(r recipe) (string, error) {
	cache := b.Cache
	if cache == "" {
		var err error
		if cache, err = DefaultCache(); err != nil {
			return "", err
		}
	}
	sum := sha256.Sum256([]byte(fmt.Sprintf("%+v", r)))
	return filepath.Join(cache, "bin", r.name+"-"+hex.EncodeToString(sum[:4])), nil
}

func built(dir string) bool {
	info, err := os.Stat(dir)
	return err == nil && info.IsDir()
}

// build makes dir, alone among all who want to.
func (b *Builder) build(ctx context.Context, r recipe, dir string, progress Progress) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return &Error{"make the cache folder: choose another with XDG_CACHE_HOME", err}
	}
	unlock, err := lock(ctx, dir+".lock")
	if err != nil {
		return &Error{"lock the cache", err}
	}
	defer unlock()
	if built(dir) {
		return nil // by another caller, while we waited
	}
	if err := b.ready(r, filepath.Dir(dir)); err != nil {
		return err
	}
	defer b.report(progress)()
	// An interrupted build's folder is of no use to anyone.
	work := dir + ".work"
	if err := os.RemoveAll(work); err != nil {
		return &Error{"remove an interrupted build", err}
	}
	defer func() { _ = os.RemoveAll(work) }()
	out := filepath.Join(work, "out")
	if err := os.MkdirAll(out, 0o755); err != nil {
		return &Error{"make a folder to build in", err}
	}
	if err := r.compile(ctx, work, out); err != nil {
		return err
	}
	for _, binary := range r.binaries {
		if _, err := os.Stat(filepath.Join(out, binary)); err != nil {
			return &Error{"build " + r.name, err}
		}
	}
	if err := os.Rename(out, dir); err != nil {
		return &Error{"move " + r.name + " into the cache", err}
	}
	return nil
}

// report tells the progress now, every few seconds, and at the end.
func (b *Builder) report(progress Progress) func() {
	if b.Report == nil {
		return func() {}
	}
	began := time.Now()
	done, ended := make(chan struct{}), make(chan struct{})
	b.Report(progress)
	go func() {
		defer close(ended)
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				progress.Elapsed = time.Since(began)
				b.Report(progress)
			}
		}
	}()
	return func() {
		close(done)
		<-ended
		progress.Elapsed, progress.Done = time.Since(began), true
		b.Report(progress)
	}
}

// ready checks what would otherwise fail minutes later.
func (b *Builder) ready(r recipe, cache string) error {
	if _, err := exec.LookPath("go"); err != nil {
		return &Error{"build " + r.name + ": install Go 1.26 or later and put it on PATH", err}
	}
	if _, err := exec.LookPath("gcc"); r.cgo && err != nil {
		return &Error{"build " + r.name + ": install gcc, libseccomp-dev and pkg-config", err}
	}
	var disk unix.Statfs_t
	if err := unix.Statfs(cache, &disk); err != nil {
		return &Error{"look at the disk of the cache", err}
	}
	if free := disk.Bavail * uint64(disk.Bsize); r.kubernetes != "" && free < neededBytes { //nolint:gosec // a block size is positive
		return &Error{What: fmt.Sprintf("build %s: %s has %d MiB free, and about %d MiB are needed: free some, or set XDG_CACHE_HOME and GOCACHE to another disk",
			r.name, cache, free>>20, uint64(neededBytes)>>20)}
	}
	return nil
}

// compile builds the recipe's binaries into out.
func (r recipe) compile(ctx context.Context, work, out string) error {
	flags := []string{"-trimpath", "-ldflags=-s -w " + r.ldflags, "-tags=" + r.tags}
	if len(r.install) > 0 {
		return r.run(ctx, work, append(append([]string{"install"}, flags...), r.install...), "GOBIN="+out)
	}
	if err := os.WriteFile(filepath.Join(work, "go.mod"), []byte("module clusters.test/build\n\ngo 1.26\n"), 0o600); err != nil {
		return &Error{"write the module of " + r.name, err}
	}
	if r.kubernetes != "" {
		if err := r.requireKubernetes(ctx, work); err != nil {
			return err
		}
		return r.run(ctx, work, append(append([]string{"build", "-mod=mod", "-o", out}, flags...), r.packages...))
	}
	if err := os.WriteFile(filepath.Join(work, "main.go"), []byte(r.source), 0o600); err != nil {
		return &Error{"write the module of " + r.name, err}
	}
	if r.require != "" {
		if err := r.run(ctx, work, []string{"get", r.require}); err != nil {
			return err
		}
	}
	args := append([]string{"build", "-mod=mod", "-o", filepath.Join(out, r.binaries[0])}, flags...)
	return r.run(ctx, work, append(args, "."))
}

// requireKubernetes writes a go.mod that depends on k8s.io/kubernetes. Its own
// go.mod requires the staging modules at v0.0.0, which only replacements in
// the main module can resolve.
// https://github.com/kubernetes/kubernetes/issues/79384
func (r recipe) requireKubernetes(ctx context.Context, work string) error {
	module := "k8s.io/kubernetes@v" + r.kubernetes
	var downloaded struct{ GoMod, Error string }
	if err := r.json(ctx, work, &downloaded, "mod", "download", "-json", module); err != nil || downloaded.Error != "" {
		return &Error{fmt.Sprintf("download %s: %s: does this release exist, and is the Go module proxy reachable?", module, downloaded.Error), err}
	}
	var parsed struct {
		Require []struct{ Path, Version string }
	}
	if err := r.json(ctx, work, &parsed, "mod", "edit", "-json", downloaded.GoMod); err != nil {
		return err
	}
	var file strings.Builder
	fmt.Fprintf(&file, "module clusters.test/build\n\ngo 1.26\n\nrequire k8s.io/kubernetes v%s\n\n", r.kubernetes)
	staging := "v0." + strings.TrimPrefix(r.kubernetes, "1.")
	for _, required := range parsed.Require {
		if required.Version == "v0.0.0" {
			fmt.Fprintf(&file, "replace %s => %s %s\n", required.Path, required.Path, staging)
		}
	}
	if err := os.WriteFile(filepath.Join(work, "go.mod"), []byte(file.String()), 0o600); err != nil {
		return &Error{"write the module of " + r.name, err}
	}
	// With the packages imported, tidy finds the sums of all they need.
	var imports strings.Builder
	imports.WriteString("//go:build never\n\npackage build\n\nimport (\n")
	for _, path := range r.packages {
		fmt.Fprintf(&imports, "\t_ %q\n", path)
	}
	imports.WriteString(")\n")
	if err := os.WriteFile(filepath.Join(work, "imports.go"), []byte(imports.String()), 0o600); err != nil {
		return &Error{"write the module of " + r.name, err}
	}
	return r.run(ctx, work, []string{"mod", "tidy", "-e"})
}

func (r recipe) json(ctx context.Context, work string, into any, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = work
	out, err := cmd.Output()
	if jsonErr := json.Unmarshal(out, into); jsonErr != nil {
		return &Error{"go " + strings.Join(args, " "), errors.Join(err, jsonErr)}
	}
	return err
}

func (r recipe) run(ctx context.Context, work string, args []string, env ...string) error {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = work
	cgo := "CGO_ENABLED=0"
	if r.cgo {
		cgo = "CGO_ENABLED=1"
	}
	// GOFLAGS of the caller, such as -race or -mod=vendor, are not for these.
	cmd.Env = append(os.Environ(), append(env, cgo, "GOFLAGS=-buildvcs=false", "GOWORK=off")...)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return &Error{fmt.Sprintf("build %s (go %s):\n%s", r.name, args[0], lastLines(output.String(), 12)), err}
	}
	return nil
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// lock takes the file's lock, which ends with the process that holds it.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB) //nolint:gosec // a descriptor fits
		if err == nil {
			return func() { _ = file.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			_ = file.Close()
			return nil, err
		}
		select {
		case <-ctx.Done():
			_ = file.Close()
			return nil, ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// Packages are Debian's packages that programs are built with or run beside.
var packages = []string{ //nolint:gochecknoglobals // a constant list
	"busybox-static", "ca-certificates", "conntrack", "curl", "ethtool", "gcc", "iproute2", "iptables", "libc6-dev",
	"libseccomp-dev", "mount", "pkg-config", "socat", "util-linux",
}

// Packages installs the Debian packages that the clusters need and that are
// missing. Without the right to, the error names them.
func (b *Builder) Packages(ctx context.Context) error {
	missing := missingPackages(ctx)
	if len(missing) == 0 {
		return nil
	}
	names := strings.Join(missing, " ")
	if os.Geteuid() != 0 {
		return &Error{What: "the clusters need Debian packages that are not installed: run as root: apt-get install " + names}
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		return &Error{"install these packages with your system's package manager: " + names, err}
	}
	defer b.report(Progress{Name: "packages " + names, I: 1, N: 1})()
	install := append([]string{"install", "-y", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300"}, missing...)
	if apt(ctx, install) == nil {
		return nil
	}
	// A fresh machine has no lists yet, an old one has stale ones.
	if err := apt(ctx, []string{"update", "-o", "DPkg::Lock::Timeout=300"}); err != nil {
		return &Error{"apt-get update, to install " + names, err}
	}
	if err := apt(ctx, install); err != nil {
		return &Error{"apt-get install " + names, err}
	}
	return nil
}

func missingPackages(ctx context.Context) []string {
	var missing []string
	for _, name := range packages {
		out, err := exec.CommandContext(ctx, "dpkg-query", "-W", "-f", "${db:Status-Status}", name).Output()
		if err != nil || string(out) != "installed" {
			missing = append(missing, name)
		}
	}
	slices.Sort(missing)
	return missing
}

func apt(ctx context.Context, args []string) error {
	cmd := exec.CommandContext(ctx, "apt-get", args...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%w: %s", err, lastLines(output.String(), 4))
	}
	return nil
}
