package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/actual-kubelets/actual-kubelets/test/clusters/internal/build"
	"github.com/actual-kubelets/actual-kubelets/test/clusters/internal/lab"
)

// Exit codes; see doc.go.
const (
	exitDone    = 0
	exitFailure = 1
	exitMistake = 2
)

// app is what the commands share.
type app struct {
	dir      string
	progress *progress
}

// Main runs the command with these arguments and returns its exit code.
func Main(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second interrupt ends the command at once.
	context.AfterFunc(ctx, stop)
	a := &app{progress: newProgress(os.Stderr, time.Now)}
	root := a.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	a.progress.end()
	return report(err)
}

// report prints the error and returns the exit code.
func report(err error) int {
	if err == nil {
		return exitDone
	}
	fmt.Fprintf(os.Stderr, "clusters: %v\n", err)
	if errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "Interrupted: run clusters up to continue, or clusters down to clean up.")
	}
	if component, ok := errors.AsType[*lab.ComponentError](err); ok {
		fmt.Fprintf(os.Stderr, "The end of %s:\n%s\n", component.Log, component.Tail)
	}
	if errors.Is(err, syscall.ENOSPC) {
		fmt.Fprintln(os.Stderr, "The disk is full: free some space, then run the command again.")
	}
	return exitCode(err)
}

// exitCode distinguishes mistakes that the user can fix from failures.
func exitCode(err error) int {
	var (
		mistake     lab.Mistake
		usage       usageError
		version     *build.VersionError
		environment *build.Error
	)
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, syscall.ENOSPC), errors.As(err, &mistake), errors.As(err, &usage),
		errors.As(err, &version), errors.As(err, &environment):
		return exitMistake
	}
	return exitFailure
}

// usageError is a command line that cannot be understood.
type usageError struct{ error }

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "clusters",
		Short: "Run two real Kubernetes clusters, local and remote, on this machine",
		Long: `Run two real Kubernetes clusters, local and remote, on this machine.

As root on Linux, each cluster gets its own network namespace with real kubelets
and containers. Otherwise kwok provides ` + lab.SimulatedNotice + `.`,
		Example: `  clusters up
  clusters kubectl local get nodes
  clusters down`,
		SilenceUsage:  true,
		SilenceErrors: true,
		// By default cobra takes an unknown command for an argument.
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("unknown command %q: run clusters --help for the list", args[0])}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.PersistentFlags().StringVar(&a.dir, "dir", ".clusters", "run `folder`; runs in different folders are independent")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w: run %s --help for its usage", err, cmd.CommandPath())}
	})
	root.AddCommand(
		a.up(), a.down(), a.status(), a.kubeconfig(), a.buildImage(), a.loadImage(), a.logs(), a.tests(),
		a.link(), a.crash(), a.kubectl(), a.exec(), a.forward(), a.linkProxy(), a.csiDriver(),
	)
	for _, cmd := range root.Commands() {
		cmd.Args = asUsage(cmd.Args)
	}
	return root
}

// asUsage turns an error of cobra's argument checks into a usageError.
func asUsage(check cobra.PositionalArgs) cobra.PositionalArgs {
	if check == nil {
		check = cobra.NoArgs
	}
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usageError{fmt.Errorf("%w: run %s --help for its usage", err, cmd.CommandPath())}
		}
		return nil
	}
}

// open returns the lab of the run folder. It prints a notice on standard error
// if its nodes are simulated: nobody must mistake its results for real ones.
func (a *app) open() (*lab.Lab, error) {
	l, err := a.lab()
	if err != nil {
		return nil, err
	}
	if state, ok, err := l.Load(); err == nil && ok && state.Plan.Simulated {
		fmt.Fprintln(os.Stderr, lab.SimulatedNotice)
	}
	return l, nil
}

func (a *app) lab() (*lab.Lab, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return lab.New(a.dir, lab.Environment{
		Self: self, Now: time.Now, Report: a.progress.step, Toolchain: newToolchain(a.progress),
	})
}

// clusterName checks an argument that names a cluster.
func clusterName(arg string) (string, error) {
	if arg != lab.Local && arg != lab.Remote {
		return "", usageError{fmt.Errorf("unknown cluster %q: give %s or %s", arg, lab.Local, lab.Remote)}
	}
	return arg, nil
}

// split separates the cluster's name, and an optional --, from a command line
// that is passed on.
func split(args []string) (name string, rest []string, err error) {
	if len(args) == 0 {
		return "", nil, usageError{errors.New("no cluster named: give local or remote")}
	}
	if name, err = clusterName(args[0]); err != nil {
		return "", nil, err
	}
	rest = args[1:]
	if len(rest) > 0 && rest[0] == "--" {
		rest = rest[1:]
	}
	return name, rest, nil
}

// passOn leaves all flags to the program that the command runs. --dir must
// therefore come before the command's name or directly after it.
func (a *app) passOn(cmd *cobra.Command, run func(l *lab.Lab, name string, rest []string) error) *cobra.Command {
	cmd.DisableFlagParsing = true
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		args, help := a.takeDir(args)
		if help {
			return cmd.Help()
		}
		name, rest, err := split(args)
		if err != nil {
			return err
		}
		l, err := a.open()
		if err != nil {
			return err
		}
		return run(l, name, rest)
	}
	return cmd
}

// takeDir reads a --dir before the cluster's name, which cobra does not.
func (a *app) takeDir(args []string) (rest []string, help bool) {
	for len(args) > 0 {
		value, joined := strings.CutPrefix(args[0], "--dir=")
		switch {
		case joined:
			a.dir, args = value, args[1:]
		case args[0] == "--dir" && len(args) > 1:
			a.dir, args = args[1], args[2:]
		case args[0] == "--help" || args[0] == "-h":
			return args, true
		default:
			return args, false
		}
	}
	return args, false
}
