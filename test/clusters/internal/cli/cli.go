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
	// The second interrupt is for those who do not want to wait for the first.
	context.AfterFunc(ctx, stop)
	a := &app{progress: newProgress(os.Stderr, time.Now)}
	root := a.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	a.progress.end()
	return report(err)
}

// report tells the user about the error and returns the exit code.
func report(err error) int {
	if err == nil {
		return exitDone
	}
	fmt.Fprintf(os.Stderr, "clusters: %v\n", err)
	if errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "Interrupted: run clusters up to go on, or clusters down to clean up.")
	}
	if component, ok := errors.AsType[*lab.ComponentError](err); ok {
		fmt.Fprintf(os.Stderr, "The end of %s:\n%s\n", component.Log, component.Tail)
	}
	if errors.Is(err, syscall.ENOSPC) {
		fmt.Fprintln(os.Stderr, "The disk is full: free some space, then run the command again.")
	}
	return exitCode(err)
}

// exitCode tells what the user can mend from what went wrong.
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

As root on Linux each cluster has a network namespace of its own with real
kubelets and containers. Elsewhere ` + lab.SimulatedNotice + `.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		// Without it cobra takes an unknown command for an argument.
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("unknown command %q: see clusters --help", args[0])}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.PersistentFlags().StringVar(&a.dir, "dir", ".clusters", "run `folder`; runs in different folders do not meet")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w: see %s --help", err, cmd.CommandPath())}
	})
	root.AddCommand(
		a.up(), a.down(), a.status(), a.kubeconfig(), a.buildImage(), a.loadImage(), a.logs(), a.tests(),
		a.link(), a.kubectl(), a.exec(), a.forward(), a.linkProxy(),
	)
	for _, cmd := range root.Commands() {
		cmd.Args = asUsage(cmd.Args)
	}
	return root
}

// asUsage makes an error of cobra's argument checks one that exits with 2.
func asUsage(check cobra.PositionalArgs) cobra.PositionalArgs {
	if check == nil {
		check = cobra.NoArgs
	}
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usageError{fmt.Errorf("%w: see %s --help", err, cmd.CommandPath())}
		}
		return nil
	}
}

// open returns the lab of the run folder, and says on standard error when its
// nodes are simulated: nobody must take its results for real ones.
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

// clusterName checks an argument that says which cluster.
func clusterName(arg string) (string, error) {
	if arg != lab.Local && arg != lab.Remote {
		return "", usageError{fmt.Errorf("unknown cluster %q: it is %s or %s", arg, lab.Local, lab.Remote)}
	}
	return arg, nil
}

// split takes the cluster's name off a command line that is passed on, and the
// -- that may separate the two.
func split(args []string) (name string, rest []string, err error) {
	if len(args) == 0 {
		return "", nil, usageError{errors.New("which cluster? local or remote")}
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

// passOn makes the command leave all flags to what it runs. The run folder must
// then come before the command's name, or from the first arguments.
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

// takeDir reads --dir where cobra does not: before the cluster's name.
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
