package build

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// compile makes the recipe's files in out, with work for intermediate files.
func (b *Builder) compile(ctx context.Context, r recipe, work, out string) error {
	switch {
	case r.c != "":
		return b.compileC(ctx, r, work, out)
	case len(r.install) > 0:
		return b.goCommand(ctx, r, work, slices.Concat([]string{"install"}, r.flags(), r.install), "GOBIN="+out)
	}
	module := filepath.Join(work, "module")
	if err := os.Mkdir(module, 0o755); err != nil {
		return fmt.Errorf("build %s: %w", r.name, err)
	}
	origin, err := b.writeModule(ctx, r, module)
	if err != nil {
		return err
	}
	// -mod=mod adds the sums, checked against the checksum database, of what is
	// replaced; all others are those that the module itself pins.
	for _, args := range r.goBuilds(out) {
		if err := b.goCommand(ctx, r, module, args); err != nil {
			return err
		}
	}
	return r.complete(origin, out)
}

// goBuilds are the go commands, run in the generated module, that put the
// recipe's programs into out.
func (r recipe) goBuilds(out string) [][]string {
	flags := append([]string{"-mod=mod"}, r.flags()...)
	var all [][]string
	if len(r.main) > 0 {
		all = append(all, slices.Concat([]string{"build"}, flags, []string{"-o", filepath.Join(out, r.files[0]), "."}))
	}
	for _, name := range r.packages {
		verb := []string{"build"}
		tested, tests := strings.CutSuffix(name, ".test")
		if tests {
			// Vetting every package again takes as long as compiling it.
			verb = []string{"test", "-c", "-vet=off"}
		}
		all = append(all, slices.Concat(verb, flags, []string{"-o", filepath.Join(out, path.Base(name)), tested}))
	}
	return all
}

func (r recipe) flags() []string {
	return []string{"-trimpath", "-ldflags=" + strings.TrimSpace("-s -w "+r.ldflags), "-tags=" + r.tags}
}

// complete adds the files that are not compiled; origin is the module's folder.
func (r recipe) complete(origin, out string) error {
	for _, link := range r.links {
		if err := os.Symlink(r.files[0], filepath.Join(out, link)); err != nil {
			return fmt.Errorf("build %s: %w", r.name, err)
		}
	}
	for name, path := range r.copies {
		content, err := os.ReadFile(filepath.Join(origin, path))
		if err != nil {
			return fmt.Errorf("build %s: %w", r.name, err)
		}
		if err := os.WriteFile(filepath.Join(out, name), content, 0o644); err != nil { //nolint:gosec // the world's test files
			return fmt.Errorf("build %s: %w", r.name, err)
		}
	}
	return nil
}

// writeModule writes a module that builds the recipe's programs, and returns
// the folder of the module that they come from.
func (b *Builder) writeModule(ctx context.Context, r recipe, dir string) (origin string, err error) {
	file := "module clusters.invalid/build\n\ngo 1.26.0\n"
	sums := []byte{}
	if r.module != "" {
		downloaded, err := b.download(ctx, r, dir)
		if err != nil {
			return "", err
		}
		origin = downloaded.Dir
		replacements, err := b.replacements(ctx, r, downloaded)
		if err != nil {
			return "", err
		}
		file += "\nrequire " + strings.Replace(r.module, "@", " ", 1) + "\n" + replacements
		if sums, err = os.ReadFile(filepath.Join(origin, "go.sum")); err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", fmt.Errorf("build %s: %w", r.name, err)
		}
	}
	files := map[string]string{"go.mod": file, "go.sum": string(sums)}
	maps.Copy(files, r.main)
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			return "", fmt.Errorf("build %s: %w", r.name, err)
		}
	}
	return origin, nil
}

// downloaded is the output of go mod download -json.
type downloaded struct{ Path, Dir, GoMod, Error string }

func (b *Builder) download(ctx context.Context, r recipe, dir string) (downloaded, error) {
	var result downloaded
	err := b.goJSON(ctx, r, dir, &result, "mod", "download", "-json", r.module)
	if saysUnknown.MatchString(result.Error) && r.staging != "" {
		_, version, _ := strings.Cut(r.module, "@v")
		return result, &VersionError{Version: version, Err: errors.New(lastLines(result.Error, 2))}
	}
	if result.Error != "" {
		return result, explain(r.name, &commandError{command: "go mod download", output: result.Error, err: err})
	}
	return result, err
}

// replacements are lines of a go.mod: those of the module's own that name a version,
// which count in the main module only.
//
// Kubernetes' own requires its staging modules at v0.0.0 and replaces them by
// folders, for which others have to give versions.
// https://github.com/kubernetes/kubernetes/issues/79384
func (b *Builder) replacements(ctx context.Context, r recipe, origin downloaded) (string, error) {
	var parsed struct {
		Require []struct{ Path, Version string }
		Replace []struct {
			Old, New struct{ Path, Version string }
		}
	}
	if err := b.goJSON(ctx, r, origin.Dir, &parsed, "mod", "edit", "-json", origin.GoMod); err != nil {
		return "", err
	}
	if r.staging == "" {
		var lines strings.Builder
		for _, replaced := range parsed.Replace {
			if replaced.New.Version != "" {
				fmt.Fprintf(&lines, "\nreplace %s => %s %s\n",
					strings.TrimSpace(replaced.Old.Path+" "+replaced.Old.Version), replaced.New.Path, replaced.New.Version)
			}
		}
		return lines.String(), nil
	}
	var paths []string
	for _, required := range parsed.Require {
		if required.Version == "v0.0.0" {
			paths = append(paths, required.Path)
		}
	}
	versions, err := b.stagingVersions(ctx, r, origin.Dir, paths)
	if err != nil {
		return "", err
	}
	var lines strings.Builder
	for _, path := range paths {
		fmt.Fprintf(&lines, "\nreplace %s => %s %s\n", path, path, versions[path])
	}
	return lines.String(), nil
}

