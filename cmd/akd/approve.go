package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/pflag"
	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/klog/v2"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/approver"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/config"
)

// runApprove runs akd approve.
func runApprove(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var options approver.Options
	flags := pflag.NewFlagSet("akd approve", pflag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&options.Node, "node-name", "", "Name of the node whose requests are approved")
	flags.StringVar(&options.Hostname, "node-hostname", "", "Hostname of the node, as in its configuration (default: the name of the node)")
	flags.StringVar(&options.Signer, "tls-signer", certificatesv1.KubeletServingSignerName, "Signer that the requests are for")
	flags.StringVar(&options.Kubeconfig, "local-kubeconfig", "",
		"Kubeconfig of the local cluster (default: the service account of the pod)")
	flags.StringVar(&options.Address, "metrics-address", ":10254", "Address of /healthz and /readyz, HOST:PORT")
	switch err := flags.Parse(args); {
	case errors.Is(err, pflag.ErrHelp):
		_, _ = fmt.Fprintf(stdout, `Approve the requests of one node for a serving certificate, if they are for the
node's hostname and for addresses of akd's own pods. All others are left to
somebody else. Give it an identity of its own, never akd's: akd makes the requests.

Usage:
  akd approve --node-name NAME [flags]

Flags:
%s`, flags.FlagUsages())
		return exitOK
	case err != nil:
		return fail(stderr, &provider.UsageError{Err: fmt.Errorf("%w: see akd approve --help", err)})
	case flags.NArg() > 0:
		return fail(stderr, &provider.UsageError{Err: fmt.Errorf("unexpected argument %q: see akd approve --help", flags.Arg(0))})
	}
	if err := contract.CheckNodeName(options.Node); err != nil {
		return fail(stderr, &provider.UsageError{Err: fmt.Errorf("--node-name: %w", err)})
	}
	logger := newLogger(config.Default().Logging, stderr)
	klog.SetSlogLogger(logger)
	return fail(stderr, approver.Run(ctx, options, logger))
}
