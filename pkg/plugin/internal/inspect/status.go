package inspect

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/utils/clock"

	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/command"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/failure"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/output"
)

// statusInterval is how often --watch and --wait look again.
const statusInterval = 2 * time.Second

// noNodes is shown instead of an empty table, with how to install one.
const noNodes = "No akd serves a node. Install one: %s\n"

type statusOptions struct {
	env     *command.Env
	printer *output.Printer
	clock   clock.Clock

	nodes   []string
	watch   bool
	wait    bool
	timeout time.Duration
}

// NewStatus returns kubectl actual status.
func NewStatus(env *command.Env) *cobra.Command {
	o := &statusOptions{env: env, clock: clock.RealClock{}}
	cmd := &cobra.Command{
		Use:   "status [NODE...]",
		Short: "Show node health and problems",
		Long: `Show the health of the nodes that akd serves, their problems, and how to fix
them. Without NODE, it shows all of them.

PODS has the number of pods for which the remote scheduler finds no node, and for
how long it has found none for one of them. VOLUMES, if there are any, has their
states: see kubectl actual volumes. With --remote-context, orphans are counted as well.

The exit code is 3 if there are problems. Warnings do not change it: the node
works, but not all of it.`,
		Example: `  # Show all nodes
  kubectl actual status

  # Wait until a node has no problems
  kubectl actual status vk-ak-example --wait --timeout=2m`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.validate(args); err != nil {
				return err
			}
			return o.run(cmd.Context())
		},
	}
	o.printer = output.NewPrinter(cmd)
	flags := cmd.Flags()
	flags.BoolVarP(&o.watch, "watch", "w", false, "after showing the nodes, watch for changes")
	flags.BoolVar(&o.wait, "wait", false, "wait until there are no problems")
	flags.DurationVar(&o.timeout, "timeout", 5*time.Minute, "length of time to wait before giving up")
	return cmd
}

// validate refuses a command line that cannot be meant.
func (o *statusOptions) validate(args []string) error {
	o.nodes = args
	if o.watch && o.wait {
		return failure.Usagef("--watch and --wait exclude each other: use one of them")
	}
	return o.printer.Validate()
}

func (o *statusOptions) run(ctx context.Context) error {
	both, err := o.env.Access.ConnectLocal(ctx)
	if err != nil {
		return err
	}
	volumes := &volumeReader{access: o.env.Access, local: both.Local, warn: o.env.ErrOut()}
	deadline := o.clock.Now().Add(o.timeout)
	for shown := ""; ; {
		nodes, err := ReadNodes(ctx, both.Local, o.nodes, o.clock.Now())
		if err != nil {
			return err
		}
		if err := volumes.addTo(ctx, nodes); err != nil {
			return err
		}
		unhealthy := unhealthy(nodes)
		if waits := o.wait && unhealthy != nil && o.clock.Now().Before(deadline); !waits {
			var text strings.Builder
			if err := o.show(o.env.Out().To(&text), nodes); err != nil {
				return err
			}
			if text.String() != shown {
				shown = text.String()
				_, _ = fmt.Fprint(o.env.Streams.Out, shown)
			}
			if !o.watch {
				return unhealthy
			}
		}
		if err := o.pause(ctx); err != nil {
			return err
		}
	}
}

func (o *statusOptions) pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-o.clock.After(statusInterval):
		return nil
	}
}

// unhealthy returns an error that names the nodes with problems, if there are any.
func unhealthy(nodes []NodeStatus) error {
	var names []string
	for i := range nodes {
		if len(nodes[i].Problems) > 0 {
			names = append(names, nodes[i].Node)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return failure.Unhealthyf("there are problems with %s", strings.Join(names, ", "))
}

// show prints the table, and below it the problems.
func (o *statusOptions) show(to *output.Console, nodes []NodeStatus) error {
	if len(nodes) == 0 && o.printer.ForPeople() {
		to.Printf(noNodes, o.env.Access.Commands().Actual("install", "NODE"))
		return nil
	}
	if err := o.printer.Print(to, statusList(nodes, o.clock.Now())); err != nil || !o.printer.ForPeople() {
		return err
	}
	for i := range nodes {
		node := &nodes[i]
		for _, problem := range node.Problems {
			to.Printf("\n")
			to.Paragraph(0, output.MarkFailed, node.Node+": "+problem.What)
			to.Lines(2, "fix: ", problem.Fix)
		}
		for _, warning := range node.Warnings {
			to.Printf("\n")
			to.Paragraph(0, output.MarkWarning, node.Node+": "+warning.What)
			to.Lines(2, "fix: ", warning.Fix)
		}
		if len(node.Problems) > 0 {
			to.Printf("\nFor details: %s\n", o.env.Access.Commands().Actual("check", node.Node))
		}
	}
	return nil
}

// statusList returns the nodes as a table.
func statusList(nodes []NodeStatus, now time.Time) *output.List {
	list := &output.List{
		Kind:  "NodeStatusList",
		Items: nodes,
		Head: []string{
			"NODE", "READY", "AKD", "PODS", "CREDENTIAL", "AGE",
			"REMOTE ANSWERED", "KUBELET", "ADDRESS", "LEADER", "IMAGE",
		},
		Narrow: 6,
	}
	const afterPods = 4
	stored := slices.ContainsFunc(nodes, func(n NodeStatus) bool { return len(n.Volumes) > 0 })
	if stored {
		list.Head = slices.Insert(list.Head, afterPods, "VOLUMES")
		list.Narrow++
	}
	for i := range nodes {
		n := &nodes[i]
		list.Names = append(list.Names, "node/"+n.Node)
		row := []string{
			n.Node,
			n.readiness(),
			n.replicas(),
			n.running(),
			n.credential(now),
			n.age,
			n.remoteAnswered(),
			n.Kubelet,
			n.Address,
			n.Leader,
			n.Image,
		}
		if stored {
			row = slices.Insert(row, afterPods, n.Volumes.String())
		}
		list.Rows = append(list.Rows, row)
	}
	return list
}