// stagingVersions chooses the recipe's own version of each staging module. If the
// proxy or the checksum database lacks it, it takes the release before, and so
// on: patch releases of a module rarely differ. A module without any release
// fails only if it is compiled.
func (b *Builder) stagingVersions(ctx context.Context, r recipe, dir string, paths []string) (map[string]string, error) {
	versions := map[string]string{}
	for _, path := range paths {
		versions[path] = r.staging
	}
	last := strings.LastIndex(r.staging, ".")
	number, err := strconv.Atoi(r.staging[last+1:])
	if err != nil {
		return nil, fmt.Errorf("build %s: version %s: %w", r.name, r.staging, err)
	}
	for ; len(paths) > 0 && number >= 0; number-- {
		version := r.staging[:last+1] + strconv.Itoa(number)
		lacking, err := b.lacking(ctx, r, dir, version, paths)
		if err != nil {
			return nil, err
		}
		for _, path := range paths {
			if !slices.Contains(lacking, path) {
				versions[path] = version
			}
		}
		paths = lacking
	}
	return versions, nil
}

// lacking returns the modules that are not available at version.
func (b *Builder) lacking(ctx context.Context, r recipe, dir, version string, paths []string) ([]string, error) {
	args := []string{"mod", "download", "-json"}
	for _, path := range paths {
		args = append(args, path+"@"+version)
	}
	stdout, stderr, err := b.goOutput(ctx, r, dir, args)
	var lacking []string
	for decoder := json.NewDecoder(bytes.NewReader(stdout)); ; {
		var result downloaded
		switch decodeErr := decoder.Decode(&result); {
		case errors.Is(decodeErr, io.EOF) && len(stdout) > 0:
			return lacking, nil
		case decodeErr != nil:
			return nil, explain(r.name, &commandError{command: "go mod download", output: stderr, err: errors.Join(err, decodeErr)})
		case saysUnknown.MatchString(result.Error):
			lacking = append(lacking, result.Path)
		case result.Error != "":
			return nil, explain(r.name, &commandError{command: "go mod download", output: result.Error, err: err})
		}
	}
}

// goJSON reads the output of a go command, which it prints even when it fails.
func (b *Builder) goJSON(ctx context.Context, r recipe, dir string, into any, args ...string) error {
	stdout, stderr, err := b.goOutput(ctx, r, dir, args)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if json.Unmarshal(stdout, into) == nil {
		return err
	}
	return explain(r.name, &commandError{command: "go " + strings.Join(args, " "), output: stderr, err: err})
}

func (b *Builder) goOutput(ctx context.Context, r recipe, dir string, args []string) (stdout []byte, stderr string, err error) {
	cmd := b.command(ctx, r, dir, append([]string{"go"}, args...))
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	err = cmd.Run()
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return out.Bytes(), complaints.String(), err
}

func (b *Builder) goCommand(ctx context.Context, r recipe, dir string, args []string, env ...string) error {
	return b.run(ctx, r, b.command(ctx, r, dir, append([]string{"go"}, args...), env...))
}

func (b *Builder) compileC(ctx context.Context, r recipe, work, out string) error {
	file := filepath.Join(work, r.files[0]+".c")
	if err := os.WriteFile(file, []byte(r.c), 0o600); err != nil {
		return fmt.Errorf("build %s: %w", r.name, err)
	}
	argv := []string{"gcc", "-Os", "-static", "-s", "-o", filepath.Join(out, r.files[0]), file}
	return b.run(ctx, r, b.command(ctx, r, work, argv))
}

// command prepares a command. It drops the caller's settings for programs of
// their own, such as -race, -mod=vendor or another GOOS.
func (b *Builder) command(ctx context.Context, r recipe, dir string, argv []string, env ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = dir
	cgo := "CGO_ENABLED=0"
	if r.cgo {
		cgo = "CGO_ENABLED=1"
	}
	cmd.Env = slices.Concat(b.environ(), []string{
		cgo, "GOFLAGS=-buildvcs=false", "GOWORK=off", "GO111MODULE=on", "GOOS=" + runtime.GOOS, "GOARCH=" + runtime.GOARCH, "PWD=" + dir,
	}, env)
	// An interrupted go command stops its compilers.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

func (b *Builder) run(ctx context.Context, r recipe, cmd *exec.Cmd) error {
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	err := cmd.Run()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return explain(r.name, &commandError{command: strings.Join(cmd.Args[:2], " "), output: output.String(), err: err})
	}
	return nil
}
