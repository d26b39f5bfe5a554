package storage

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/command"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/failure"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/output"
)

// NewCommand returns kubectl actual volumes.
func NewCommand(env *command.Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "volumes [NODE]",
		Short: "List volumes whose data is in the remote cluster",
		Long: `List the volumes of the nodes that akd serves, and their states:

  bound      a local claim uses the volume, and the remote claim has one
  waiting    the remote claim has no volume yet; many get it with the first pod
  available  imported, and no local claim uses it yet
  deleting   its local claim is gone, and akd deletes its data
  kept       its local claim is gone, and its policy is Retain
  lost       its remote claim is gone, or is another one
  orphan     a remote claim with data that no local PersistentVolume leads to

The list comes from the local cluster. With --remote-context, it is compared with
the remote claims: only they tell of orphans and of all lost volumes.`,
		Example: `  # List the volumes of all nodes
  kubectl actual volumes

  # List the volumes of a node, compared with the remote cluster
  kubectl actual volumes vk-ak-example --remote-context=remote -o wide`,
		Args: atMostOneNode,
	}
	printer := output.NewPrinter(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := printer.Validate(); err != nil {
			return err
		}
		o := &listOptions{env: env, printer: printer}
		if len(args) > 0 {
			o.node = args[0]
		}
		return o.run(cmd.Context())
	}
	cmd.AddCommand(newImport(env), newAdopt(env), newDelete(env))
	return cmd
}

func atMostOneNode(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return failure.Hintf(failure.Usagef("%s takes the name of one node", cmd.CommandPath()), "see %s --help", cmd.CommandPath())
	}
	if len(args) == 1 {
		return failure.Usage(contract.CheckNodeName(args[0]))
	}
	return nil
}

// listOptions are those of kubectl actual volumes.
type listOptions struct {
	env     *command.Env
	printer *output.Printer
	node    string
}

func (o *listOptions) run(ctx context.Context) error {
	both, err := o.env.Access.ConnectNamed(ctx)
	if err != nil {
		return err
	}
	volumes, err := List(ctx, both, o.node)
	if err != nil {
		return err
	}
	if len(volumes) == 0 && o.node != "" {
		if err := refuseForeignNode(ctx, both, o.node); err != nil {
			return err
		}
		if err := nodeExists(ctx, both.Local, o.node); err != nil {
			return err
		}
	}
	switch {
	case !o.printer.ForPeople():
		return o.printer.Print(o.env.Out(), volumeList(volumes))
	case len(volumes) == 0:
		o.env.ErrOut().Printf("No volumes found.\n")
	default:
		if err := o.printer.Print(o.env.Out(), volumeList(volumes)); err != nil {
			return err
		}
	}
	o.advise(both, volumes)
	return nil
}

// nodeExists returns an error if the local cluster has no such node.
func nodeExists(ctx context.Context, local *kubeclient.Cluster, node string) error {
	_, err := local.Client.CoreV1().Nodes().Get(ctx, node, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		err := fmt.Errorf("there is no node %q, and no volume of such a node", node)
		return failure.Hintf(err, "list the nodes: %s", local.Commands.ActualLocal("nodes"))
	}
	if apierrors.IsForbidden(err) {
		return nil
	}
	return err
}

// advise says what to do about volumes that need a person, with the first of each state as
// the example, and what the list cannot show.
func (o *listOptions) advise(both kubeclient.Clusters, volumes []Volume) {
	to, commands := o.env.ErrOut(), both.Commands()
	for _, state := range []State{Kept, Orphan, Lost} {
		for i := range volumes {
			if v := &volumes[i]; v.State == state {
				to.Printf("\n")
				to.Paragraph(0, output.MarkWarning, v.Sentence())
				to.Lines(2, "fix: ", v.Fix(commands))
				break
			}
		}
	}
	if both.Remote == nil {
		words := []string{"volumes"}
		if o.node != "" {
			words = append(words, o.node)
		}
		to.Printf("\nOrphaned volumes, and lost ones that akd has not noticed, are in the remote cluster: %s\n", commands.Actual(words...))
	}
}

// Sentence names the volume and says what has become of it.
func (v *Volume) Sentence() string {
	name := v.Namespace + "/" + v.Claim
	switch v.State {
	case Kept:
		return fmt.Sprintf("%s is kept: its local claim is gone, and nothing deletes its data, which is in the remote claim %s", name, v.handle())
	case Orphan:
		return fmt.Sprintf("%s is an orphan: no local PersistentVolume leads to the remote claim %s, and nothing deletes it", name, v.handle())
	case Lost:
		return fmt.Sprintf("%s is lost: %s; akd makes no empty volume in its place", name, v.Message)
	case Bound, Waiting, Available, Deleting:
	}
	return fmt.Sprintf("%s is %s", name, v.State)
}

// Fix returns what a person can do about a volume that is kept, an orphan or lost, a
// command in each line.
func (v *Volume) Fix(commands kubeclient.Commands) string {
	if v.State != Lost {
		return "to use it again: " + commands.Actual("volumes", "import", v.handle()) +
			"\nto delete its data: " + commands.Actual("volumes", "delete", v.handle())
	}
	if v.Reason != reasonLost {
		return "if the remote claim is there: " + commands.Actual("volumes", "import", v.handle())
	}
	giveUp := commands.Actual("volumes", "delete", v.handle())
	if v.VolumePhase == string(corev1.VolumeBound) {
		giveUp = commands.Kubectl(kubeclient.Local, "delete", "pvc", v.Claim, "-n", v.Namespace)
	}
	return "if the remote claim was restored under the same name: " + commands.Actual("volumes", "adopt", v.Volume) +
		"\nto give it up: " + giveUp
}
