package plugin

import (
	"context"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	// completer is what kubectl runs for the words after `kubectl actual`.
	// https://kubernetes.io/docs/reference/kubectl/kubectl/ and kubectl plugin's
	// own completion: the program prints what cobra's __complete does.
	completer = "kubectl_complete-actual"
	// completionPatience is how long a person with a finger on Tab waits.
	completionPatience = 2 * time.Second
	// mostNames is how many names are suggested at most.
	mostNames = 500
)

// Arguments are what the program was run with, from its own name on: kubectl
// runs it under another name to complete a command line.
func Arguments(argv []string) []string {
	if len(argv) == 0 {
		return nil
	}
	name := strings.TrimSuffix(filepath.Base(argv[0]), ".exe")
	if name == completer {
		return append([]string{cobra.ShellCompRequestCmd}, argv[1:]...)
	}
	return argv[1:]
}

func newCompletion(streams genericiooptions.IOStreams) *cobra.Command {
	return &cobra.Command{
		Use:   "completion",
		Short: "Print what makes kubectl complete this program's commands",
		Long: `Print a script that kubectl runs to complete the words after kubectl actual. Put
it beside kubectl-actual, or anywhere in your PATH, as ` + completer + `:

  kubectl actual completion > ~/bin/` + completer + `
  chmod +x ~/bin/` + completer + `

Your shell has to complete kubectl itself: see kubectl completion --help. A link
of that name to kubectl-actual does as well, and is how Windows has it: a copy
named ` + completer + `.exe.`,
		Args: noArguments,
		RunE: func(*cobra.Command, []string) error {
			printf(streams.Out, "#!/bin/sh\n# kubectl runs this to complete the words after kubectl actual.\nexec kubectl-actual %s \"$@\"\n", cobra.ShellCompRequestCmd)
			return nil
		},
	}
}

// addCompletions says what the arguments and flags of all commands can be.
func addCompletions(root *cobra.Command, access *access) error {
	nodes := func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 && cmd.Name() != "status" {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return access.suggest(cmd.Context(), nodeSuggestions)
	}
	nothing := cobra.FixedCompletions(nil, cobra.ShellCompDirectiveNoFileComp)
	for _, cmd := range everyCommand(root) {
		switch cmd.Name() {
		case "status", "check", "logs", "report", "uninstall", "rotate", "install", "manifests":
			cmd.ValidArgsFunction = nodes
		case "where":
			cmd.ValidArgsFunction = func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
				namespace, err := cmd.Flags().GetString("namespace")
				if err != nil {
					return nil, cobra.ShellCompDirectiveError
				}
				return access.suggest(cmd.Context(), access.podSuggestions(namespace))
			}
		default:
			if cmd.ValidArgsFunction == nil {
				cmd.ValidArgsFunction = nothing
			}
		}
		if err := completeFlags(cmd, access); err != nil {
			return err
		}
	}
	for flag, suggest := range map[string]func(*cobra.Command) []string{
		"context":        func(*cobra.Command) []string { return access.contextNames(false) },
		"remote-context": func(*cobra.Command) []string { return access.contextNames(true) },
	} {
		if err := root.RegisterFlagCompletionFunc(flag, func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
			return suggest(cmd), cobra.ShellCompDirectiveNoFileComp
		}); err != nil {
			return err
		}
	}
	return nil
}

func completeFlags(cmd *cobra.Command, access *access) error {
	fixed := map[string][]string{
		"output": {"json", "yaml", "name", "wide", "jsonpath=", "go-template="}, "run-in": {"local", "remote"}, "side": {"local", "remote"},
		"pod-security": {"privileged", "baseline", "restricted"}, "services": {"mirror", "none"}, "dry-run": {"none", "client", "server"},
	}
	for flag, values := range fixed {
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
	return cmd.RegisterFlagCompletionFunc("namespace", func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		return access.suggest(cmd.Context(), namespaceSuggestions)
	})
}

func everyCommand(root *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{root}
	for _, cmd := range root.Commands() {
		all = append(all, everyCommand(cmd)...)
	}
	return all
}

// contextNames are those of the kubeconfig.
func (a *access) contextNames(remote bool) []string {
	flags := a.local
	if remote {
		flags = a.remoteFlags()
	}
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	if *flags.KubeConfig != "" {
		rules.ExplicitPath = *flags.KubeConfig
	}
	raw, err := rules.Load()
	if err != nil {
		return nil
	}
	return slices.Sorted(maps.Keys(raw.Contexts))
}

// suggest asks the local cluster. No answer is no suggestion, and no noise.
func (a *access) suggest(ctx context.Context, ask func(context.Context, *cluster) ([]string, error)) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(ctx, completionPatience)
	defer cancel()
	local, err := newCluster("local", a.local)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	names, err := ask(ctx, local)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func nodeSuggestions(ctx context.Context, local *cluster) (names []string, err error) {
	nodes, err := local.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{LabelSelector: nodeLabel, Limit: mostNames})
	if err != nil {
		return nil, err
	}
	for i := range nodes.Items {
		names = append(names, nodes.Items[i].Name)
	}
	return names, nil
}

func namespaceSuggestions(ctx context.Context, local *cluster) (names []string, err error) {
	namespaces, err := local.client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{Limit: mostNames})
	if err != nil {
		return nil, err
	}
	for i := range namespaces.Items {
		names = append(names, namespaces.Items[i].Name)
	}
	return names, nil
}

func (a *access) podSuggestions(namespace string) func(context.Context, *cluster) ([]string, error) {
	return func(ctx context.Context, local *cluster) (names []string, err error) {
		if namespace == "" {
			if namespace, _, err = a.local.ToRawKubeConfigLoader().Namespace(); err != nil {
				return nil, err
			}
		}
		pods, err := local.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{Limit: mostNames})
		if err != nil {
			return nil, err
		}
		for i := range pods.Items {
			names = append(names, pods.Items[i].Name)
		}
		return names, nil
	}
}
