package cli

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/actual-kubelets/actual-kubelets/test/clusters/internal/lab"
	"github.com/actual-kubelets/actual-kubelets/test/clusters/internal/link"
)

func (a *app) down() *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "Stop the clusters and remove every trace of them",
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := a.open()
			if err != nil {
				return err
			}
			if err := l.Down(cmd.Context()); err != nil {
				return err
			}
			a.progress.end()
			fmt.Fprintf(cmd.OutOrStdout(), "The clusters in %s are down.\n", l.Dir)
			return nil
		},
	}
}

func (a *app) kubeconfig() *cobra.Command {
	return &cobra.Command{
		Use:   "kubeconfig local|remote",
		Short: "Print the path of a cluster's kubeconfig",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := clusterName(args[0])
			if err != nil {
				return err
			}
			l, err := a.open()
			if err != nil {
				return err
			}
			if _, err := l.Running(); err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), l.Kubeconfig(name))
			return nil
		},
	}
}

func (a *app) loadImage() *cobra.Command {
	var cluster string
	cmd := &cobra.Command{
		Use:   "load-image FILE",
		Short: "Load an image (docker-archive or OCI tar) onto all nodes",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			names := []string{lab.Local, lab.Remote}
			if cluster != "" {
				name, err := clusterName(cluster)
				if err != nil {
					return err
				}
				names = []string{name}
			}
			l, err := a.open()
			if err != nil {
				return err
			}
			return l.LoadImage(cmd.Context(), args[0], names...)
		},
	}
	cmd.Flags().StringVar(&cluster, "cluster", "", "load onto the nodes of this `cluster` only: local or remote (default both)")
	return cmd
}

func (a *app) crash() *cobra.Command {
	return &cobra.Command{
		Use:   "crash NODE",
		Short: "End all processes of a node at once, as a power failure does; up boots it",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := a.open()
			if err != nil {
				return err
			}
			return l.Crash(cmd.Context(), args[0])
		},
	}
}

func (a *app) logs() *cobra.Command {
	return &cobra.Command{
		Use:   "logs COMPONENT",
		Short: "Print the log of a component listed by status",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := a.open()
			if err != nil {
				return err
			}
			path, err := l.Log(args[0])
			if err != nil {
				return err
			}
			file, err := os.Open(path)
			if err != nil {
				return err
			}
			defer file.Close()
			_, err = io.Copy(cmd.OutOrStdout(), file)
			return err
		},
	}
}

func (a *app) link() *cobra.Command {
	var state link.State
	cmd := &cobra.Command{
		Use:   "link --latency 50ms | --cut | --half-open | --reset | --restore",
		Short: "Slow down, cut or restore the link between akd and the remote API server",
		Long: `Slow down, cut or restore the link between akd and the remote API server, which
akd-remote.kubeconfig uses.

--latency delays each round trip, on existing and new connections.
--cut acts like a network partition: bytes vanish in both directions and nothing
is reset. New connections are accepted but get no answer.
--half-open does so in one direction: requests arrive, and their answers vanish.
--reset resets each connection as soon as it carries a byte.
--restore undoes all, and closes the connections in which bytes are missing.
Each replaces what was set before.`,
		Example: `  clusters link --latency 50ms
  clusters link --cut
  clusters link --restore`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			given := 0
			for _, name := range []string{"latency", "cut", "half-open", "reset", "restore"} {
				if cmd.Flags().Changed(name) {
					given++
				}
			}
			if given != 1 {
				return usageError{errors.New("give exactly one of --latency, --cut, --half-open, --reset and --restore")}
			}
			if state.Latency < 0 {
				return usageError{fmt.Errorf("--latency %s is negative: give a duration such as 50ms, or --restore", state.Latency)}
			}
			l, err := a.open()
			if err != nil {
				return err
			}
			return l.SetLink(cmd.Context(), state)
		},
	}
	cmd.Flags().DurationVar(&state.Latency, "latency", 0, "delay of each round trip, such as 50ms")
	cmd.Flags().BoolVar(&state.Cut, "cut", false, "let no bytes through")
	cmd.Flags().BoolVar(&state.HalfOpen, "half-open", false, "let no bytes of answers through")
	cmd.Flags().BoolVar(&state.Reset, "reset", false, "reset each connection as soon as it is used")
	cmd.Flags().Bool("restore", false, "undo everything else")
	return cmd
}

func (a *app) kubectl() *cobra.Command {
	return a.passOn(&cobra.Command{
		Use:   "kubectl local|remote ARGS...",
		Short: "Run the kubectl of a cluster's version",
	}, func(l *lab.Lab, name string, rest []string) error { return l.Kubectl(name, rest) })
}

func (a *app) exec() *cobra.Command {
	return a.passOn(&cobra.Command{
		Use:   "exec local|remote -- CMD ARGS...",
		Short: "Run a command in a cluster's network namespace; down ends it",
	}, func(l *lab.Lab, name string, rest []string) error {
		if len(rest) == 0 {
			return usageError{errors.New("no command given: run clusters exec local -- CMD, with the command to run")}
		}
		return l.Exec(name, rest)
	})
}

// forward runs inside a namespace, with a listener from outside as descriptor 3.
func (a *app) forward() *cobra.Command {
	return &cobra.Command{
		Use: "forward ADDRESS", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			file := os.NewFile(3, "listener")
			listener, err := net.FileListener(file)
			if err != nil {
				return fmt.Errorf("take over listener: %w", err)
			}
			_ = file.Close()
			log := slog.New(slog.NewTextHandler(os.Stderr, nil))
			return link.Forward(cmd.Context(), log, listener, args[0])
		},
	}
}

func (a *app) linkProxy() *cobra.Command {
	return &cobra.Command{
		Use: "link-proxy LISTEN UPSTREAM SOCKET", Hidden: true, Args: cobra.ExactArgs(3),
		RunE: func(cmd *cobra.Command, args []string) error {
			return link.ServeProxy(cmd.Context(), args[0], args[1], args[2])
		},
	}
}

// seconds formats a duration for people.
func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
