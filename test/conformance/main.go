package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit codes of conformance.
const (
	exitSame      = 0
	exitDifferent = 1
	exitBroken    = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := exitCode(command().ExecuteContext(ctx))
	stop()
	os.Exit(code)
}

// errDifferent means that the printed table has a difference that is not in
// exceptions.yaml.
var errDifferent = errors.New("some specs pass directly but fail through AK: see the table and the logs that it names")

func exitCode(err error) int {
	if err == nil {
		return exitSame
	}
	fmt.Fprintln(os.Stderr, "conformance:", err)
	if errors.Is(err, errDifferent) {
		return exitDifferent
	}
	return exitBroken
}

// options are what the user can choose.
type options struct {
	clusters string // the clusters command
	akd      string // the akd program
	dir      string // run folder of the clusters
	out      string // folder of results and reports
	services string // akd's --services: mirror or none
	selection
	procs  int  // specs at a time
	batch  int  // specs for which e2e.test is started once
	repeat int  // how often each spec runs
	resume bool // keep the results of an earlier run
	both   bool // run directly also the specs that pass through AK
	direct bool // run directly only
	keep   bool // leave the clusters running
}

func command() *cobra.Command {
	o := &options{}
	var focus, skip, page string
	root := &cobra.Command{
		Use:           "conformance",
		Short:         "Run Kubernetes' own tests through AK, and directly those that fail, and compare the results",
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if page != "" {
				return writePage(page)
			}
			if focus != "" && !cmd.Flags().Changed("suite") {
				o.suite = suiteAny
			}
			if err := o.check(); err != nil {
				return err
			}
			if o.focus, err = regexp.Compile(focus); err != nil {
				return fmt.Errorf("--focus: %w", err)
			}
			if skip != "" {
				if o.skip, err = regexp.Compile(skip); err != nil {
					return fmt.Errorf("--skip: %w", err)
				}
			}
			return o.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := root.Flags()
	flags.StringVar(&o.clusters, "clusters", "bin/clusters", "the clusters command")
	flags.StringVar(&o.akd, "akd", "bin/akd", "the akd program")
	flags.StringVar(&o.dir, "dir", ".clusters-conformance", "run folder of the clusters")
	flags.StringVar(&o.out, "out", "dist/conformance", "folder of results and reports")
	flags.StringVar(&o.services, "services", "mirror", "akd's --services: mirror or none")
	flags.StringVar(&o.suite, "suite", suiteNode,
		"specs to choose from: node (what a kubelet does), slice (a selection), full (all of Conformance), storage (volumes and claims) "+
			"or any (the default with --focus)")
	flags.StringVar(&focus, "focus", "", "regular expression of the specs to run")
	flags.StringVar(&skip, "skip", "", "regular expression of the specs to skip")
	flags.IntVar(&o.procs, "procs", 32, "number of specs that run at the same time")
	flags.IntVar(&o.batch, "batch", 240, "number of specs after which the results are saved")
	flags.IntVar(&o.repeat, "repeat", 1, "number of times that each spec runs; it has to pass every time")
	flags.BoolVar(&o.resume, "resume", false, "continue an earlier run: keep its results for the same Kubernetes and akd")
	flags.BoolVar(&o.both, "both", false, "run directly also the specs that pass through AK, as --repeat does")
	flags.BoolVar(&o.direct, "direct", false, "run directly only, to see what the clusters can, without AK")
	flags.BoolVar(&o.keep, "keep", false, "leave the clusters running")
	flags.StringVar(&page, "write-page", "", "write the page of the manual to this `file`, and run nothing")
	return root
}
