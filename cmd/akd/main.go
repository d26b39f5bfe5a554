// Command akd serves one node of the local cluster with the kubelets of the remote
// cluster. See docs/configuration.md for its flags and its configuration file.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/pflag"
	"k8s.io/klog/v2"

	"github.com/actual-kubelets/actual-kubelets/pkg/provider"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/config"
)

// Exit codes of akd.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// version is set by the linker; see the Makefile.
var version string

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 && args[0] == "approve" {
		return runApprove(ctx, args[1:], stdout, stderr)
	}
	flags := pflag.NewFlagSet("akd", pflag.ContinueOnError)
	flags.SetOutput(io.Discard)
	bound := config.BindFlags(flags)
	showVersion := flags.Bool("version", false, "Print the version and exit")
	switch err := flags.Parse(args); {
	case errors.Is(err, pflag.ErrHelp):
		printHelp(stdout, flags)
		return exitOK
	case err != nil:
		return fail(stderr, &provider.UsageError{Err: fmt.Errorf("%w: see akd --help", err)})
	case flags.NArg() > 0:
		return fail(stderr, &provider.UsageError{Err: fmt.Errorf("unexpected argument %q: akd accepts flags only, see akd --help", flags.Arg(0))})
	case *showVersion:
		_, _ = fmt.Fprintln(stdout, "akd", currentVersion())
		return exitOK
	}
	cfg, err := bound.Load()
	if err != nil {
		return fail(stderr, err)
	}
	logger := newLogger(cfg.Logging, stderr)
	// client-go logs through klog, which would use another format.
	klog.SetSlogLogger(logger)
	return fail(stderr, provider.Run(ctx, cfg, provider.Build{Version: currentVersion(), Revision: revision()}, logger))
}

func printHelp(out io.Writer, flags *pflag.FlagSet) {
	_, _ = fmt.Fprintf(out, `Join the local cluster as a virtual node, and run the pods of the node in the
remote cluster.

Usage:
  akd --node-name NAME --local-kubeconfig FILE --remote-kubeconfig FILE [flags]
  akd --config FILE [flags]
  akd approve --node-name NAME [flags]    approve the node's requests for certificates

Examples:
  # Serve the node vk-ak-example, with a kubeconfig for each cluster
  akd --node-name vk-ak-example --local-kubeconfig local.yaml --remote-kubeconfig remote.yaml

  # Read the configuration from a file, but log every step
  akd --config akd.yaml --log-level debug

Flags:
%s
Exit codes:
  0  stopped by a signal
  1  failed
  2  the flags, the file or the clusters are not valid
`, flags.FlagUsages())
}

// fail prints the error, and returns the exit code.
func fail(stderr io.Writer, err error) int {
	if err == nil {
		return exitOK
	}
	_, _ = fmt.Fprintln(stderr, "akd:", err)
	var usage *provider.UsageError
	var mistake *config.Error
	if errors.As(err, &usage) || errors.As(err, &mistake) {
		return exitUsage
	}
	return exitFailed
}

func newLogger(cfg config.LoggingConfiguration, out io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{}
	if cfg.Level == config.LogLevelDebug {
		options.Level = slog.LevelDebug
	}
	if cfg.Format == config.LogFormatJSON {
		return slog.New(slog.NewJSONHandler(out, options))
	}
	return slog.New(slog.NewTextHandler(out, options))
}

// revision is the commit that akd was built from, if Go recorded it.
func revision() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, setting := range info.Settings {
			if setting.Key == "vcs.revision" {
				return setting.Value
			}
		}
	}
	return ""
}

func currentVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
