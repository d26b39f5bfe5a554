package build

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Builder builds programs into a cache and finds them there. Its zero value
// works.
type Builder struct {
	// Cache is the folder of built programs (default DefaultCache).
	Cache string
	// Env is the environment of the go command (default this process's).
	Env []string
	// Now is the clock (default time.Now).
	Now func() time.Time
	// Report is called with the progress, from one goroutine at a time; it may be
	// nil.
	Report func(Progress)
}

// Progress is that of a build.
type Progress struct {
	Name    string        // of the recipe
	I, N    int           // the I-th of the N that the cache lacks
	Elapsed time.Duration // since its beginning; 0 at its beginning
	Done    bool
}

// DefaultCache is a folder in the user's cache folder.
func DefaultCache() (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return "", &Error{"find a folder for the cache of programs: set XDG_CACHE_HOME to one", err}
	}
	return filepath.Join(base, "actual-kubelets"), nil
}

// Programs returns the file of each program by its name, and builds those that
// the cache lacks: Kubernetes of that version, etcd, and either the programs of a
// real node or, for simulated nodes, kwok. Files that are not programs have the
// names of this package's constants.
//
// An error is a *VersionError if there is no such version, and an *Error if the
// machine lacks something; both say what to do.
func (b *Builder) Programs(ctx context.Context, version string, simulated bool) (map[string]string, error) {
	if err := CheckVersion(version); err != nil {
		return nil, err
	}
	recipes := []recipe{kubernetes(version), etcd()}
	if simulated {
		recipes = append(recipes, kwok())
	} else {
		recipes = append(recipes, nodeRecipes()...)
	}
	return b.ensure(ctx, recipes)
}

// Sidecars returns, as Programs does, the files of the programs that call a storage
// driver for a cluster.
func (b *Builder) Sidecars(ctx context.Context) (map[string]string, error) {
	return b.ensure(ctx, sidecars())
}

// Tests returns, as Programs does, the files of Kubernetes' own end-to-end tests
// of that version, of their runner, and of the kubectl that they call.
func (b *Builder) Tests(ctx context.Context, version string) (map[string]string, error) {
	if err := CheckVersion(version); err != nil {
		return nil, err
	}
	return b.ensure(ctx, []recipe{kubernetes(version), kubernetesTests(version)})
}

// LocalPath returns, as Programs does, the file of rancher/local-path-provisioner.
func (b *Builder) LocalPath(ctx context.Context) (string, error) {
	r := localPath()
	files, err := b.ensure(ctx, []recipe{r})
	return files[r.files[0]], err
}

func (b *Builder) ensure(ctx context.Context, recipes []recipe) (map[string]string, error) {
	cache, err := b.cache()
	if err != nil {
		return nil, err
	}
	files := map[string]string{}
	var missing []recipe
	for _, r := range recipes {
		dir := r.dir(cache)
		if !r.built(dir) {
			missing = append(missing, r)
		}
		for _, name := range r.names() {
			files[name] = filepath.Join(dir, name)
		}
	}
	if len(missing) == 0 {
		return files, nil
	}
	if err := b.ready(ctx, cache, missing); err != nil {
		return nil, err
	}
	for i, r := range missing {
		if err := b.build(ctx, r, r.dir(cache), Progress{Name: r.name, I: i + 1, N: len(missing)}); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// cache returns the folder of built programs, which exists.
func (b *Builder) cache() (string, error) {
	cache := b.Cache
	if cache == "" {
		var err error
		if cache, err = DefaultCache(); err != nil {
			return "", err
		}
	}
	cache = filepath.Join(cache, "bin")
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", &Error{"make the cache folder: set XDG_CACHE_HOME to another one", err}
	}
	return cache, nil
}

// dir is the folder of the recipe's files. The hash covers the whole recipe, so
// that a changed recipe has another folder.
func (r recipe) dir(cache string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%s %+v", runtime.GOOS, runtime.GOARCH, r))
	return filepath.Join(cache, r.name+"-"+hex.EncodeToString(sum[:4]))
}

// names are of all files and links that the recipe makes.
func (r recipe) names() []string { return slices.Concat(r.files, r.links) }

// built reports whether dir has all files. A folder appears whole, but a user who
// frees space may delete single files.
func (r recipe) built(dir string) bool {
	for _, name := range r.names() {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return false
		}
	}
	return true
}

// build makes dir, while other callers wait.
func (b *Builder) build(ctx context.Context, r recipe, dir string, progress Progress) error {
	end := b.report(progress, "")
	waiting := func() {
		end()
		end = b.report(progress, ", which another caller builds")
	}
	defer func() { end() }()
	unlock, err := lock(ctx, dir+".lock", waiting)
	if err != nil {
		return err
	}
	defer unlock()
	if r.built(dir) {
		return nil // another caller built it meanwhile
	}
	work, err := workFolder(dir)
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(work) }()
	out := filepath.Join(work, "out")
	if err := os.Mkdir(out, 0o755); err != nil {
		return fmt.Errorf("build %s: %w", r.name, err)
	}
	if err := b.compile(ctx, r, work, out); err != nil {
		return err
	}
	if !r.built(out) {
		return fmt.Errorf("build %s: not all of %s were made", r.name, strings.Join(r.names(), ", "))
	}
	if err := os.Rename(out, dir); err != nil {
		return fmt.Errorf("keep %s: %w", r.name, err)
	}
	return nil
}

// workFolder makes a folder on the same disk to build dir in, and removes the
// remains of interrupted builds. A go command that outlived its caller may still
// write to an old one, hence a new name each time.
func workFolder(dir string) (string, error) {
	left, err := filepath.Glob(dir + ".work-*")
	if err != nil {
		return "", fmt.Errorf("find interrupted builds: %w", err)
	}
	for _, path := range append(left, dir) {
		if err := os.RemoveAll(path); err != nil {
			return "", fmt.Errorf("remove an interrupted build: %w", err)
		}
	}
	work, err := os.MkdirTemp(filepath.Dir(dir), filepath.Base(dir)+".work-")
	if err != nil {
		return "", fmt.Errorf("make a folder to build in: %w", err)
	}
	return work, nil
}

// report reports the progress now, every second, and at the end.
func (b *Builder) report(progress Progress, suffix string) (end func()) {
	if b.Report == nil {
		return func() {}
	}
	progress.Name += suffix
	began := b.now()
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
				progress.Elapsed = b.now().Sub(began)
				b.Report(progress)
			}
		}
	}()
	return func() {
		close(done)
		<-ended
		progress.Elapsed, progress.Done = b.now().Sub(began), true
		b.Report(progress)
	}
}

func (b *Builder) now() time.Time {
	if b.Now == nil {
		return time.Now()
	}
	return b.Now()
}

func (b *Builder) environ() []string {
	if b.Env == nil {
		return os.Environ()
	}
	return b.Env
}
