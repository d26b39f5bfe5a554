package main

import (
	"context"
	"errors"
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
		Use:           "bench",
		Short:         "Measure akd on the test clusters",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	flags := root.PersistentFlags()
	flags.StringVar(&o.clusters, "clusters", "bin/clusters", "the clusters command")
	flags.StringVar(&o.akd, "akd", "bin/akd", "the akd program")
	flags.StringVar(&o.dir, "dir", ".clusters-bench", "run folder of the clusters")
	flags.StringVar(&o.page, "page", "", "`file` whose section is replaced with the tables, such as docs/performance/tables.md")
	flags.StringVar(&o.profiles, "profile", "", "`folder` for CPU and heap profiles of akd, and CPU profiles of the API servers")
	flags.BoolVar(&o.keep, "keep", false, "leave the clusters running")
	root.AddCommand(
		podsCommand(o), latencyCommand(o), restartCommand(o), idleCommand(o),
		scaleCommand(o), streamsCommand(o), cliCommand(o), soakCommand(o),
	)
	return root
}

func podsCommand(o *options) *cobra.Command {
	m := &podsMeasurement{}
	cmd := o.command("pods", "Create and delete many pods at once: direct, both, AK", m)
	cmd.Flags().IntSliceVar(&m.sizes, "pods", []int{200, 1000, 5000}, "numbers of pods, with a table for each")
	cmd.Flags().IntVar(&m.rounds, "rounds", 3, "rounds of direct, both and AK for each number")
	cmd.Flags().BoolVar(&m.tokens, "tokens", true, "let pods mount a service account token")
	cmd.Flags().IntSliceVar(&m.bare, "without-tokens", []int{1000},
		"numbers of pods to measure again without tokens, which kwok does not request")
	return cmd
}

func latencyCommand(o *options) *cobra.Command {
	m := &latencyMeasurement{}
	cmd := o.command("latency", "Create and delete pods one after the other, with real containers", m)
	cmd.Flags().IntVar(&m.pods, "pods", 50, "pods, each once direct and once through AK")
	cmd.Flags().DurationSliceVar(&m.links, "link", []time.Duration{0, 50 * time.Millisecond},
		"round-trip times of the link between the clusters, with a table for each")
	cmd.Flags().BoolVar(&m.claims, "claims", false, "give each pod a claim, in a section of its own on the page")
	return cmd
}

func restartCommand(o *options) *cobra.Command {
	m := &restartMeasurement{}
	cmd := o.command("restart", "Restart akd while its pods run", m)
	cmd.Flags().IntSliceVar(&m.sizes, "pods", []int{1000, 10000}, "numbers of running pods, with one restart for each")
	return cmd
}

func idleCommand(o *options) *cobra.Command {
	m := &idleMeasurement{}
	cmd := o.command("idle", "Watch akd while its pods do nothing", m)
	cmd.Flags().IntVar(&m.pods, "pods", 10000, "running pods")
	cmd.Flags().DurationVar(&m.time, "for", 10*time.Minute, "how long to watch")
	return cmd
}

func soakCommand(o *options) *cobra.Command {
	m := &soakMeasurement{}
	cmd := o.command("soak", "Let pods come and go for long, and look for what grows", m)
	cmd.Flags().IntVar(&m.pods, "pods", 200, "pods, half of which stay")
	cmd.Flags().DurationVar(&m.time, "for", time.Hour, "how long pods come and go")
	return cmd
}

func scaleCommand(o *options) *cobra.Command {
	m := &scaleMeasurement{}
	cmd := o.command("scale", "Create and delete the same load at several sizes, through AK only", m)
	cmd.Flags().IntSliceVar(&m.pods, "pods", []int{1000, 2000, 5000, 10000}, "numbers of pods in ten namespaces")
	cmd.Flags().IntSliceVar(&m.namespaces, "namespaces", []int{100, 1000},
		"numbers of namespaces over which the smallest number of pods is spread")
	return cmd
}

func streamsCommand(o *options) *cobra.Command {
	m := &streamsMeasurement{}
	cmd := o.command("streams", "Move bytes by exec, port-forward and logs, direct and through AK", m)
	cmd.Flags().IntVar(&m.mebibytes, "mebibytes", 256, "size of each stream")
	cmd.Flags().IntVar(&m.rounds, "rounds", 5, "rounds of each stream, direct and AK alternately")
	return cmd
}

func cliCommand(o *options) *cobra.Command {
	m := &cliMeasurement{}
	cmd := o.command("cli", "Start kubectl-actual and let it show many pods, next to kubectl", m)
	cmd.Flags().StringVar(&m.plugin, "plugin", "bin/kubectl-actual", "the kubectl-actual program")
	cmd.Flags().IntVar(&m.starts, "starts", 20, "runs of each command that needs no cluster")
	cmd.Flags().IntVar(&m.pods, "pods", 5000, "pods in the local cluster")
	cmd.Flags().IntVar(&m.rounds, "rounds", 5, "runs of each command that shows the pods")
	return cmd
}

// measurement is the work of one command.
type measurement interface {
	// needs returns what has to be set up first, or an error if the flags leave
	// nothing to measure.
	needs() (needs, error)
	// run measures, and returns its tables as Markdown.
	run(ctx context.Context, env *environment) (string, error)
}

// command is the command of a measurement. Its name is also that of its section
// on the page, unless the measurement names another one.
func (o *options) command(name, short string, m measurement) *cobra.Command {
	return &cobra.Command{
		Use:   name,
		Short: short,
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return o.measure(cmd, m) },
	}
}

// measure runs one measurement, prints its tables, and puts them on the page.
func (o *options) measure(cmd *cobra.Command, m measurement) (err error) {
	ctx := cmd.Context()
	needs, err := m.needs()
	if err != nil {
		return err
	}
	env, err := setUp(ctx, o, needs, cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, env.tearDown(context.WithoutCancel(ctx))) }() // also after an interrupt
	text, err := m.run(ctx, env)
	if err != nil {
		return err
	}
	text = env.machine(ctx) + "\n\n" + text
	if _, err := fmt.Fprintln(cmd.OutOrStdout(), text); err != nil || o.page == "" {
		return err
	}
	section := cmd.Name()
	if other, ok := m.(interface{ section() string }); ok {
		section = other.section()
	}
	return page.Replace(o.page, section, text)
}
