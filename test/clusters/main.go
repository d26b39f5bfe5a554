// Command clusters runs two real Kubernetes clusters, local and remote, on one
// machine: what Actual Kubelets is tested on.
package main

import (
	"os"

	"github.com/actual-kubelets/actual-kubelets/test/clusters/internal/cli"
	"github.com/actual-kubelets/actual-kubelets/test/clusters/internal/process"
)

func main() {
	process.Trampoline(os.Args)
	os.Exit(cli.Main(os.Args[1:]))
}
