package inspect

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/command"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/failure"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/output"
)

type whereOptions struct {
	env     *command.Env
	printer *output.Printer

	args          []string
	namespace     string
	allNamespaces bool
	selector      string
	files         []string
	reverse       bool
}

// NewWhere returns kubectl actual where.
func NewWhere(env *command.Env) *cobra.Command {
	o := &whereOptions{env: env}
	cmd := &cobra.Command{
		Use:   "where [POD | TYPE/NAME ...]",
		Short: "Show where pods run",
		Long: `Show the remote namespace, pod and node that local pods run as.

An argument is a pod, a workload such as deploy/web, or a namespace such as
ns/shop. The answer comes from the local pods alone. With --remote-context, it
adds what the remote cluster says about its pods.`,
		Example: `  # Show where a pod runs
  kubectl actual where web-0

  # Show where the pods of a deployment and of a namespace run
  kubectl actual where deploy/web ns/shop

  # Show which local pod runs as a remote one
  kubectl actual where --reverse vk-ak-example-d05fe343c4951ecb/web-0`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.validate(args); err != nil {
				return err
			}
			return o.run(cmd.Context())
		},
	}
	o.printer = output.NewPrinter(cmd)
	flags := cmd.Flags()
	flags.StringVarP(&o.namespace, "namespace", "n", "", "local namespace (default: the namespace of the context)")
	flags.BoolVarP(&o.allNamespaces, "all-namespaces", "A", false, "list pods across all local namespaces")
	flags.StringVarP(&o.selector, "selector", "l", "", "label query of the pods, such as app=web")
	flags.StringSliceVarP(&o.files, "filename", "f", nil, "files that contain the pods or workloads")
	flags.BoolVar(&o.reverse, "reverse", false, "find local pods: arguments are remote, NAMESPACE or NAMESPACE/POD")
	return cmd
}

// validate refuses a command line that cannot be meant.
func (o *whereOptions) validate(args []string) error {
	o.args = args
	if err := o.printer.Validate(); err != nil {
		return err
	}
	if len(args) > 0 && o.selector != "" {
		return failure.Usagef("names and --selector exclude each other: use one of them")
	}
	if len(args) > 0 && len(o.files) > 0 {
		return failure.Usagef("names and --filename exclude each other: use one of them")
	}
	if len(args) > 0 && o.allNamespaces && !o.reverse {
		return failure.Usagef("names and --all-namespaces exclude each other: give the namespace with --namespace")
	}
	if o.reverse && len(args) == 0 {
		return failure.Usagef("give a remote NAMESPACE or NAMESPACE/POD with --reverse")
	}
	if _, err := labels.Parse(o.selector); err != nil {
		return failure.Usagef("--selector: %w", err)
	}
	return nil
}

func (o *whereOptions) run(ctx context.Context) error {
	both, err := o.env.Access.ConnectNamed(ctx)
	if err != nil {
		return err
	}
	if o.namespace == "" {
		if o.namespace, err = o.env.Access.Namespace(); err != nil {
			return err
		}
	}
	pods, missing, err := o.pods(ctx, both.Local)
	if err != nil {
		return err
	}
	served := servedNodes(ctx, both.Local)
	locations := make([]Location, 0, len(pods))
	for i := range pods {
		locations = append(locations, Locate(&pods[i], served))
	}
	if err := settle(ctx, both.Remote, locations); err != nil {
		return err
	}
	if both.Remote != nil {
		if err := addRemote(ctx, both.Remote, locations); err != nil {
			return err
		}
	}
	if len(locations) == 0 && missing == nil && o.printer.ForPeople() {
		o.env.ErrOut().Printf("No pods found.\n")
		return nil
	}
	if err := o.printer.Print(o.env.Out(), locationList(locations, both.Remote != nil)); err != nil {
		return err
	}
	return missing
}

// pods returns the pods that the command line asks for. missing says which of the
// arguments lead to none.
func (o *whereOptions) pods(ctx context.Context, local *kubeclient.Cluster) (pods []corev1.Pod, missing, err error) {
	switch {
	case o.reverse:
		return o.reversed(ctx, local)
	case len(o.args) > 0 || len(o.files) > 0:
		finder := &finder{flags: o.env.Access.Local, cluster: local, namespace: o.namespace}
		return finder.find(ctx, o.args, o.files)
	}
	namespace := o.namespace
	if o.allNamespaces {
		namespace = metav1.NamespaceAll
	}
	pods, err = listPods(ctx, local, namespace, metav1.ListOptions{LabelSelector: o.selector})
	return pods, nil, err
}

// reversed returns the local pods that run in remote namespaces, or as remote pods.
func (o *whereOptions) reversed(ctx context.Context, local *kubeclient.Cluster) (pods []corev1.Pod, missing, err error) {
	all, err := listPods(ctx, local, metav1.NamespaceAll, metav1.ListOptions{LabelSelector: o.selector})
	if err != nil {
		return nil, nil, err
	}
	served := servedNodes(ctx, local)
	var unknown []error
	for _, arg := range o.args {
		namespace, name, named := strings.Cut(arg, "/")
		before := len(pods)
		for i := range all {
			started := all[i].Annotations[contract.AnnotationRemoteNamespace] != ""
			if started && Locate(&all[i], served).RemoteNamespace == namespace && (!named || all[i].Name == name) {
				pods = append(pods, all[i])
			}
		}
		if len(pods) == before {
			unknown = append(unknown, fmt.Errorf("no local pod runs in remote %s", arg))
		}
	}
	return pods, errors.Join(unknown...), nil
}
