package plugin

import (
	"context"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// versioned is one program and its version: an item of a VersionList.
type versioned struct {
	Component string `json:"component"`
	Version   string `json:"version"`
}

func newVersion(access *access, streams genericiooptions.IOStreams, build Build) *cobra.Command {
	var clientOnly bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Show the versions of this program, the clusters and the akds",
		Args:  cobra.NoArgs,
	}
	output := newOutput(cmd)
	cmd.Flags().BoolVar(&clientOnly, "client", false, "this program's version only: no cluster is asked")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := output.check(); err != nil {
			return err
		}
		found := []versioned{{"kubectl-actual", build.Version}}
		var failed error
		if !clientOnly {
			var more []versioned
			more, failed = versions(cmd.Context(), access)
			found = append(found, more...)
		}
		r := result{kind: "VersionList", items: found, head: []string{"COMPONENT", "VERSION"}, narrow: 2}
		for _, v := range found {
			r.names = append(r.names, v.Component)
			r.rows = append(r.rows, []string{v.Component, v.Version})
		}
		if err := output.write(streams.Out, r); err != nil {
			return err
		}
		return failed
	}
	return cmd
}

// versions asks the local cluster, and the remote one where it was named.
func versions(ctx context.Context, access *access) ([]versioned, error) {
	connect := access.connectLocal
	if access.remoteContext != "" || access.remoteFile != "" {
		connect = access.connect
	}
	c, err := connect(ctx)
	if err != nil {
		return nil, err
	}
	found := []versioned{{"local Kubernetes", c.local.version}}
	if c.remote != nil {
		found = append(found, versioned{"remote Kubernetes", c.remote.version})
	}
	deployments, err := c.local.client.AppsV1().Deployments(contract.SystemNamespace).List(ctx, metav1.ListOptions{LabelSelector: contract.LabelNodeName})
	if err != nil {
		return found, err
	}
	for i := range deployments.Items {
		for _, container := range deployments.Items[i].Spec.Template.Spec.Containers {
			found = append(found, versioned{"akd of " + deployments.Items[i].Labels[contract.LabelNodeName], container.Image})
		}
	}
	return found, nil
}
