package command

import (
	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/failure"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/output"
)

// Env is what a command runs in. Its flags are read when the command runs, not
// when it is made.
type Env struct {
	Access  *kubeclient.Access
	Style   *output.Style
	Streams genericiooptions.IOStreams
	// Version of this program.
	Version string
}

// Out is where results go.
func (e *Env) Out() *output.Console { return e.Style.On(e.Streams.Out) }

// ErrOut is where progress goes.
func (e *Env) ErrOut() *output.Console { return e.Style.On(e.Streams.ErrOut) }

// OneNode wants the name of a node as the only argument.
func OneNode(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return failure.Usagef("give the name of one node: %s NODE", cmd.CommandPath())
	}
	return nil
}

// NoArguments wants none.
func NoArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return failure.Hintf(failure.Usagef("%s takes no arguments", cmd.CommandPath()), "see %s --help", cmd.CommandPath())
	}
	return nil
}
