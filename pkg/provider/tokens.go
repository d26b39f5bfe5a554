package provider

import (
	"context"
	"maps"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/errgroup"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/clock"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/cluster"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/namespaces"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/queue"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/metrics"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

const (
	// A kubelet renews a token at 80% of its granted lifetime, at 24 h at the
	// latest, and up to ten seconds earlier so that nodes do not do it at once.
	// https://github.com/kubernetes/kubernetes/blob/v1.37.1/pkg/kubelet/token/token_manager.go
	renewFraction = 0.8
	renewMaxAge   = 24 * time.Hour
	renewJitter   = 10 * time.Second
)

// tokens keeps, per pod, one remote Secret with the local service account
// tokens, the local trust anchors and the certificates of its own that the pod
// mounts.
type tokens struct {
	tokensConfig

	secrets cluster.Writer[*corev1.Secret]
}

// tokensConfig is what tokens work with.
type tokensConfig struct {
	mapper       *translate.Mapper
	local        *cluster.Local
	remote       *cluster.Remote
	bundles      *bundles
	certificates *certificates
	queue        queue.Adder
	clock        clock.PassiveClock
	count        func(result string) // counts renewals, "success" or "error"
}

func newTokens(config tokensConfig) *tokens {
	return &tokens{tokensConfig: config, secrets: config.remote.SecretWriter()}
}

// Ensure makes the Secret hold valid tokens, the bundles as they are and the
// certificates that have been issued, and queues the pod again for when one of
// them is to be renewed. It is false while the local cluster's bundles are not
// known; the pod is queued once they are.
func (t *tokens) Ensure(ctx context.Context, namespace *namespaces.Namespace, pod *corev1.Pod) (bool, error) {
	want, ready, err := t.Prepare(ctx, namespace, pod)
	if err != nil || !ready {
		return false, err
	}
	if err := t.Store(ctx, namespace, want); err != nil {
		return false, err
	}
	return true, nil
}

// Prepare is Ensure up to the write: it returns the Secret that is to be
// stored, or nil where it is as it should be.
func (t *tokens) Prepare(ctx context.Context, namespace *namespaces.Namespace, pod *corev1.Pod) (want *corev1.Secret, ready bool, err error) {
	needs := translate.NeedsOf(pod)
	if len(needs.Tokens)+len(needs.Bundles)+len(needs.Certificates) == 0 {
		return nil, true, nil
	}
	files, known, err := t.bundles.files(needs.Bundles)
	if err != nil || !known {
		return nil, false, err
	}
	have := namespace.Secrets.Get(namespace.Name, contract.TokenSecretName(pod.UID))
	credentials, err := t.certificates.credentials(ctx, pod, have)
	if err != nil {
		return nil, false, err
	}
	if have != nil {
		if renew, fresh := t.fresh(have, needs.Tokens); fresh {
			want = t.mapper.PodSecret(pod, files, renew, credentials)
			if translate.HoldsTokens(have, want, needs.Tokens) {
				t.comeBack(pod, renew, credentials)
				return nil, true, nil
			}
		}
	}
	held, renew, err := t.request(ctx, pod, needs.Tokens)
	if err != nil {
		return nil, false, err
	}
	maps.Copy(held, files)
	t.comeBack(pod, renew, credentials)
	return t.mapper.PodSecret(pod, held, renew, credentials), true, nil
}

// comeBack queues the pod for when its tokens, or its certificates, are due.
func (t *tokens) comeBack(pod *corev1.Pod, renew time.Time, credentials map[string]*translate.Credential) {
	for _, credential := range credentials {
		if renew.IsZero() || credential.Refresh.Before(renew) {
			renew = credential.Refresh
		}
	}
	if renew.IsZero() {
		return
	}
	wait := renew.Sub(t.clock.Now())
	if wait <= 0 {
		wait = requestInterval // a certificate that is overdue, and asked for
	}
	t.queue.AddAfter(queue.Pod.Key(pod.Namespace, pod.Name), wait)
}

// resultOf is how a renewal is counted.
func resultOf(err error) string {
	if err != nil {
		return metrics.ResultError
	}
	return metrics.ResultSuccess
}

// fresh returns when the Secret's tokens are to be renewed. It is false when that
// time has come, or is not known; where there are none there is no such time.
func (t *tokens) fresh(have *corev1.Secret, wanted []translate.Token) (renew time.Time, fresh bool) {
	if len(wanted) == 0 {
		return time.Time{}, true
	}
	renew, known := translate.RenewAfter(have)
	return renew, known && renew.After(t.clock.Now())
}

// request asks for the tokens, all at once, and returns when they are to be
// renewed. It asks for all of them whenever the Secret is to be written: akd
// does not remember those that it holds.
func (t *tokens) request(ctx context.Context, pod *corev1.Pod, wanted []translate.Token) (map[string]string, time.Time, error) {
	if len(wanted) == 0 {
		return map[string]string{}, time.Time{}, nil
	}
	asked := t.clock.Now()
	granted := make([]*authenticationv1.TokenRequestStatus, len(wanted))
	group, groupCtx := errgroup.WithContext(ctx)
	for i, want := range wanted {
		group.Go(func() (err error) {
			granted[i], err = t.local.RequestToken(groupCtx, pod, want)
			return err
		})
	}
	err := group.Wait()
	t.count(resultOf(err))
	if err != nil {
		return nil, time.Time{}, err
	}
	data := make(map[string]string, len(wanted))
	renew := asked.Add(renewMaxAge)
	for i, want := range wanted {
		data[want.Key] = granted[i].Token
		lifetime := granted[i].ExpirationTimestamp.Sub(asked)
		if due := asked.Add(time.Duration(float64(lifetime) * renewFraction)); due.Before(renew) {
			renew = due
		}
	}
	// Jitter spreads load, nothing secret depends on it.
	return data, renew.Add(-rand.N(renewJitter)), nil //nolint:gosec // see above
}

// Store writes what Prepare has returned.
func (t *tokens) Store(ctx context.Context, namespace *namespaces.Namespace, want *corev1.Secret) error {
	if want == nil {
		return nil
	}
	write := t.secrets.Create
	if have := namespace.Secrets.Get(namespace.Name, want.Name); have != nil {
		want.ResourceVersion = have.ResourceVersion
		write = t.secrets.Update
	}
	stored, err := write(ctx, want)
	if err != nil {
		return err
	}
	namespace.Secrets.Put(stored)
	return nil
}

// Remove deletes the pod's Secret: tokens die with their pod.
func (t *tokens) Remove(ctx context.Context, namespace *namespaces.Namespace, have *corev1.Secret) error {
	if err := t.secrets.Delete(ctx, have); err != nil {
		return err
	}
	namespace.Secrets.Drop(have)
	return nil
}
