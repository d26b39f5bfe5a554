package podsecret

import (
	"context"
	"fmt"
	mathrand "math/rand/v2"
	"sync"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"

	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/cluster"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/store"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

const (
	// requestInterval is the minimum interval between requests for one
	// certificate, whatever refresh time its signer sets.
	requestInterval = time.Minute
	// A kubelet refreshes a certificate up to five minutes later than its signer
	// requests, so that nodes do not do so simultaneously.
	// https://github.com/kubernetes/kubernetes/blob/v1.37.1/pkg/kubelet/podcertificate/podcertificatemanager.go
	refreshJitter = 5 * time.Minute
)

// Certificates requests the pods' own certificates from signers of the local
// cluster, as a kubelet does, with keys that akd generates. It keeps pending
// requests only in memory: after a restart, it requests them again.
type Certificates struct {
	local    *cluster.Local
	recorder record.EventRecorder
	clock    clock.PassiveClock
	requests *store.Lazy[*certificatesv1.PodCertificateRequest]
	keys     *keyMaker

	mu      sync.Mutex
	pending map[types.UID]map[string]*pendingCertificate // by pod and key
}

// pendingCertificate is a request that is pending, or was denied or failed,
// which is final for its pod.
type pendingCertificate struct {
	name       string // of the request
	privateKey string // PEM, PKCS#8
	created    time.Time
	jitter     time.Duration
	refused    bool
}

// NewCertificates returns a Certificates that calls changed for a pod when one
// of its requests has changed or one of its keys has been made.
func NewCertificates(
	local *cluster.Local, recorder record.EventRecorder, clock clock.PassiveClock, changed func(namespace, pod string),
) *Certificates {
	return &Certificates{
		local:    local,
		recorder: recorder,
		clock:    clock,
		requests: store.NewLazy(local.CertificateRequests, store.Handlers[*certificatesv1.PodCertificateRequest]{
			Changed: func(c store.Change[*certificatesv1.PodCertificateRequest]) {
				request := c.Object()
				changed(request.Namespace, request.Spec.PodName)
			},
		}),
		keys:    newKeyMaker(changed),
		pending: map[types.UID]map[string]*pendingCertificate{},
	}
}

// Need starts the watch of requests, unless it has started already.
func (c *Certificates) Need() { c.requests.Need() }

// Run makes keys and, once they are needed, watches requests until ctx ends.
func (c *Certificates) Run(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { c.keys.Run(ctx) })
	c.requests.Run(ctx)
}

// Forget drops the keys and pending requests of a deleted pod.
func (c *Certificates) Forget(pod types.UID) {
	c.keys.forget(pod)
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.pending, pod)
}

// credentials returns the available certificates: those in the pod's Secret,
// and newly issued ones. It requests those that are missing or due, without
// waiting: the answer to a request queues its pod, and so does its deletion.
// again is when a certificate can next be requested whose request was deleted.
func (c *Certificates) credentials(
	ctx context.Context, pod *corev1.Pod, wanted []translate.Certificate, secret *corev1.Secret,
) (found map[string]*translate.Credential, again time.Time, err error) {
	found = map[string]*translate.Credential{}
	for _, want := range wanted {
		held := translate.HeldCredential(secret, want.Key)
		if held == nil || !held.Refresh.After(c.clock.Now()) {
			issued, ok, err := c.advance(ctx, pod, want)
			if err != nil {
				return nil, time.Time{}, err
			}
			if ok {
				held = issued
			}
			again = earliest(again, c.whenAgain(pod, want.Key))
		}
		if held != nil {
			found[want.Key] = held
		}
	}
	return found, again, nil
}

// earliest returns the earlier time. The zero time is none.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// whenAgain returns when a certificate can be requested again, if its request was deleted.
func (c *Certificates) whenAgain(pod *corev1.Pod, key string) time.Time {
	pending := c.pendingFor(pod.UID, key)
	if pending == nil || pending.refused || c.requests.Get(pod.Namespace, pending.name) != nil {
		return time.Time{}
	}
	return pending.created.Add(requestInterval)
}

// advance takes the next step towards a certificate. It is issued once ok.
func (c *Certificates) advance(
	ctx context.Context, pod *corev1.Pod, want translate.Certificate,
) (issued *translate.Credential, ok bool, err error) {
	pending := c.pendingFor(pod.UID, want.Key)
	if pending == nil {
		return nil, false, c.request(ctx, pod, want)
	}
	if pending.refused {
		return nil, false, nil
	}
	age := c.clock.Since(pending.created)
	request := c.requests.Get(pod.Namespace, pending.name)
	if request == nil {
		// It was deleted, or lost when a backup was restored: it was in the cache since its creation.
		if age < requestInterval {
			return nil, false, nil
		}
		return nil, false, c.request(ctx, pod, want)
	}
	for _, condition := range request.Status.Conditions {
		switch condition.Type {
		case certificatesv1.PodCertificateRequestConditionTypeIssued:
			issued := pending.issued(request)
			if issued.Refresh.After(c.clock.Now()) || age < requestInterval {
				return issued, true, nil
			}
			return issued, true, c.request(ctx, pod, want)
		case certificatesv1.PodCertificateRequestConditionTypeDenied, certificatesv1.PodCertificateRequestConditionTypeFailed:
			c.refuse(pod, pending, &condition)
		}
	}
	return nil, false, nil
}

// issued returns the certificate of an answered request. The request is kept
// until the next one, so that a certificate whose remote write failed is
// written the next time.
func (p *pendingCertificate) issued(request *certificatesv1.PodCertificateRequest) *translate.Credential {
	credential := &translate.Credential{PrivateKey: p.privateKey, Chain: translate.CleanChain(request.Status.CertificateChain)}
	if begin := request.Status.BeginRefreshAt; begin != nil {
		credential.Refresh = begin.Add(p.jitter)
	}
	return credential
}

// refuse records an event on the pod, once, that there will be no certificate.
func (c *Certificates) refuse(pod *corev1.Pod, pending *pendingCertificate, condition *metav1.Condition) {
	if pending.refused {
		return
	}
	pending.refused = true
	c.recorder.Eventf(pod, corev1.EventTypeWarning, condition.Type, "PodCertificateRequest %s/%s: %s: %s",
		pod.Namespace, pending.name, condition.Reason, condition.Message)
}

// request requests a certificate, once there is a key for it.
func (c *Certificates) request(ctx context.Context, pod *corev1.Pod, want translate.Certificate) error {
	key, made := c.keys.key(keyJob{pod: pod.UID, namespace: pod.Namespace, name: pod.Name, kind: want.KeyType}, want.Key)
	if !made {
		return nil
	}
	if key.err != nil {
		return fmt.Errorf("make a key of type %s for a certificate of local pod %s/%s: %w", want.KeyType, pod.Namespace, pod.Name, key.err)
	}
	created, err := c.local.RequestCertificate(ctx, pod, want, key.proof)
	if err != nil {
		return err
	}
	// Jitter spreads load; nothing secret depends on it.
	jitter := mathrand.N(refreshJitter) //nolint:gosec // see above
	c.set(pod.UID, want.Key, &pendingCertificate{name: created.Name, privateKey: key.private, created: c.clock.Now(), jitter: jitter})
	c.keys.drop(pod.UID, want.Key)
	c.requests.Put(created)
	return nil
}

func (c *Certificates) pendingFor(pod types.UID, key string) *pendingCertificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pending[pod][key]
}

func (c *Certificates) set(pod types.UID, key string, pending *pendingCertificate) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pending[pod] == nil {
		c.pending[pod] = map[string]*pendingCertificate{}
	}
	c.pending[pod][key] = pending
}
