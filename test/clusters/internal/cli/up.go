package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/actual-kubelets/actual-kubelets/test/clusters/internal/build"
	"github.com/actual-kubelets/actual-kubelets/test/clusters/internal/lab"
)

func (a *app) up() *cobra.Command {
	var plan lab.Plan
	var version string
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Bring both clusters up, or repair them, and wait until they are usable",
		Example: `  clusters up
  clusters up --local-version 1.36.3 --remote-version 1.35.6
  clusters up --remote-nodes 3
  clusters up --local-path`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := a.lab()
			if err != nil {
				return err
			}
			plan, err := choose(cmd, l, plan, version)
			if err != nil {
				return err
			}
			if err := l.Up(cmd.Context(), plan); err != nil {
				return err
			}
			a.progress.end()
			elapsed := a.progress.now().Sub(a.progress.began)
			fmt.Fprintf(cmd.OutOrStdout(), "The clusters are up (%s).\n", seconds(elapsed))
			return printStatus(cmd, l, "")
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&version, "version", build.DefaultKubernetes, "Kubernetes `version` of both clusters")
	flags.StringVar(&plan.LocalVersion, "local-version", "", "Kubernetes `version` of the local cluster")
	flags.StringVar(&plan.RemoteVersion, "remote-version", "", "Kubernetes `version` of the remote cluster")
	flags.IntVar(&plan.LocalNodes, "local-nodes", 1, "nodes of the local cluster; they are tainted, and there can be 0")
	flags.IntVar(&plan.RemoteNodes, "remote-nodes", 1, "nodes of the remote cluster")
	flags.IntVar(&plan.LocalPort, "local-port", 0, "`port` of the local API server on 127.0.0.1; 0 picks a free one")
	flags.IntVar(&plan.RemotePort, "remote-port", 0, "`port` of the remote API server on 127.0.0.1; 0 picks a free one")
	flags.BoolVar(&plan.LocalPath, "local-path", false, "give the remote cluster a StorageClass standard, by rancher/local-path-provisioner")
	flags.BoolVar(&plan.Audit, "audit", false, "log who writes what, in DIR/logs/local-audit.log and remote-audit.log")
	flags.BoolVar(&plan.CSI, "csi", false, "serve volumes in the remote cluster, with the storage classes csi, csi-immediate and csi-anywhere")
	flags.BoolVar(&plan.Simulated, "simulated", !lab.Possible(), "simulate the nodes with kwok: containers do not really run")
	return cmd
}

// choose completes the flags: a running pair keeps the values not given.
func choose(cmd *cobra.Command, l *lab.Lab, plan lab.Plan, version string) (lab.Plan, error) {
	state, ok, err := l.Load()
	if err != nil {
		return plan, err
	}
	given := cmd.Flags().Changed
	if plan.LocalVersion == "" {
		plan.LocalVersion = version
	}
	if plan.RemoteVersion == "" {
		plan.RemoteVersion = version
	}
	if ok {
		if !given("version") && !given("local-version") {
			plan.LocalVersion = state.Plan.LocalVersion
		}
		if !given("version") && !given("remote-version") {
			plan.RemoteVersion = state.Plan.RemoteVersion
		}
		if !given("local-nodes") {
			plan.LocalNodes = state.Plan.LocalNodes
		}
		if !given("remote-nodes") {
			plan.RemoteNodes = state.Plan.RemoteNodes
		}
		if !given("simulated") {
			plan.Simulated = state.Plan.Simulated
		}
		if !given("local-path") {
			plan.LocalPath = state.Plan.LocalPath
		}
		if !given("audit") {
			plan.Audit = state.Plan.Audit
		}
		if !given("csi") {
			plan.CSI = state.Plan.CSI
		}
	}
	return plan, check(plan)
}

