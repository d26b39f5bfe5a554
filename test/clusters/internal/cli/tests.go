package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/actual-kubelets/actual-kubelets/test/clusters/internal/build"
)

// tests provides the programs of Kubernetes' own tests.
func (a *app) tests() *cobra.Command {
	version := build.DefaultKubernetes
	cmd := &cobra.Command{
		Use:   "tests",
		Short: "Build Kubernetes' own end-to-end tests, and print the paths of their programs",
		Long: `Build Kubernetes' own end-to-end tests, and print the paths of their programs:
one line for each, with its name, a tab and its path.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			files, err := newToolchain(a.progress).builder.Tests(cmd.Context(), version)
			if err != nil {
				return err
			}
			a.progress.end()
			for _, name := range []string{build.TestProgram, build.TestRunner, build.TestKubectl} {
				fmt.Fprintf(cmd.OutOrStdout(), "%s\t%s\n", name, files[name])
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&version, "version", version, "Kubernetes `version` of the tests")
	return cmd
}
