package build

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// compile makes the recipe's files in out; work is for what that takes.
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
	args := append([]string{"build", "-mod=mod"}, r.flags()...)
	if err := b.goCommand(ctx, r, module, slices.Concat(args, []string{"-o", filepath.Join(out, r.files[0]), "."})); err != nil {
		return err
	}
	for _, path := range r.packages {
		if err := b.goCommand(ctx, r, module, slices.Concat(args, []string{"-o", out, path})); err != nil {
			return err
		}
	}
	return r.complete(origin, out)
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
	for name, content := range r.main {
		files[name] = content
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			return "", fmt.Errorf("build %s: %w", r.name, err)
		}
	}
	return origin, nil
}

// downloaded is what go mod download -json tells.
type downloaded struct{ Dir, GoMod, Error string }

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

// replacements are lines of a go.mod. Kubernetes' own requires its staging
// modules at v0.0.0, which only replacements in the main module can resolve.
// https://github.com/kubernetes/kubernetes/issues/79384
func (b *Builder) replacements(ctx context.Context, r recipe, origin downloaded) (string, error) {
	if r.staging == "" {
		return "", nil
	}
	var parsed struct {
		Require []struct{ Path, Version string }
	}
	if err := b.goJSON(ctx, r, origin.Dir, &parsed, "mod", "edit", "-json", origin.GoMod); err != nil {
		return "", err
	}
	var lines strings.Builder
	for _, required := range parsed.Require {
		if required.Version == "v0.0.0" {
			fmt.Fprintf(&lines, "\nreplace %s => %s %s\n", required.Path, required.Path, r.staging)
		}
	}
	return lines.String(), nil
}

// goJSON reads what a go command prints, which it does also when it fails.
func (b *Builder) goJSON(ctx context.Context, r recipe, dir string, into any, args ...string) error {
	cmd := b.command(ctx, r, dir, "go", args)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if json.Unmarshal(stdout.Bytes(), into) == nil && stdout.Len() > 0 {
		return err
	}
	return explain(r.name, &commandError{command: "go " + strings.Join(args, " "), output: stderr.String(), err: err})
}

func (b *Builder) goCommand(ctx context.Context, r recipe, dir string, args []string, env ...string) error {
	return b.run(ctx, r, b.command(ctx, r, dir, "go", args, env...))
}

func (b *Builder) compileC(ctx context.Context, r recipe, work, out string) error {
	file := filepath.Join(work, r.files[0]+".c")
	if err := os.WriteFile(file, []byte(r.c), 0o600); err != nil {
		return fmt.Errorf("build %s: %w", r.name, err)
	}
	args := []string{"-Os", "-static", "-s", "-o", filepath.Join(out, r.files[0]), file}
	return b.run(ctx, r, b.command(ctx, r, work, "gcc", args))
}

// command prepares a command. What the caller set for programs of their own,
// such as -race, -mod=vendor or another GOOS, is not for these.
func (b *Builder) command(ctx context.Context, r recipe, dir, name string, args []string, env ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cgo := "CGO_ENABLED=0"
	if r.cgo {
		cgo = "CGO_ENABLED=1"
	}
	cmd.Env = slices.Concat(b.environ(), []string{
		cgo, "GOFLAGS=-buildvcs=false", "GOWORK=off", "GO111MODULE=on", "GOOS=" + runtime.GOOS, "GOARCH=" + runtime.GOARCH, "PWD=" + dir,
	}, env)
	// The go command ends its compilers when it is interrupted.
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
