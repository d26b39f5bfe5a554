package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/actual-kubelets/actual-kubelets/test/internal/page"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := command().ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "skew:", err)
		os.Exit(exitCode(err))
	}
}

// errFailed means that a test of the printed matrix failed.
var errFailed = errors.New("some tests failed: see the matrix, and the logs in the folder --out")

func exitCode(err error) int {
	if errors.Is(err, errFailed) {
		return 1
	}
	return 2
}

// options are what the user can choose.
type options struct {
	versions []string // Kubernetes versions, without a leading v
	all      bool     // test every pair of them
	tests    string   // regular expression of end-to-end tests
	clusters string   // the clusters command
	dir      string   // run folder of the clusters
	out      string   // folder of logs
	page     string   // page of results; empty for none
}

// short tests a pod's life, its token, the objects it refers to, updates in
// place, logs and exec, and akd as a tenant behind its policies.
const short = "^(TestDeploymentRunsRemotely|TestInClusterClient|TestNeedsFollow|TestInPlace|TestLogs|TestTenants)$"

func command() *cobra.Command {
	o := &options{}
	cmd := &cobra.Command{
		Use:           "skew",
		Short:         "Run a short end-to-end test between clusters of different Kubernetes versions",
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&o.versions, "versions", []string{"1.34.4", "1.35.6", "1.36.3", "1.37.1"}, "Kubernetes versions, oldest first")
	flags.BoolVar(&o.all, "all", false, "test every pair of versions; otherwise each with itself, and the oldest with the newest")
	flags.StringVar(&o.tests, "run", short, "regular expression of the end-to-end tests to run")
	flags.StringVar(&o.clusters, "clusters", "bin/clusters", "the clusters command")
	flags.StringVar(&o.dir, "dir", ".clusters-skew", "run folder of the clusters")
	flags.StringVar(&o.out, "out", "dist/skew", "folder for the tests' logs")
	flags.StringVar(&o.page, "page", "", "`file` whose section is replaced with the matrix, such as docs/compatibility.md")
	return cmd
}

func (o *options) run(cmd *cobra.Command) error {
	pairs, err := o.pairs()
	if err != nil {
		return err
	}
	for _, path := range []*string{&o.clusters, &o.dir, &o.out} {
		if *path, err = filepath.Abs(*path); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return fmt.Errorf("folder for logs: %w", err)
	}
	results := map[pair]result{}
	for i, p := range pairs {
		fmt.Fprintf(cmd.ErrOrStderr(), "%d of %d: local %s, remote %s\n", i+1, len(pairs), p.local, p.remote)
		r, err := o.try(cmd.Context(), p)
		if err != nil {
			return fmt.Errorf("local %s, remote %s: %w", p.local, p.remote, err)
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "%d of %d: %s\n", i+1, len(pairs), r)
		results[p] = r
	}
	text := matrix(o.versions, results)
	fmt.Fprintln(cmd.OutOrStdout(), text)
	if o.page != "" {
		if err := page.Replace(o.page, "skew", text); err != nil {
			return err
		}
	}
	for _, r := range results {
		if len(r.failed) > 0 {
			return errFailed
		}
	}
	return nil
}
