package install

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/failure"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/output"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/owner"
)

// installer does the steps of a plan.
type installer struct {
	options *installOptions
	values  manifests.Values
	both    kubeclient.Clusters
	host    *kubeclient.Cluster // that akd runs in
	peer    *kubeclient.Cluster // that akd's credential leads to
	route   kubeclient.Route    // of akd to the peer
	claims  *owner.Claims       // to the node's name, before anything was applied
	counts  kubeclient.Counts
}

// run does all steps. The checks have one timeout together.
func (i *installer) run(ctx context.Context, steps *output.Steps, plan installPlan) error {
	do := func(ctx context.Context, s step) error {
		return steps.Do(ctx, s.name, func(ctx context.Context) (string, error) { return i.do(ctx, s) })
	}
	for _, s := range plan.changes {
		if err := do(ctx, s); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, i.options.timeout)
	defer cancel()
	for _, s := range plan.checks {
		err := do(ctx, s)
		if errors.Is(err, context.DeadlineExceeded) {
			return failure.Hintf(fmt.Errorf("%s: not within %s: %w", s.name, i.options.timeout, err),
				"see akd's log: %s", i.logsCommand())
		}
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

func (i *installer) logsCommand() string {
	if i.host == i.both.Remote {
		return i.both.Commands().Actual("logs", i.options.node)
	}
	return i.both.Commands().ActualLocal("logs", i.options.node)
}

// do does one step.
func (i *installer) do(ctx context.Context, s step) (outcome string, err error) {
	switch s.action {
	case takeOver:
		return i.takeOver(ctx)
	case claimName:
		return i.claim(ctx, s.objects)
	case applyObjects:
		return i.apply(ctx, s)
	case awaitPolicies:
		return i.awaitPolicies(ctx)
	case seedRecord:
		return i.seedRecord(ctx)
	case markNamespaces:
		return i.markNamespaces(ctx)
	case storeCredential:
		return i.storeCredential(ctx)
	case awaitVolumes:
		return i.awaitLocalPolicies(ctx)
	case createClasses:
		return i.createClasses(ctx, s.objects)
	case removeApprover:
		return i.removeApprover(ctx)
	case awaitApprover:
		return "", i.awaitApprover(ctx)
	case awaitAKD:
		return "", i.awaitAKD(ctx)
	case awaitNode:
		return "", i.awaitNode(ctx)
	case probeNode:
		return i.probe(ctx)
	default:
		panic("no such action: " + s.action) // any test of a plan says so
	}
}

func (i *installer) apply(ctx context.Context, s step) (string, error) {
	c := i.both.Local
	if s.side == kubeclient.Remote {
		c = i.both.Remote
	}
	counts, err := c.Apply(ctx, s.objects, i.applyOptions())
	i.counts = i.counts.Add(counts)
	return counts.String(), err
}

func (i *installer) applyOptions() kubeclient.ApplyOptions {
	return kubeclient.ApplyOptions{Force: i.options.force, DryRun: i.options.dryRun == dryRunServer}
}

// findRoute finds out, before anything is applied, how akd will reach its peer.
func (i *installer) findRoute(ctx context.Context) (outcome string, err error) {
	given := i.options.remoteServer
	i.host, i.peer = i.both.Local, i.both.Remote
	if i.options.runIn == manifests.RunInRemote {
		i.host, i.peer, given = i.peer, i.host, ""
		if i.options.localServer != "" {
			given = "https://" + i.options.localServer
		}
	}
	i.route, err = i.peer.Route(ctx, given)
	return i.route.Server, err
}

func (i *installer) storeCredential(ctx context.Context) (string, error) {
	credential := kubeclient.Credential{
		Owner:    i.both.Owner(i.options.node),
		Host:     i.host,
		Peer:     i.peer,
		Route:    i.route,
		Lifetime: time.Duration(i.options.tokenLife),
	}
	stored, err := credential.Store(ctx)
	i.counts = i.counts.Add(stored.Counts)
	outcome := "for " + i.route.Server + " until " + stored.Expires
	if stored.Shortened != "" {
		outcome += "; " + stored.Shortened
	}
	return outcome, err
}
