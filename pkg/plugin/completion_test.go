package plugin_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/actual-kubelets/actual-kubelets/pkg/plugin"
)

// Whoever presses Tab waits two seconds at most, and gets nothing on the line but
// suggestions: a program that gets credentials took its time, and wrote there.
func TestCompletionIsQuick(t *testing.T) {
	const tooLong = 12 * time.Second // of the program; a loaded machine takes a part of it
	file := filepath.Join(t.TempDir(), "kubeconfig")
	err := os.WriteFile(file, []byte(`{kind: Config, apiVersion: v1, current-context: slow,
clusters: [{name: slow, cluster: {server: "https://127.0.0.1:1"}}], contexts: [{name: slow, context: {cluster: slow, user: me}}],
users: [{name: me, user: {exec: {apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never,
  command: sh, args: [-c, "echo noise >&2; exec sleep 15"]}}}]}`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	stderr := os.Stderr
	t.Cleanup(func() { os.Stderr = stderr })
	var out, errOut bytes.Buffer
	streams := genericiooptions.IOStreams{In: strings.NewReader(""), Out: &out, ErrOut: &errOut}
	build := plugin.Build{Version: "v1.2.3", Getenv: func(string) string { return "" }}
	begin := time.Now()
	code := plugin.Main(t.Context(), streams, build, []string{"__complete", "status", "--kubeconfig=" + file, ""})
	if took := time.Since(begin); code != plugin.ExitOK || took > tooLong {
		t.Errorf("exit code %d after %s", code, took)
	}
	if out.String() != ":4\n" || errOut.Len() > 0 {
		t.Errorf("printed %q and %q, want no suggestion and nothing else", out.String(), errOut.String())
	}
}
