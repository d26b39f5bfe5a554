package podsecret

import (
	"context"
	"maps"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/cluster"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/namespaces"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/queue"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

const (
	// A kubelet renews a token at 80% of its granted lifetime, after 24 h at the
	// latest, and up to ten seconds earlier so that nodes do not do so
	// simultaneously.
	// https://github.com/kubernetes/kubernetes/blob/v1.37.1/pkg/kubelet/token/token_manager.go
	renewFraction = 0.8
	renewMaxAge   = 24 * time.Hour
	renewJitter   = 10 * time.Second

	// requestsAtOnce is how many tokens akd requests at a time, and podRequestsAtOnce
	// how many of them for one pod. An API server's fairness allows a node few
	// concurrent requests; akd's others must not wait behind one pod's.
	requestsAtOnce    = 32
	podRequestsAtOnce = 8
)

// Manager keeps, per pod, one remote Secret with the local service account
// tokens, the local trust anchors and the pod's own certificates that the pod
// mounts.
type Manager struct {
	Config

	secrets  cluster.Writer[*corev1.Secret]
	requests *semaphore.Weighted

	mu sync.Mutex
	// tooLarge has the size of the tokens of each pod whose Secret is too large, so
	// that they are not requested again in vain.
	tooLarge map[types.UID]int
	// refused has the pods whose tokens were refused at last, and not only because an
	// API server did not know the pod yet.
	refused map[types.UID]bool
}

// Config configures a Manager.
type Config struct {
	Local        *cluster.Local
	Remote       *cluster.Remote
	Bundles      *Bundles
	Certificates *Certificates
	Queue        queue.Adder
	Clock        clock.PassiveClock
	Count        func(error) // called for each renewal, with nil or the reason for its failure
}

// New returns a Manager.
func New(config Config) *Manager {
	return &Manager{
		Config:   config,
		secrets:  config.Remote.SecretWriter(),
		requests: semaphore.NewWeighted(requestsAtOnce),
		tooLarge: map[types.UID]int{},
		refused:  map[types.UID]bool{},
	}
}

// Forget drops what is known of a deleted pod.
func (m *Manager) Forget(pod types.UID) {
	m.Certificates.Forget(pod)
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.tooLarge, pod)
	delete(m.refused, pod)
}

// Ensure makes the Secret hold valid tokens, the current bundles and the issued
// certificates, and queues the pod again for the next renewal. It returns false
// until the local cluster's bundles have been read; the pod is then queued
// again.
func (m *Manager) Ensure(ctx context.Context, namespace *namespaces.Namespace, pod *corev1.Pod) (bool, error) {
	want, ready, err := m.Prepare(ctx, namespace, pod)
	if err != nil || !ready {
		return false, err
	}
	if err := m.Store(ctx, namespace, want); err != nil {
		return false, err
	}
	return true, nil
}

// Prepare is Ensure without the write: it returns the Secret to store, or nil
// if the Secret is up to date.
func (m *Manager) Prepare(
	ctx context.Context, namespace *namespaces.Namespace, pod *corev1.Pod,
) (want *corev1.Secret, ready bool, err error) {
	needs := namespace.Site.NeedsOf(pod)
	if len(needs.Tokens)+len(needs.Bundles)+len(needs.Certificates) == 0 {
		return nil, true, nil
	}
	files, read, err := m.Bundles.files(needs.Bundles)
	if err != nil || !read {
		return nil, false, err
	}
	have := namespace.Secrets.Get(namespace.Name, contract.TokenSecretName(pod.UID))
	credentials, again, err := m.Certificates.credentials(ctx, pod, needs.Certificates, have)
	if err != nil {
		return nil, false, err
	}
	if have != nil {
		if renew, fresh := m.fresh(have, needs.Tokens); fresh {
			want = namespace.Site.PodSecret(pod, files, renew, credentials)
			if translate.HoldsTokens(have, want, needs.Tokens) {
				m.comeBack(pod, earliest(renew, again), credentials)
				return nil, true, nil
			}
		}
	}
	if refusal := m.checkSize(pod, namespace.Site.PodSecret(pod, files, time.Time{}, credentials), nil); refusal != nil {
		return nil, false, refusal
	}
	tokens, renew, err := m.request(ctx, pod, needs.Tokens)
	if err != nil {
		return nil, false, err
	}
	if files == nil {
		files = map[string]string{}
	}
	maps.Copy(files, tokens)
	want = namespace.Site.PodSecret(pod, files, renew, credentials)
	if refusal := m.checkSize(pod, want, tokens); refusal != nil {
		return nil, false, refusal
	}
	m.comeBack(pod, earliest(renew, again), credentials)
	return want, true, nil
}

