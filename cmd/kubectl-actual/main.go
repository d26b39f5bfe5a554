// Command kubectl-actual is the kubectl plugin of Actual Kubelets. kubectl runs
// it as `kubectl actual`.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/actual-kubelets/actual-kubelets/pkg/plugin"
)

// version is set by the linker; see the Makefile.
var version string

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
	code := plugin.Main(ctx, streams, plugin.Build{Version: currentVersion(), Getenv: os.Getenv}, plugin.Arguments(os.Args))
	stop()
	os.Exit(code)
}

func currentVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
