package cli

import (
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/actual-kubelets/actual-kubelets/test/clusters/internal/cluster"
	"github.com/actual-kubelets/actual-kubelets/test/clusters/internal/csi"
)

// csiDriver runs the storage driver: its controller, or the one of a node, in the
// node's mount namespace.
func (a *app) csiDriver() *cobra.Command {
	o := csi.Options{Log: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	cmd := &cobra.Command{
		Use: cluster.DriverCommand, Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error { return csi.Run(cmd.Context(), o) },
	}
	flags := cmd.Flags()
	flags.StringVar(&o.Volumes, "volumes", "", "folder of the volumes")
	flags.StringVar(&o.Socket, "socket", "", "socket to listen at")
	flags.StringVar(&o.Node, "node", "", "node to serve")
	flags.StringVar(&o.Registration, "registration", "", "socket at which the kubelet asks for the driver")
	flags.StringSliceVar(&o.Nodes, "nodes", nil, "all nodes, for the controller")
	return cmd
}
