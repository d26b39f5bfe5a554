package rights

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
)

// ErrNotConfined says that policies admit what they have to refuse akd.
var ErrNotConfined = errors.New("akd is not confined by policy")

// ToActAsAKD returns the right that CheckConfinement needs. See Cluster.AsAKD.
func ToActAsAKD(c *kubeclient.Cluster) Right {
	if c.Impersonates() {
		return Right{Verb: "create", Resource: "serviceaccounts", Subresource: "token", Namespace: contract.SystemNamespace}
	}
	return Right{Verb: "impersonate", Resource: "serviceaccounts", Namespace: contract.SystemNamespace}
}

// CheckConfinement has a node's akd try what each policy refuses. It returns nil if
// each was refused by a policy; an ErrNotConfined that names the policies that
// admitted it; a kubeclient.ErrMayNotActAsAKD; or the error that kept it from knowing: a
// Forbidden one if akd lacks the right. All are dry runs: nothing is made.
func CheckConfinement(ctx context.Context, remote *kubeclient.Cluster, node string, trials []Trial) error {
	akd, err := remote.AsAKD(ctx, node)
	if err != nil {
		return err
	}
	var silent []string
	for _, trial := range trials {
		err := trial.try(ctx, akd)
		if err == nil {
			silent = append(silent, trial.Policy)
			continue
		}
		switch kubeclient.RefusalOf(err, trial.resource) {
		case kubeclient.RefusedByPolicy:
		case kubeclient.RefusedToImpersonate:
			return fmt.Errorf("%w in the %s cluster: %w", kubeclient.ErrMayNotActAsAKD, remote.Side, err)
		case kubeclient.RefusedForRights:
			return forRights(ctx, remote, err)
		default:
			return fmt.Errorf("try policy %s: %w", trial.Policy, err)
		}
	}
	if len(silent) > 0 {
		return fmt.Errorf("%w: %s", ErrNotConfined, strings.Join(silent, ", "))
	}
	return nil
}

// forRights tells whose right was missing: akd's to create the namespace, or the
// user's to act as akd. Constrained impersonation asks for the latter as a right
// to namespaces, too, so that only a review of the user's rights can tell.
// https://github.com/kubernetes/enhancements/tree/master/keps/sig-auth/5284-constrained-impersonation
func forRights(ctx context.Context, remote *kubeclient.Cluster, refusal error) error {
	answers, err := Review(ctx, remote, []Right{ToActAsAKD(remote)})
	if err == nil && len(answers.Denied) > 0 {
		return fmt.Errorf("%w in the %s cluster: %w", kubeclient.ErrMayNotActAsAKD, remote.Side, refusal)
	}
	return refusal
}
