package kubeclient_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
)

// A command that is pasted into a shell must lead to the clusters of the command
// that suggested it, whatever they are called.
func TestCommands(t *testing.T) {
	const odd = `it's "my" $HOME; rm -rf ~ *`
	for name, tc := range map[string]struct {
		reason                                     string
		flags                                      []string
		actual, actualLocal, kubectl, kubectlLocal []string
	}{
		"Nothing given": {
			reason:       "the current context, and a word to fill in",
			actual:       []string{"actual", "x", "--remote-context=CONTEXT"},
			actualLocal:  []string{"actual", "x"},
			kubectl:      []string{"x", "--context=CONTEXT"},
			kubectlLocal: []string{"x"},
		},
		"Odd contexts": {
			reason:       "a shell gets them as they are",
			flags:        []string{"--context=" + odd, "--remote-context=" + odd + "2", "--kubeconfig=/my configs/one"},
			actual:       []string{"actual", "x", "--remote-context=" + odd + "2", "--context=" + odd, "--kubeconfig=/my configs/one"},
			actualLocal:  []string{"actual", "x", "--context=" + odd, "--kubeconfig=/my configs/one"},
			kubectl:      []string{"x", "--context=" + odd + "2", "--kubeconfig=/my configs/one"},
			kubectlLocal: []string{"x", "--context=" + odd, "--kubeconfig=/my configs/one"},
		},
		"Remote kubeconfig": {
			reason: "kubectl has no such flag",
			flags:  []string{"--context=l", "--remote-kubeconfig=/r", "--remote-as=root", "--remote-as-group=a", "--remote-as-group=b"},
			actual: []string{
				"actual", "x", "--remote-kubeconfig=/r", "--remote-as=root", "--remote-as-group=a", "--remote-as-group=b", "--context=l",
			},
			actualLocal:  []string{"actual", "x", "--context=l"},
			kubectl:      []string{"x", "--kubeconfig=/r", "--as=root", "--as-group=a", "--as-group=b"},
			kubectlLocal: []string{"x", "--context=l"},
		},
		"Remote kubeconfigs": {
			reason:       "kubectl takes a list from the environment only",
			flags:        []string{"--remote-context=r", "--remote-kubeconfig=/a b:/c"},
			actual:       []string{"actual", "x", "--remote-context=r", "--remote-kubeconfig=/a b:/c"},
			actualLocal:  []string{"actual", "x"},
			kubectl:      []string{"KUBECONFIG=/a b:/c", "x", "--context=r"},
			kubectlLocal: []string{"x"},
		},
		"No secrets": {
			reason: "they would stay in logs",
			flags:  []string{"--token=secret", "--as=root", "--as-uid=7", "--user=me", "--server=https://here", "--tls-server-name=it"},
			actual: []string{
				"actual", "x", "--remote-context=CONTEXT",
				"--user=me", "--server=https://here", "--tls-server-name=it", "--as=root", "--as-uid=7",
			},
			actualLocal:  []string{"actual", "x", "--user=me", "--server=https://here", "--tls-server-name=it", "--as=root", "--as-uid=7"},
			kubectl:      []string{"x", "--context=CONTEXT"},
			kubectlLocal: []string{"x", "--user=me", "--server=https://here", "--tls-server-name=it", "--as=root", "--as-uid=7"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			access := kubeclient.NewAccess(func(string) string { return "" })
			flags := pflag.NewFlagSet("", pflag.ContinueOnError)
			access.AddFlags(flags)
			if err := flags.Parse(tc.flags); err != nil {
				t.Fatal(err)
			}
			commands := access.Commands()
			for _, got := range []struct {
				command string
				want    []string
			}{
				{commands.Actual("x"), tc.actual},
				{commands.ActualLocal("x"), tc.actualLocal},
				{commands.Kubectl(kubeclient.Remote, "x"), tc.kubectl},
				{commands.Kubectl(kubeclient.Local, "x"), tc.kubectlLocal},
			} {
				if diff := cmp.Diff(got.want, words(t, got.command)); diff != "" {
					t.Errorf("%s: %s (-want +got):\n%s", tc.reason, got.command, diff)
				}
			}
		})
	}
}

// words are what a shell makes of a command: the arguments of kubectl, and before
// them a KUBECONFIG of its own.
func words(t *testing.T, command string) []string {
	t.Helper()
	const kubectl = `kubectl() { if [ "$KUBECONFIG" ]; then set -- "KUBECONFIG=$KUBECONFIG" "$@"; fi; printf '%s\n' "$@"; }; `
	shell := exec.CommandContext(t.Context(), "sh", "-c", kubectl+command)
	shell.Env = []string{}
	out, err := shell.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", command, err, out)
	}
	return strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
}
