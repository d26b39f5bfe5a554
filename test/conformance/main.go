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

// errDifferent says that the table, which has been printed, has a difference
// that exceptions.yaml does not know.
var errDifferent = errors.New("some specs pass on the remote cluster itself and fail through AK")

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
	services string // how pods reach Services: mirror or none
	selection
	procs  int  // specs at a time
	batch  int  // specs for which e2e.test is started once
	repeat int  // how often each spec runs
	resume bool // take the results that are there
	quick  bool // run directly only what fails through AK
	keep   bool // leave the clusters running
}

func command() *cobra.Command {
	o := &options{}
	var focus, skip, page string
	root := &cobra.Command{
		Use: "conformance", Short: "Run Kubernetes' own tests directly and through AK, and compare", Args: cobra.NoArgs,
		SilenceUsage: true, SilenceErrors: true,
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
	flags.StringVar(&o.services, "services", "mirror", "akd's --services: mirror, or none to run without Services in the remote cluster")
	flags.StringVar(&o.suite, "suite", suiteNode, "specs to choose from: node (what a kubelet has to do), slice (some of it), full (all of Conformance) or any, which is the default with --focus")
	flags.StringVar(&focus, "focus", "", "regular expression of the specs to run")
	flags.StringVar(&skip, "skip", "", "regular expression of the specs to leave out")
	flags.IntVar(&o.procs, "procs", 16, "specs that run at the same time")
	flags.IntVar(&o.batch, "batch", 120, "specs after which the results are written down")
	flags.IntVar(&o.repeat, "repeat", 1, "how often each spec runs; it passes if it always does")
	flags.BoolVar(&o.resume, "resume", false, "go on with an earlier run: take its results where Kubernetes and akd are the same")
	flags.BoolVar(&o.quick, "quick", false, "run directly only what does not pass through AK")
	flags.BoolVar(&o.keep, "keep", false, "leave the clusters running")
	flags.StringVar(&page, "write-page", "", "only write the page about exceptions.yaml to this file")
	return root
}
