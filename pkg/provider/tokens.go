package provider

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/errgroup"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/clock"

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
// tokens that the pod mounts.
type tokens struct {
	site   *translate.Site
	local  *localCluster
	remote *remoteCluster
	queue  queue
	clock  clock.PassiveClock
	count  func(result string) // counts renewals, "success" or "error"
}

// ensure makes the Secret hold valid tokens, and queues the pod again for when
// they are to be renewed.
func (t *tokens) ensure(ctx context.Context, space *space, pod *corev1.Pod) error {
	wanted := translate.NeedsOf(pod).Tokens
	if len(wanted) == 0 {
		return nil
	}
	have := space.secrets.get(space.remote, translate.TokenSecretName(pod.UID))
	if have != nil && holds(have, wanted) {
		if renew, ok := translate.RenewAfter(have); ok && renew.After(t.clock.Now()) {
			t.queue.AddAfter(key{kindPod, pod.Namespace, pod.Name}, renew.Sub(t.clock.Now()))
			return nil
		}
	}
	err := t.write(ctx, space, pod, wanted)
	if err != nil {
		t.count("error")
		return err
	}
	t.count("success")
	return nil
}

// holds reports whether the Secret has a token for each that is wanted.
func holds(secret *corev1.Secret, wanted []translate.Token) bool {
	for _, token := range wanted {
		if len(secret.Data[token.Key]) == 0 {
			return false
		}
	}
	return true
}

func (t *tokens) write(ctx context.Context, space *space, pod *corev1.Pod, wanted []translate.Token) error {
	asked := t.clock.Now()
	granted := make([]*authenticationv1.TokenRequestStatus, len(wanted))
	group, groupCtx := errgroup.WithContext(ctx)
	for i, want := range wanted {
		group.Go(func() (err error) {
			granted[i], err = t.local.token(groupCtx, pod, want)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
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
	renew = renew.Add(-rand.N(renewJitter)) //nolint:gosec // see above
	if err := t.store(ctx, space, t.site.TokenSecret(pod, data, renew)); err != nil {
		return err
	}
	t.queue.AddAfter(key{kindPod, pod.Namespace, pod.Name}, renew.Sub(t.clock.Now()))
	return nil
}

func (t *tokens) store(ctx context.Context, space *space, want *corev1.Secret) error {
	writer := t.remote.secretWriter()
	have := space.secrets.get(space.remote, want.Name)
	write, verb := writer.create, "create"
	if have != nil {
		want.ResourceVersion = have.ResourceVersion
		write, verb = writer.update, "update"
	}
	stored, err := write(ctx, want)
	if err != nil {
		return fmt.Errorf("%s remote token secret %s/%s: %w", verb, want.Namespace, want.Name, err)
	}
	space.secrets.put(stored)
	return nil
}

// remove deletes the pod's Secret: tokens die with their pod.
func (t *tokens) remove(ctx context.Context, space *space, have *corev1.Secret) error {
	err := t.remote.secretWriter().remove(ctx, have.Namespace, have.Name, deleteExactly(have.UID))
	if err != nil && !gone(err) {
		return fmt.Errorf("delete remote token secret %s/%s: %w", have.Namespace, have.Name, err)
	}
	space.secrets.drop(have)
	return nil
}
