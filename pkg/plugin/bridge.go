package plugin

import (
	"github.com/spf13/cobra"

	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/command"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
)

// bridge gives the commands that have not moved yet what the flags say.
func bridge(root *cobra.Command, env *command.Env, access *access, style *style) {
	access.local = env.Access.Local
	access.remoteContext = root.PersistentFlags().Lookup("remote-context").Value.String()
	access.remoteFile = root.PersistentFlags().Lookup("remote-kubeconfig").Value.String()
	style.mode = colorMode(root.PersistentFlags().Lookup("color").Value.String())
}

// bridged is the cluster as the packages below know it.
func (c *cluster) bridged() *kubeclient.Cluster {
	return &kubeclient.Cluster{
		Side:    kubeclient.Side(c.side),
		Config:  c.config,
		Client:  c.client,
		Dynamic: c.dynamic,
		Mapper:  c.mapper,
		UID:     c.uid,
		Version: c.version,
	}
}
