package install

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/command"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/failure"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/output"
)

// manifestsOptions are those of kubectl actual manifests.
type manifestsOptions struct {
	env *command.Env
	nodeOptions
	side string
}

// NewManifests returns the command manifests.
func NewManifests(env *command.Env) *cobra.Command {
	o := &manifestsOptions{env: env}
	cmd := &cobra.Command{
		Use:   "manifests NODE --side local|remote",
		Short: "Print the objects that install applies to one cluster",
		Long: `Print the objects that install applies to one cluster, for GitOps. akd's
credential for the other cluster is not among them: store it in the Secret
actual-system/NODE, key kubeconfig, of the cluster that akd runs in.

The objects of the remote cluster say to which local cluster the node belongs. With
--cluster-uid no cluster is contacted; otherwise the local cluster, that of your
current context, is asked for its UID.`,
		Example: `  # Print what the local cluster gets
  kubectl actual manifests vk-ak-example > local.yaml

  # Print what the remote cluster gets
  kubectl actual manifests vk-ak-example --side=remote > remote.yaml

  # Print it without access to the local cluster
  kubectl actual manifests vk-ak-example --side=remote --cluster-uid=5f3c9a52-7a4e-4d4b-9d0c-3f1a5f0a8a11`,
		Args: command.OneNode,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.complete(args); err != nil {
				return err
			}
			if err := o.Validate(); err != nil {
				return err
			}
			return o.Run(cmd.Context())
		},
	}
	o.addFlags(cmd.Flags(), env.Version)
	cmd.Flags().StringVar(&o.side, "side", string(kubeclient.Local), "cluster whose objects are printed: local or remote")
	cmd.Flags().StringVar(&o.clusterUID, "cluster-uid", "",
		"UID of the local cluster's namespace kube-system, for --side=remote (default: that of the current context)")
	return cmd
}

// Validate checks the flags.
func (o *manifestsOptions) Validate() error {
	if side := kubeclient.Side(o.side); side != kubeclient.Local && side != kubeclient.Remote {
		return failure.Usagef("--side %q: want local or remote", o.side)
	}
	return o.validate()
}

// Run prints the objects.
func (o *manifestsOptions) Run(ctx context.Context) error {
	if kubeclient.Side(o.side) == kubeclient.Remote {
		if err := o.findCluster(ctx, o.env.Access); err != nil {
			return err
		}
	}
	if err := o.needClasses(); err != nil {
		return err
	}
	values, err := o.values(discovered{})
	if err != nil {
		return err
	}
	return printManifests(o.env.Out(), kubeclient.Side(o.side), values)
}

// printManifests prints what install applies to one side.
func printManifests(out *output.Console, side kubeclient.Side, values manifests.Values) error {
	if err := needRanges(&values); err != nil {
		return err
	}
	objects, err := render(side, values)
	if err != nil {
		return err
	}
	for _, object := range withRecord(objects, nil) {
		content, err := yaml.Marshal(object)
		if err != nil {
			return fmt.Errorf("print %s: %w", kubeclient.Title(object), err)
		}
		if _, err := fmt.Fprintf(out, "---\n%s", content); err != nil {
			return fmt.Errorf("print %s: %w", kubeclient.Title(object), err)
		}
	}
	return nil
}
