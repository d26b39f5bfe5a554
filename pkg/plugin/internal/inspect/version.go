package inspect

import (
	"context"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/command"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/output"
)

// componentVersion is the version of a program: an item of a VersionList.
type componentVersion struct {
	Component string `json:"component"`
	Version   string `json:"version"`
}

// NewVersion returns kubectl actual version.
func NewVersion(env *command.Env) *cobra.Command {
	var clientOnly bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the versions of this program, the clusters and akd",
		Long: `Print the versions of this program, of the local cluster and of every akd in it.
With --remote-context, it adds the version of the remote cluster.`,
		Example: `  # Print all versions
  kubectl actual version --remote-context=remote

  # Print the version of this program
  kubectl actual version --client`,
		Args: command.NoArguments,
	}
	printer := output.NewPrinter(cmd)
	cmd.Flags().BoolVar(&clientOnly, "client", false, "if true, shows client version only (no server required)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := printer.Validate(); err != nil {
			return err
		}
		found := []componentVersion{{"kubectl-actual", env.Version}}
		var failed error
		if !clientOnly {
			var more []componentVersion
			more, failed = serverVersions(cmd.Context(), env.Access)
			found = append(found, more...)
		}
		if err := printer.Print(env.Out(), versionList(found)); err != nil {
			return err
		}
		return failed
	}
	return cmd
}

// serverVersions asks the local cluster, and the remote one if it was named.
func serverVersions(ctx context.Context, access *kubeclient.Access) ([]componentVersion, error) {
	both, err := access.ConnectNamed(ctx)
	if err != nil {
		return nil, err
	}
	found := []componentVersion{{"local Kubernetes", both.Local.Version}}
	if both.Remote != nil {
		found = append(found, componentVersion{"remote Kubernetes", both.Remote.Version})
	}
	deployments, err := both.Local.Client.AppsV1().Deployments(contract.SystemNamespace).List(ctx,
		metav1.ListOptions{LabelSelector: contract.LabelNodeName})
	if err != nil {
		return found, err
	}
	for i := range deployments.Items {
		for _, container := range deployments.Items[i].Spec.Template.Spec.Containers {
			node := deployments.Items[i].Labels[contract.LabelNodeName]
			what := "akd of " + node
			if deployments.Items[i].Name == contract.ApproverName(node) {
				what = "approver of " + node
			}
			found = append(found, componentVersion{what, container.Image})
		}
	}
	return found, nil
}

func versionList(versions []componentVersion) *output.List {
	list := &output.List{
		Kind:   "VersionList",
		Items:  versions,
		Head:   []string{"COMPONENT", "VERSION"},
		Narrow: 2,
	}
	for _, v := range versions {
		list.Names = append(list.Names, v.Component)
		list.Rows = append(list.Rows, []string{v.Component, v.Version})
	}
	return list
}
