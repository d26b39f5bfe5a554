package plugin

import (
	"context"
	"flag"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/check"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/command"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/completion"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/failure"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/inspect"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/install"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/output"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/report"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/storage"
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

// Main runs kubectl actual and returns its exit code. build.Getenv is where
// defaults of flags come from.
func Main(ctx context.Context, streams genericiooptions.IOStreams, build Build, args []string) int {
	// What client-go logs about a server that does not answer is also in the
	// error.
	klog.SetSlogLogger(slog.New(slog.DiscardHandler))
	rest.SetDefaultWarningHandler(rest.NoWarnings{})
	if completion.Completes(args) {
		streams.ErrOut = io.Discard
		if null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0); err == nil {
			os.Stderr = null // of the programs that get credentials
		}
	}
	cmd := New(streams, build)
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(ctx)
	if err == nil {
		return ExitOK
	}
	console := output.Plain(streams.ErrOut)
	console.Labeled("error", strings.TrimPrefix(err.Error(), "error: "))
	for _, hint := range failure.Hints(err) {
		console.Labeled("hint", hint)
	}
	switch {
	case ctx.Err() != nil:
		return ExitInterrupted
	case failure.IsUsage(err):
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
	root := newRoot(env)
	root.AddCommand(
		install.NewInstall(env),
		install.NewUninstall(env),
		install.NewManifests(env),
		install.NewToken(env),
		inspect.NewWhere(env),
		inspect.NewStatus(env),
		check.NewCommand(env),
		inspect.NewNodes(env),
		storage.NewCommand(env),
		report.NewCommand(env),
		completion.NewCommand(env),
		inspect.NewLogs(env),
		inspect.NewVersion(env),
	)
	if err := completion.AddTo(root, env.Access); err != nil {
		panic(err) // completion of a flag that does not exist: any test finds it
	}
	return root
}

// newRoot returns the command without subcommands, and the flags that all have.
func newRoot(env *command.Env) *cobra.Command {
	root := &cobra.Command{
		Use:   "kubectl-actual",
		Short: "Run this cluster's pods on another cluster's kubelets",
		Long: `Run pods of the local cluster, the one of your current context, on the kubelets
of a remote cluster.`,
		Example: `  # Check that two clusters fit
  kubectl actual check --pre --remote-context=remote

  # Install a node, and see where the pods of the current namespace run
  kubectl actual install vk-ak-example --remote-context=remote
  kubectl actual where`,
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl actual"},
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       env.Version,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return failure.Hintf(failure.Usagef("unknown command %q", args[0]), "see kubectl actual --help")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(env.Streams.In)
	root.SetOut(env.Streams.Out)
	root.SetErr(env.Streams.ErrOut)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return failure.Hintf(failure.Usage(err), "see %s --help", cmd.CommandPath())
	})
	flags := root.PersistentFlags()
	env.Access.AddFlags(flags)
	env.Style.AddFlags(flags)
	addLogFlag(root, flags)
	return root
}

// addLogFlag adds -v, by which client-go logs its requests to standard error.
// From level 8 on it would log bodies, which may hold secrets.
func addLogFlag(root *cobra.Command, flags *pflag.FlagSet) {
	const mostWithoutBodies = 7
	verbosity := flags.IntP("v", "v", 0, "log verbosity: 6 logs requests, 7 adds headers; bodies are never logged")
	root.PersistentPreRun = func(*cobra.Command, []string) {
		if *verbosity <= 0 {
			return
		}
		klog.ClearLogger()
		flags := flag.NewFlagSet("klog", flag.ContinueOnError)
		klog.InitFlags(flags)
		_ = flags.Set("v", strconv.Itoa(min(*verbosity, mostWithoutBodies)))
	}
}
