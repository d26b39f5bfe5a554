package cli

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/actual-kubelets/actual-kubelets/test/clusters/internal/build"
)

// tests is for who runs Kubernetes' own tests: with the run's version, so that
// they are of the same build as what they test.
func (a *app) tests() *cobra.Command {
	version := build.DefaultKubernetes
	cmd := &cobra.Command{
		Use:   "tests",
		Short: "Build Kubernetes' own end-to-end tests and print the folder of " + build.TestProgram + " and " + build.TestRunner,
		RunE: func(cmd *cobra.Command, _ []string) error {
			files, err := newToolchain(a.progress).builder.Tests(cmd.Context(), version)
			if err != nil {
				return err
			}
			a.progress.end()
			fmt.Fprintln(cmd.OutOrStdout(), filepath.Dir(files[build.TestProgram]))
			return nil
		},
	}
	cmd.Flags().StringVar(&version, "version", version, "Kubernetes `version` of the tests")
	return cmd
}