// checkSize returns a *Refusal if the Secret is too large, or nil. Without its
// tokens, the Secret lacks them, and counts those that made it too large before.
func (m *Manager) checkSize(pod *corev1.Pod, secret *corev1.Secret, tokens map[string]string) *translate.Refusal {
	m.mu.Lock()
	defer m.mu.Unlock()
	if tokens == nil {
		return translate.SecretTooLarge(secret, m.tooLarge[pod.UID])
	}
	refusal := translate.SecretTooLarge(secret, 0)
	if refusal == nil {
		delete(m.tooLarge, pod.UID)
		return nil
	}
	m.tooLarge[pod.UID] = 0
	for _, token := range tokens {
		m.tooLarge[pod.UID] += len(token)
	}
	return refusal
}

// comeBack queues the pod for renew, or for when a certificate is due before.
func (m *Manager) comeBack(pod *corev1.Pod, renew time.Time, credentials map[string]*translate.Credential) {
	for _, credential := range credentials {
		renew = earliest(renew, credential.Refresh)
	}
	if renew.IsZero() {
		return
	}
	wait := renew.Sub(m.Clock.Now())
	if wait <= 0 {
		wait = requestInterval // a certificate is overdue and has been requested
	}
	m.Queue.AddAfter(queue.Pod.Key(pod.Namespace, pod.Name), wait)
}

// fresh returns when to renew the Secret's tokens. fresh is false if that time
// has passed or is missing. If the pod mounts no tokens, there is no such time,
// and fresh is true.
func (m *Manager) fresh(have *corev1.Secret, wanted []translate.Token) (renew time.Time, fresh bool) {
	if len(wanted) == 0 {
		return time.Time{}, true
	}
	renew, ok := translate.RenewAfter(have)
	return renew, ok && renew.After(m.Clock.Now())
}

// request requests all tokens, some at a time, and returns when to renew them. It
// requests all of them whenever the Secret has to be written, because akd does
// not keep those in it. Like a kubelet, it requests equal tokens once.
// https://github.com/kubernetes/kubernetes/blob/v1.37.1/pkg/kubelet/token/token_manager.go (keyFunc)
func (m *Manager) request(ctx context.Context, pod *corev1.Pod, wanted []translate.Token) (map[string]string, time.Time, error) {
	data := make(map[string]string, len(wanted))
	if len(wanted) == 0 {
		return data, time.Time{}, nil
	}
	requested := m.Clock.Now()
	known := m.wasRefused(pod.UID)
	distinct := translate.DistinctTokens(wanted)
	granted := make([]*authenticationv1.TokenRequestStatus, len(distinct))
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(podRequestsAtOnce)
	for i, same := range distinct {
		group.Go(func() (err error) {
			if err := m.requests.Acquire(groupCtx, 1); err != nil {
				return err
			}
			defer m.requests.Release(1)
			granted[i], err = m.Local.RequestToken(groupCtx, pod, same[0], known)
			return err
		})
	}
	err := group.Wait()
	m.answered(pod.UID, err)
	m.Count(err)
	if err != nil {
		return nil, time.Time{}, err
	}
	renew := requested.Add(renewMaxAge)
	for i, same := range distinct {
		for _, token := range same {
			data[token.Key] = granted[i].Token
		}
		lifetime := granted[i].ExpirationTimestamp.Sub(requested)
		if due := requested.Add(time.Duration(float64(lifetime) * renewFraction)); due.Before(renew) {
			renew = due
		}
	}
	// Jitter spreads load; nothing secret depends on it.
	return data, renew.Add(-rand.N(renewJitter)), nil //nolint:gosec // see above
}

// wasRefused reports whether a pod's tokens were refused at last.
func (m *Manager) wasRefused(pod types.UID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.refused[pod]
}

// answered notes whether a pod's tokens were refused.
func (m *Manager) answered(pod types.UID, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if apierrors.IsForbidden(err) || apierrors.IsNotFound(err) {
		m.refused[pod] = true
	} else if err == nil {
		delete(m.refused, pod)
	}
}

// Store writes the Secret that Prepare returned.
func (m *Manager) Store(ctx context.Context, namespace *namespaces.Namespace, want *corev1.Secret) error {
	if want == nil {
		return nil
	}
	write := m.secrets.Create
	if have := namespace.Secrets.Get(namespace.Name, want.Name); have != nil {
		want.ResourceVersion = have.ResourceVersion
		write = m.secrets.Update
	}
	stored, err := write(ctx, want)
	if err != nil {
		return err
	}
	namespace.Secrets.Put(stored)
	return nil
}

// Remove deletes the pod's Secret: tokens end with their pod.
func (m *Manager) Remove(ctx context.Context, namespace *namespaces.Namespace, have *corev1.Secret) error {
	if err := m.secrets.Delete(ctx, have); err != nil {
		return err
	}
	namespace.Secrets.Drop(have)
	return nil
}
