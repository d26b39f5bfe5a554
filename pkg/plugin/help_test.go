package plugin_test

import (
	"io"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/actual-kubelets/actual-kubelets/pkg/plugin"
)

// Help is read by people in a hurry: each command has one sentence, flags that
// say what they do, and examples to paste.
func TestHelp(t *testing.T) {
	streams := genericiooptions.IOStreams{In: strings.NewReader(""), Out: io.Discard, ErrOut: io.Discard}
	root := plugin.New(streams, plugin.Build{Version: "v1.2.3", Getenv: func(string) string { return "" }})
	check := func(cmd *cobra.Command) {
		if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") || strings.Contains(cmd.Short, "; ") {
			t.Errorf("%s: short help %q, want one sentence without a full stop", cmd.CommandPath(), cmd.Short)
		}
		if examples := strings.Count("\n"+cmd.Example, "\n  # "); cmd.Runnable() && (examples < 1 || examples > 4) {
			t.Errorf("%s: %d examples, want one to four, each with a comment:\n%s", cmd.CommandPath(), examples, cmd.Example)
		}
		cmd.LocalNonPersistentFlags().VisitAll(func(flag *pflag.Flag) {
			if flag.Usage == "" || strings.Contains(flag.Usage, "unless given") {
				t.Errorf("%s: --%s is described by %q", cmd.CommandPath(), flag.Name, flag.Usage)
			}
		})
	}
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		check(cmd)
		for _, child := range cmd.Commands() {
			walk(child)
		}
	}
	walk(root)
}
