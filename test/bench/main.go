package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/actual-kubelets/actual-kubelets/test/internal/page"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := command().ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options are common to all measurements.
type options struct {
	clusters string // the clusters command
	akd      string // the akd program
	dir      string // run folder of the clusters
	page     string // page whose section is replaced; empty for none
	profiles string // folder for pprof files; empty for none
	keep     bool   // leave the clusters running
}

func command() *cobra.Command {
	o := &options{}
	root := &cobra.Command{
		Use: "bench", Short: "Measure akd on the test clusters",
		SilenceUsage: true, SilenceErrors: true,
	}
	flags := root.PersistentFlags()
	flags.StringVar(&o.clusters, "clusters", "bin/clusters", "the clusters command")
	flags.StringVar(&o.akd, "akd", "bin/akd", "the akd program")
	flags.StringVar(&o.dir, "dir", ".clusters-bench", "run folder of the clusters")
	flags.StringVar(&o.page, "page", "", "page of results whose section is replaced, such as docs/performance/tables.md")
	flags.StringVar(&o.profiles, "profile", "", "folder for CPU and heap profiles of akd, and CPU profiles of the API servers")
	flags.BoolVar(&o.keep, "keep", false, "leave the clusters running")
	root.AddCommand(podsCommand(o), latencyCommand(o), restartCommand(o), idleCommand(o), scaleCommand(o), streamsCommand(o), cliCommand(o))
	return root
}

func podsCommand(o *options) *cobra.Command {
	var m podsMeasurement
	cmd := &cobra.Command{
		Use: "pods", Short: "Create and delete many pods at once: direct, both, AK", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.measure(cmd, "pods", m.run) },
	}
	cmd.Flags().IntSliceVar(&m.sizes, "pods", []int{200, 1000, 5000}, "pods at a time, one table each")
	cmd.Flags().IntVar(&m.rounds, "rounds", 3, "rounds of direct, both and AK for each size")
	cmd.Flags().BoolVar(&m.tokens, "tokens", true, "pods mount a service account token")
	cmd.Flags().IntSliceVar(&m.bare, "without-tokens", []int{1000}, "sizes to measure once more with pods that mount no token, as those of both: kwok asks for none")
	return cmd
}

func latencyCommand(o *options) *cobra.Command {
	var m latencyMeasurement
	cmd := &cobra.Command{
		Use: "latency", Short: "Create and delete pods one after the other, with real containers", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.measure(cmd, "latency", m.run) },
	}
	cmd.Flags().IntVar(&m.pods, "pods", 50, "pods, each once direct and once through AK")
	cmd.Flags().DurationSliceVar(&m.links, "link", []time.Duration{0, 50 * time.Millisecond}, "latency of the link between the clusters, per round trip; one table each")
	return cmd
}

func restartCommand(o *options) *cobra.Command {
	var m restartMeasurement
	cmd := &cobra.Command{
		Use: "restart", Short: "Restart akd while its pods run", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.measure(cmd, "restart", m.run) },
	}
	cmd.Flags().IntSliceVar(&m.sizes, "pods", []int{1000, 10000}, "pods that run, one restart each")
	return cmd
}

func idleCommand(o *options) *cobra.Command {
	var m idleMeasurement
	cmd := &cobra.Command{
		Use: "idle", Short: "Watch what akd does while its pods do nothing", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.measure(cmd, "idle", m.run) },
	}
	cmd.Flags().IntVar(&m.pods, "pods", 10000, "pods that run")
	cmd.Flags().DurationVar(&m.time, "for", 10*time.Minute, "how long to watch")
	return cmd
}

func scaleCommand(o *options) *cobra.Command {
	var m scaleMeasurement
	cmd := &cobra.Command{
		Use: "scale", Short: "Create and delete the same load at several sizes, through AK alone", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.measure(cmd, "scale", m.run) },
	}
	cmd.Flags().IntSliceVar(&m.pods, "pods", []int{1000, 2000, 5000, 10000}, "pods in ten namespaces")
	cmd.Flags().IntSliceVar(&m.namespaces, "namespaces", []int{100, 1000}, "namespaces over which the fewest pods are spread")
	return cmd
}

func streamsCommand(o *options) *cobra.Command {
	var m streamsMeasurement
	cmd := &cobra.Command{
		Use: "streams", Short: "Move bytes by exec, port-forward and logs, direct and through AK", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.measure(cmd, "streams", m.run) },
	}
	cmd.Flags().IntVar(&m.mebibytes, "mebibytes", 256, "size of each stream")
	cmd.Flags().IntVar(&m.rounds, "rounds", 5, "rounds of each stream, direct and AK by turns")
	return cmd
}

func cliCommand(o *options) *cobra.Command {
	var m cliMeasurement
	cmd := &cobra.Command{
		Use: "cli", Short: "Start kubectl-actual and have it show many pods, next to kubectl", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.measure(cmd, "cli", m.run) },
	}
	cmd.Flags().StringVar(&m.plugin, "plugin", "bin/kubectl-actual", "the kubectl-actual program")
	cmd.Flags().IntVar(&m.starts, "starts", 20, "runs of each command that asks no cluster")
	cmd.Flags().IntVar(&m.pods, "pods", 5000, "pods of the local cluster")
	cmd.Flags().IntVar(&m.rounds, "rounds", 5, "runs of each command that shows the pods")
	return cmd
}

// measure runs one measurement, prints its tables, and puts them on the page.
func (o *options) measure(cmd *cobra.Command, section string, run func(context.Context, *bed) (string, error)) (err error) {
	b := &bed{options: o, progress: cmd.ErrOrStderr()}
	defer func() {
		if downErr := b.down(); err == nil {
			err = downErr
		}
	}()
	text, err := run(cmd.Context(), b)
	if err != nil {
		return err
	}
	text = b.machine(cmd.Context()) + "\n\n" + text
	if _, err := fmt.Fprintln(cmd.OutOrStdout(), text); err != nil || o.page == "" {
		return err
	}
	return page.Replace(o.page, section, text)
}
