package completion

import (
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/command"
)

// program is what kubectl runs to complete the words after kubectl actual. It
// prints what cobra's command __complete prints.
// https://kubernetes.io/docs/tasks/extend-kubectl/kubectl-plugins/
const program = "kubectl_complete-actual"

// Arguments returns the arguments of a command line that begins with the
// program's name: those of __complete if kubectl runs the program to complete one.
func Arguments(argv []string) []string {
	if len(argv) == 0 {
		return nil
	}
	if name := strings.TrimSuffix(filepath.Base(argv[0]), ".exe"); name == program {
		return append([]string{cobra.ShellCompRequestCmd}, argv[1:]...)
	}
	return argv[1:]
}

// Completes reports whether these arguments are those of a command that completes
// a command line. Its standard output is all that a shell reads, and what it writes
// elsewhere appears in the middle of what a user types.
func Completes(args []string) bool {
	return len(args) > 0 && (args[0] == cobra.ShellCompRequestCmd || args[0] == cobra.ShellCompNoDescRequestCmd)
}

// NewCommand returns kubectl actual completion.
func NewCommand(env *command.Env) *cobra.Command {
	return &cobra.Command{
		Use:   "completion",
		Short: "Print a script that completes this program's commands in kubectl",
		Long: `Print a script that kubectl runs to complete the words after kubectl actual. Save
it in a directory of your PATH as ` + program + `.

Your shell has to complete kubectl itself: see kubectl completion --help. On
Windows, copy kubectl-actual.exe to ` + program + `.exe instead; on
other systems, a link of that name to kubectl-actual works, too.`,
		Example: `  # Install the script
  kubectl actual completion > ~/bin/` + program + `
  chmod +x ~/bin/` + program,
		Args: command.NoArguments,
		Run: func(*cobra.Command, []string) {
			env.Out().Printf("#!/bin/sh\n# kubectl runs this to complete the words after kubectl actual.\nexec kubectl-actual %s \"$@\"\n",
				cobra.ShellCompRequestCmd)
		},
	}
}
