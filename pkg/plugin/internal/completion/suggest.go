package completion

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
)

const (
	// suggestTimeout is how long a person waits after Tab.
	suggestTimeout = 2 * time.Second
	// maxNames is how many names are suggested.
	maxNames = 500
)

// suggester suggests names from the local cluster.
type suggester struct {
	access *kubeclient.Access
}

// AddTo adds suggestions to the arguments and flags of all commands.
func AddTo(root *cobra.Command, access *kubeclient.Access) error {
	s := &suggester{access: access}
	for _, cmd := range allCommands(root) {
		switch cmd.Name() {
		case "status", "check", "logs", "report", "uninstall", "rotate", "install", "manifests", "volumes":
			cmd.ValidArgsFunction = s.nodes
		case "where":
			cmd.ValidArgsFunction = s.pods
		case "adopt":
			cmd.ValidArgsFunction = s.volumes
		default:
			if cmd.ValidArgsFunction == nil {
				cmd.ValidArgsFunction = cobra.NoFileCompletions
			}
		}
		if err := s.addToFlags(cmd); err != nil {
			return err
		}
	}
	for flag, side := range map[string]kubeclient.Side{"context": kubeclient.Local, "remote-context": kubeclient.Remote} {
		err := root.RegisterFlagCompletionFunc(flag, func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return access.ContextNames(side), cobra.ShellCompDirectiveNoFileComp
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// addToFlags adds suggestions to a command's own flags.
func (s *suggester) addToFlags(cmd *cobra.Command) error {
	for flag, values := range map[string][]string{
		"output":             {"json", "yaml", "name", "wide", "jsonpath=", "go-template="},
		"run-in":             {"local", "remote"},
		"side":               {"local", "remote"},
		"pod-security":       {"privileged", "baseline", "restricted"},
		"services":           {"mirror", "none"},
		"dry-run":            {"none", "client", "server"},
		"disruption-budgets": {"mirror", "none"},
		"storage":            {"claims", "none"},
	} {
		if cmd.LocalNonPersistentFlags().Lookup(flag) == nil {
			continue
		}
		if err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)); err != nil {
			return err
		}
	}
	if cmd.LocalNonPersistentFlags().Lookup("namespace") == nil {
		return nil
	}
	return cmd.RegisterFlagCompletionFunc("namespace", s.namespaces)
}

func allCommands(root *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{root}
	for _, cmd := range root.Commands() {
		all = append(all, allCommands(cmd)...)
	}
	return all
}

// nodes suggests nodes that akd serves: one, or several to kubectl actual status.
func (s *suggester) nodes(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 && cmd.Name() != "status" {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return s.names(cmd.Context(), func(ctx context.Context, local *kubeclient.Cluster) (names []string, err error) {
		nodes, err := local.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{LabelSelector: contract.LabelNode, Limit: maxNames})
		if err != nil {
			return nil, err
		}
		for i := range nodes.Items {
			names = append(names, nodes.Items[i].Name)
		}
		return names, nil
	})
}

// pods suggests pods of the command's namespace.
func (s *suggester) pods(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	namespace, err := cmd.Flags().GetString("namespace")
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return s.names(cmd.Context(), func(ctx context.Context, local *kubeclient.Cluster) (names []string, err error) {
		if namespace == "" {
			if namespace, err = s.access.Namespace(); err != nil {
				return nil, err
			}
		}
		pods, err := local.Client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{Limit: maxNames})
		if err != nil {
			return nil, err
		}
		for i := range pods.Items {
			names = append(names, pods.Items[i].Name)
		}
		return names, nil
	})
}

// volumes suggests PersistentVolumes whose data is in the remote cluster.
func (s *suggester) volumes(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return s.names(cmd.Context(), func(ctx context.Context, local *kubeclient.Cluster) (names []string, err error) {
		options := metav1.ListOptions{LabelSelector: contract.LabelNodeName, Limit: maxNames}
		volumes, err := local.Client.CoreV1().PersistentVolumes().List(ctx, options)
		if err != nil {
			return nil, err
		}
		for i := range volumes.Items {
			names = append(names, volumes.Items[i].Name)
		}
		return names, nil
	})
}

// namespaces suggests namespaces.
func (s *suggester) namespaces(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return s.names(cmd.Context(), func(ctx context.Context, local *kubeclient.Cluster) (names []string, err error) {
		namespaces, err := local.Client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{Limit: maxNames})
		if err != nil {
			return nil, err
		}
		for i := range namespaces.Items {
			names = append(names, namespaces.Items[i].Name)
		}
		return names, nil
	})
}

// names asks the local cluster for names. Without an answer there are no
// suggestions, and no messages either.
func (s *suggester) names(
	ctx context.Context, list func(context.Context, *kubeclient.Cluster) ([]string, error),
) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(ctx, suggestTimeout)
	defer cancel()
	found := make(chan []string, 1)
	go func() { // a program that gets credentials heeds no context
		local, err := s.access.LocalClient()
		if err != nil {
			found <- nil
			return
		}
		names, err := list(ctx, local)
		if err != nil {
			names = nil
		}
		found <- names
	}()
	select {
	case names := <-found:
		return names, cobra.ShellCompDirectiveNoFileComp
	case <-ctx.Done():
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
}
