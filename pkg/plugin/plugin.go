package plugin

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/check"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/command"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/completion"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/failure"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/inspect"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/output"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/report"
)

// Exit codes of kubectl actual.
const (
	ExitOK          = 0
	ExitFailed      = 1
	ExitUsage       = 2
	ExitUnhealthy   = 3
	ExitInterrupted = 130
)

// Build says which kubectl-actual this is, and where it runs.
type Build struct {
	Version string
	Getenv  func(string) string
}

// usageError is a mistake in what the user typed: exit code 2.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// Main runs kubectl actual and returns its exit code. build.Getenv is where
// defaults of flags come from.
func Main(ctx context.Context, streams genericiooptions.IOStreams, build Build, args []string) int {
	// client-go's own words about a server that does not answer say nothing
	// that the error does not.
	klog.SetSlogLogger(slog.New(slog.DiscardHandler))
	rest.SetDefaultWarningHandler(rest.NoWarnings{})
	cmd := New(streams, build)
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(ctx)
	if err == nil {
		return ExitOK
	}
	_, _ = fmt.Fprintf(streams.ErrOut, "error: %s\n", strings.TrimPrefix(err.Error(), "error: "))
	for _, hint := range failure.Hints(err) {
		_, _ = fmt.Fprintf(streams.ErrOut, "hint: %s\n", hint)
	}
	var usage usageError
	switch {
	case ctx.Err() != nil:
		return ExitInterrupted
	case errors.As(err, &usage) || failure.IsUsage(err):
		return ExitUsage
	case failure.IsUnhealthy(err):
		return ExitUnhealthy
	default:
		return ExitFailed
	}
}

// Arguments are what the program was run with, from its own name on: kubectl
// runs it under another name to complete a command line.
func Arguments(argv []string) []string { return completion.Arguments(argv) }

// New returns the command tree. Nothing is read or contacted before a command runs.
func New(streams genericiooptions.IOStreams, build Build) *cobra.Command {
	env := &command.Env{
		Access:  kubeclient.NewAccess(build.Getenv),
		Style:   output.NewStyle(build.Getenv, clock.RealClock{}),
		Streams: streams,
		Version: build.Version,
	}
	access, style := newAccess(build.Getenv), newStyle(build.Getenv)
	root := &cobra.Command{
		Use:   "kubectl-actual",
		Short: "Run this cluster's pods on another cluster's kubelets",
		Long: `kubectl actual runs pods of the local cluster, the one of your current context,
on the kubelets of a remote one.`,
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl actual"},
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       build.Version,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("there is no command %q: see kubectl actual --help", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(streams.In)
	root.SetOut(streams.Out)
	root.SetErr(streams.ErrOut)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%w: see %s --help", err, cmd.CommandPath())
	})
	env.Access.AddFlags(root.PersistentFlags())
	env.Style.AddFlags(root.PersistentFlags())
	verbosity := root.PersistentFlags().IntP("v", "v", 0, "what is logged of requests: 6 names them, 7 adds headers; bodies never are, which may hold secrets")
	root.PersistentPreRun = func(*cobra.Command, []string) {
		logRequests(*verbosity)
		bridge(root, env, access, style)
	}
	root.AddCommand(
		newInstall(access, style, streams, build),
		newUninstall(access, style, streams),
		newManifests(streams, build),
		newToken(access, streams),
		inspect.NewWhere(env),
		inspect.NewStatus(env),
		check.NewCommand(env),
		inspect.NewNodes(env),
		report.NewCommand(env),
		completion.NewCommand(env),
		inspect.NewLogs(env),
		inspect.NewVersion(env),
	)
	if err := completion.AddTo(root, env.Access); err != nil {
		panic(err) // a flag is completed that there is not: any test says so
	}
	return root
}

// logRequests has client-go write about its requests to standard error. From
// level 8 on it would write bodies.
func logRequests(verbosity int) {
	const mostWithoutBodies = 7
	if verbosity <= 0 {
		return
	}
	klog.ClearLogger()
	flags := flag.NewFlagSet("klog", flag.ContinueOnError)
	klog.InitFlags(flags)
	_ = flags.Set("v", strconv.Itoa(min(verbosity, mostWithoutBodies)))
}

// oneNode wants the name of a node as the only argument.
func oneNode(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usagef("give the name of one node: %s NODE", cmd.CommandPath())
	}
	return nil
}

func printf(out io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(out, format, args...) }
