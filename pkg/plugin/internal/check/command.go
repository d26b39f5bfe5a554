package check

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/utils/clock"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/command"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/failure"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/output"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/config"
)

// options are those of the command.
type options struct {
	env     *command.Env
	printer *output.Printer

	early   bool
	noProbe bool
	taints  []string
	subject Subject
}

// NewCommand returns kubectl actual check.
func NewCommand(env *command.Env) *cobra.Command {
	o := &options{env: env, subject: Subject{Version: env.Version, Clock: clock.RealClock{}}}
	cmd := &cobra.Command{
		Use:   "check [NODE] --remote-context CONTEXT",
		Short: "Check both clusters and a node, and say how to fix problems",
		Long: `Check both clusters, a node and its akd, and say how to fix problems.

Without NODE, it checks the only node that akd serves. With --pre, it checks
what can be known before a node is installed; give it the --label and --taint
that you will give install.

One check runs a pod in the remote cluster for some seconds, to test whether
pods there reach the local API server; --no-probe skips it. All other checks
only read. The exit code is 3 if a check fails. docs/checks.md explains every
check.`,
		Example: `  # Check two clusters before you install a node
  kubectl actual check --pre --remote-context=remote

  # Check a node
  kubectl actual check vk-ak-example --remote-context=remote

  # Print the checks that failed, and how to fix them
  kubectl actual check vk-ak-example --remote-context=remote \
    -o jsonpath='{range .items[?(@.level=="failed")]}{.id}: {.fix}{"\n"}{end}'`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.complete(args); err != nil {
				return err
			}
			return o.run(cmd.Context())
		},
	}
	o.printer = output.NewPrinter(cmd)
	flags := cmd.Flags()
	flags.BoolVar(&o.early, "pre", false, "make only the checks that need no installed node")
	flags.BoolVar(&o.noProbe, "no-probe", false, "run no pod in the remote cluster")
	flags.StringToStringVar(&o.subject.Labels, "label", nil, "with --pre, labels that the node is to have, as for install")
	flags.StringArrayVar(&o.taints, "taint", nil, "with --pre, taint that the node is to have, KEY=VALUE:EFFECT; can be repeated")
	flags.Lookup("label").DefValue = "" // an empty map is nothing to show as a default
	flags.StringVar(&o.subject.ProbeImage, "probe-image", "registry.k8s.io/e2e-test-images/agnhost:2.66.1", "agnhost image of the probe pod")
	return cmd
}

// complete reads the command line. It contacts no server.
func (o *options) complete(args []string) (err error) {
	if err := o.printer.Validate(); err != nil {
		return err
	}
	if len(args) > 1 {
		return failure.Usagef("give the name of one node: %s", o.env.Access.Commands().Actual("check", "NODE"))
	}
	if len(args) == 1 {
		if err := contract.CheckNodeName(args[0]); err != nil {
			return failure.Usage(err)
		}
		o.subject.Node.Name = args[0]
	}
	if !o.early && len(o.subject.Labels)+len(o.taints) > 0 {
		return failure.Usagef("--label and --taint need --pre: without it, the node is checked as it is")
	}
	for _, text := range o.taints {
		taint, err := config.ParseTaint(text)
		if err != nil {
			return failure.Usagef("--taint %q: %w", text, err)
		}
		o.subject.Taints = append(o.subject.Taints, taint)
	}
	if o.noProbe {
		o.subject.ProbeImage = ""
	}
	o.subject.Commands = o.env.Access.Commands()
	o.subject.Clusters, err = o.env.Access.Clients()
	return err
}

// run makes the checks and shows them: one after the other for people, and at the
// end for programs.
func (o *options) run(ctx context.Context) error {
	console := o.env.Out()
	live := console
	if !o.printer.ForPeople() {
		live = output.Plain(io.Discard)
	}
	categories := All()
	if o.early {
		categories = Early()
	}
	results := Run(ctx, categories, o.subject, live)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if o.printer.ForPeople() {
		console.Printf("\n%s\n", Tally(results))
	} else if err := o.printer.Print(console, list(results)); err != nil {
		return err
	}
	switch failedChecks := Failed(results); len(failedChecks) {
	case 0:
		return nil
	case 1:
		return failure.Unhealthyf("1 check failed: %s", failedChecks[0])
	default:
		return failure.Unhealthyf("%d checks failed: %s", len(failedChecks), strings.Join(failedChecks, ", "))
	}
}

// list returns the results for programs.
func list(results []Result) *output.List {
	names := make([]string, 0, len(results))
	for i := range results {
		names = append(names, fmt.Sprintf("check/%s", results[i].ID))
	}
	return &output.List{Kind: "CheckList", Items: results, Names: names}
}
