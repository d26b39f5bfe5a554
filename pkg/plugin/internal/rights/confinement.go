package rights

import (
	"context"
	"errors"
	"fmt"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
)

// Results of CheckConfinement.
var (
	// ErrNotConfined says that akd may create a namespace that is not its own.
	ErrNotConfined = errors.New("akd may create a remote namespace that is not its own")
	// ErrMayNotImpersonate says that the user may not act as akd, so that nothing
	// is known.
	ErrMayNotImpersonate = errors.New("your user may not impersonate akd in the remote cluster")
)

// MayImpersonateAKD returns the right that CheckConfinement needs.
func MayImpersonateAKD() Right {
	return Right{Verb: "impersonate", Resource: "serviceaccounts", Namespace: contract.SystemNamespace}
}

// CheckConfinement asks the remote cluster, as a node's akd, for a namespace that
// is not akd's own. It returns nil if an admission policy refused it,
// ErrNotConfined if nothing did, ErrMayNotImpersonate, or the error that kept it
// from knowing: a Forbidden one if akd may not create namespaces at all. It is a
// dry run: no namespace is created.
func CheckConfinement(ctx context.Context, remote *kubeclient.Cluster, node string) error {
	err := remote.TryForeignNamespace(ctx, node)
	if err == nil {
		return ErrNotConfined
	}
	switch kubeclient.RefusalOf(err, "namespaces") {
	case kubeclient.RefusedByPolicy:
		return nil
	case kubeclient.RefusedToImpersonate:
		return fmt.Errorf("%w: %w", ErrMayNotImpersonate, err)
	case kubeclient.RefusedForRights:
		return forRights(ctx, remote, err)
	default:
		return err
	}
}

// forRights tells whose right was missing: akd's to create the namespace, or the
// user's to act as akd. Constrained impersonation asks for the latter as a right
// to namespaces, too, so that only a review of the user's rights can tell.
// https://github.com/kubernetes/enhancements/tree/master/keps/sig-auth/5284-constrained-impersonation
func forRights(ctx context.Context, remote *kubeclient.Cluster, refusal error) error {
	answers, err := Review(ctx, remote, []Right{MayImpersonateAKD()})
	if err == nil && len(answers.Denied) > 0 {
		return fmt.Errorf("%w: %w", ErrMayNotImpersonate, refusal)
	}
	return refusal
}