// check rejects plans that cannot work, before anything is built.
func check(plan lab.Plan) error {
	for _, version := range []string{plan.LocalVersion, plan.RemoteVersion} {
		if err := build.CheckVersion(version); err != nil {
			return err
		}
	}
	limit := lab.MaxNodes
	if plan.Simulated {
		limit = lab.MaxSimulatedNodes
	}
	switch {
	case !plan.Simulated && !lab.Possible():
		return usageError{errors.New("real nodes need root on Linux: run as root, or remove --simulated=false")}
	case plan.Simulated && plan.CSI:
		return usageError{errors.New("--csi: simulated nodes mount no volumes: remove --csi, or run as root on Linux")}
	case plan.LocalNodes < 0 || plan.LocalNodes > limit:
		return usageError{fmt.Errorf("--local-nodes %d: give a number from 0 to %d", plan.LocalNodes, limit)}
	case plan.RemoteNodes < 1 || plan.RemoteNodes > limit:
		return usageError{fmt.Errorf("--remote-nodes %d: give a number from 1 to %d", plan.RemoteNodes, limit)}
	case plan.LocalPort < 0 || plan.LocalPort > 65535 || plan.RemotePort < 0 || plan.RemotePort > 65535:
		return usageError{fmt.Errorf("--local-port %d, --remote-port %d: give ports from 0 to 65535", plan.LocalPort, plan.RemotePort)}
	case plan.LocalPort != 0 && plan.LocalPort == plan.RemotePort:
		return usageError{fmt.Errorf("--local-port and --remote-port are both %d: give different ports", plan.LocalPort)}
	case plan.LocalPath && plan.Simulated:
		return usageError{errors.New("--local-path needs real nodes, which have the folders of volumes: remove it, or --simulated")}
	}
	return nil
}

func (a *app) status() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the clusters, their addresses and kubeconfigs",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "" && output != "json" {
				return usageError{fmt.Errorf("--output %q: give json, or leave it out for a table", output)}
			}
			l, err := a.lab()
			if err != nil {
				return err
			}
			return printStatus(cmd, l, output)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "output `format`: json, or empty for a table")
	return cmd
}

func printStatus(cmd *cobra.Command, l *lab.Lab, output string) error {
	status, err := l.Status(cmd.Context())
	if err != nil {
		return err
	}
	if output == "json" {
		encoder := json.NewEncoder(cmd.OutOrStdout())
		encoder.SetIndent("", "  ")
		return encoder.Encode(status)
	}
	return describe(cmd.OutOrStdout(), status)
}

func describe(out io.Writer, status lab.Status) error {
	if status.Clusters == nil {
		_, err := fmt.Fprintf(out, "No clusters run in %s.\n", status.Dir)
		return err
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if status.Notice != "" {
		fmt.Fprintln(table, status.Notice)
	}
	for _, name := range []string{lab.Local, lab.Remote} {
		c := status.Clusters[name]
		fmt.Fprintf(table, "%s\tKubernetes %s\t%s\n", name, c.Version, readiness(c.Ready, c.Note))
		fmt.Fprintf(table, "\tserver\t%s (in its network %s)\n", c.Server, c.InNetworkServer)
		fmt.Fprintf(table, "\tkubeconfig\t%s\n", c.Kubeconfig)
		if c.NetworkNamespace != "" {
			fmt.Fprintf(table, "\tnetwork\t%s, pods %s, services %s\n", c.NetworkNamespace, c.Pods, c.Services)
		}
		describeNodes(table, c.Nodes)
	}
	fmt.Fprintf(table, "akd\taddress\t%s\n", status.AKDAddress)
	fmt.Fprintf(table, "\tkubeconfigs\t%s %s\n", status.Clusters[lab.Local].AKDKubeconfig, status.Clusters[lab.Remote].AKDKubeconfig)
	link := status.Link
	fmt.Fprintf(table, "\tlink\t%s to %s, cut %t, latency %s\n", link.Address, link.Upstream, link.Cut, link.Latency)
	for _, component := range status.Components {
		if !component.Alive {
			fmt.Fprintf(table, "dead\t%s\t%s\n", component.Name, component.Log)
		}
	}
	return table.Flush()
}

// describeNodes lists up to ten nodes by name, and counts more.
func describeNodes(out io.Writer, nodes []lab.NodeStatus) {
	const few = 10
	ready := 0
	for _, node := range nodes {
		if node.Ready {
			ready++
		}
		if len(nodes) <= few {
			fmt.Fprintf(out, "\tnode\t%s %s %s\n", node.Name, node.Address, readiness(node.Ready, ""))
		}
	}
	if len(nodes) > few {
		fmt.Fprintf(out, "\tnodes\t%d, %d of them ready\n", len(nodes), ready)
	}
}

func readiness(ready bool, note string) string {
	text := "not ready"
	if ready {
		text = "ready"
	}
	if note != "" {
		text += " (" + note + ")"
	}
	return text
}
