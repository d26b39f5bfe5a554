package main

import (
	_ "embed"
	"fmt"
	"os"
	"strings"

	"sigs.k8s.io/yaml"
)

//go:generate go run . --write-page ../../docs/conformance.md

//go:embed exceptions.yaml
var exceptionsFile []byte

// exception is a spec that no pod can pass that another cluster runs. What is
// only not built yet is none.
type exception struct {
	Spec    string `json:"spec"`
	Reason  string `json:"reason"`  // why it cannot hold, in principle
	Instead string `json:"instead"` // what the user sees instead
}

func readExceptions() ([]exception, error) {
	var all []exception
	if err := yaml.UnmarshalStrict(exceptionsFile, &all); err != nil {
		return nil, fmt.Errorf("read exceptions.yaml: %w", err)
	}
	for _, e := range all {
		if e.Spec == "" || e.Reason == "" || e.Instead == "" {
			return nil, fmt.Errorf("read exceptions.yaml: %q lacks its spec, reason or instead", e.Spec)
		}
	}
	return all, nil
}

const page = `<!-- Written by make generate, from test/conformance. -->

# Conformance

A pod on AK's node has to behave as on any node. The yardstick is Kubernetes' own end-to-end tests: each spec that passes on the remote
cluster itself has to pass on a local cluster whose only schedulable node is AK's. To see it, as root on Linux:

    make conformance                      # what a kubelet has to do: NodeConformance, and Conformance of nodes, apps, auth and volumes
    make conformance SUITE=slice          # some of it, in some minutes
    make conformance SUITE=full           # all of Conformance
    make conformance FOCUS='\[sig-network\].*\[Conformance\]'   # of all specs, those of that name
    make conformance FOCUS='Secrets' PROCS=4 RESUME=1

It builds Kubernetes' e2e.test for the version of the test clusters, runs the chosen specs both ways, and prints one table and these counts:
passed both, failed only through AK, failed only directly, failed both. A spec that fails on one side only is run again on both, and
is named below the counts when it passes then; one that is below is not. The reports are in dist/conformance, as JSON, JUnit and Markdown, with the logs of all runs. An interrupted run goes on with RESUME=1.
make test has the slice in it, and runs directly only what fails through AK. bin/conformance, which make runs, ends with 1 when a spec that passes directly fails through AK and is not below, and with 2 when something
else went wrong.

## What was seen

With Kubernetes 1.37.1 on both sides, one node for pods on each:

| suite | specs | pass both ways | only directly | fail either way |
|---|---:|---:|---:|---:|
| node | 356 | 353 | 0 | 3 |
| full | 462 | 455 | 2, [below](#what-cannot-hold) | 5 |

Those that fail either way fail on the test clusters themselves, whoever runs the pod: three want an image that only a registry could give them
(ImageVolume and the mTLS connection of Projected PodCertificate pull theirs always, Aggregator wants Kubernetes' sample API server), two
want two nodes for pods (Conformance Tests, and the rollback of a Daemon set), and in the node suite PrivilegedPod wants a dummy network device, which not
every kernel has. Specs of DNS, of UDP and of session affinity call programs in the pod that are taken from this machine, where they are: dig,
getent and OpenBSD's nc (apt-get install bind9-dnsutils netcat-openbsd).

## What cannot hold

`

// writePage writes the page of the user's manual about all this.
func writePage(file string) error {
	all, err := readExceptions()
	if err != nil {
		return err
	}
	var b strings.Builder
	b.WriteString(page)
	if len(all) == 0 {
		b.WriteString("No spec is known that cannot hold.\n")
	}
	for i, e := range all {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%s\n\n- Why: %s\n- Instead: %s\n", "### "+e.Spec, strings.TrimSpace(e.Reason), strings.TrimSpace(e.Instead))
	}
	if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil { //nolint:gosec // a page of the manual
		return fmt.Errorf("write page: %w", err)
	}
	return nil
}
