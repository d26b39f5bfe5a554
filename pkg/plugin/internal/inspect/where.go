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
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/storage"
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
		Short: "Show where pods run, and where claims have their data",
		Long: `Show the remote namespace, pod and node that local pods run as, or the remote claims
that have the data of local PersistentVolumeClaims.

An argument is a pod, a workload such as deploy/web, or a namespace such as
ns/shop, for their pods; or a claim such as pvc/data-web-0. The answer comes from
the local objects alone. With --remote-context, it adds what the remote cluster says
about its pods, or about its claims and the pods that use them.`,
		Example: `  # Show where a pod runs
  kubectl actual where web-0

  # Show where the pods of a deployment and of a namespace run
  kubectl actual where deploy/web ns/shop

  # Show where the data of a claim is
  kubectl actual where pvc/data-web-0

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
	flags.BoolVar(&o.reverse, "reverse", false, "find local pods or claims: arguments are remote, NAMESPACE, NAMESPACE/POD or NAMESPACE/CLAIM")
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
	all, missing, err := o.find(ctx, both)
	if err != nil {
		return err
	}
	if len(all.volumes) > 0 {
		if len(all.pods) > 0 {
			return failure.Usagef("pods and claims are shown in different tables: ask for them one after the other")
		}
		if err := o.printer.Print(o.env.Out(), storage.LocationList(all.volumes, both.Remote != nil)); err != nil {
			return err
		}
		return missing
	}
	if err := o.showPods(ctx, both, all.pods, missing); err != nil {
		return err
	}
	return missing
}

// showPods shows where pods run. Nothing is said of none if missing has been.
func (o *whereOptions) showPods(ctx context.Context, both kubeclient.Clusters, pods []corev1.Pod, missing error) error {
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
	return o.printer.Print(o.env.Out(), locationList(locations, both.Remote != nil))
}

// located is what the command line asks for: pods, and volumes of claims.
type located struct {
	pods    []corev1.Pod
	volumes []storage.Volume
}

// find returns what the command line asks for. missing says which of the arguments lead
// to nothing.
func (o *whereOptions) find(ctx context.Context, both kubeclient.Clusters) (all located, missing, err error) {
	if o.reverse {
		return o.reversed(ctx, both)
	}
	if len(o.args) == 0 && len(o.files) == 0 {
		all.pods, err = o.listed(ctx, both.Local)
		return all, nil, err
	}
	finder := &finder{flags: o.env.Access.Local, cluster: both.Local, namespace: o.namespace}
	found, missing, err := finder.find(ctx, o.args, o.files)
	if err != nil {
		return located{}, nil, err
	}
	all.pods = found.pods
	for i := range found.claims {
		volume, err := storage.OfClaim(ctx, both, &found.claims[i])
		if err != nil {
			return located{}, nil, err
		}
		all.volumes = append(all.volumes, volume)
	}
	return all, missing, nil
}

// listed returns the pods of a namespace, or of all.
func (o *whereOptions) listed(ctx context.Context, local *kubeclient.Cluster) ([]corev1.Pod, error) {
	namespace := o.namespace
	if o.allNamespaces {
		namespace = metav1.NamespaceAll
	}
	return listPods(ctx, local, namespace, metav1.ListOptions{LabelSelector: o.selector})
}

// reversed returns the local pods that run in remote namespaces, or as remote pods, and
// the local claims whose data is in remote claims.
func (o *whereOptions) reversed(ctx context.Context, both kubeclient.Clusters) (all located, missing, err error) {
	pods, err := listPods(ctx, both.Local, metav1.NamespaceAll, metav1.ListOptions{LabelSelector: o.selector})
	if err != nil {
		return located{}, nil, err
	}
	served := servedNodes(ctx, both.Local)
	var unknown []error
	for _, arg := range o.args {
		namespace, name, named := strings.Cut(arg, "/")
		before := len(all.pods)
		for i := range pods {
			started := pods[i].Annotations[contract.AnnotationRemoteNamespace] != ""
			if started && Locate(&pods[i], served).RemoteNamespace == namespace && (!named || pods[i].Name == name) {
				all.pods = append(all.pods, pods[i])
			}
		}
		if len(all.pods) > before {
			continue
		}
		if contract.ClaimUID(name) == "" { // no remote claim has such a name
			unknown = append(unknown, fmt.Errorf("no local pod runs in remote %s", arg))
			continue
		}
		volume, found, err := storage.OfRemote(ctx, both, arg)
		switch {
		case err != nil:
			return located{}, nil, err
		case found:
			all.volumes = append(all.volumes, volume)
		default:
			unknown = append(unknown, fmt.Errorf("no local pod or claim belongs to remote %s", arg))
		}
	}
	return all, errors.Join(unknown...), nil
}
