package podsecret

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// keyMaker makes private keys outside the workers: an RSA key of 4096 bits takes
// seconds, and a pod may want several. RSA keys and others are made one at a time
// each, so that they take no more than two processors and a fast key never waits
// for a slow one. Namespaces take turns.
type keyMaker struct {
	generate func(kind string) madeKey
	// ready is called for a pod when one of its keys has been made.
	ready func(namespace, pod string)

	rsa, others *keyLane

	mu   sync.Mutex
	jobs map[types.UID]map[string]*keyJob // by pod and key of the certificate
}

// madeKey is a private key, in PEM, and the proof that akd holds it.
type madeKey struct {
	private string
	proof   []byte
	err     error
}

// keyJob is a key that is wanted, or has been made.
type keyJob struct {
	pod             types.UID
	namespace, name string // of the pod
	kind            string
	done            bool
	made            madeKey
}

func newKeyMaker(ready func(namespace, pod string)) *keyMaker {
	return &keyMaker{
		generate: newKey,
		ready:    ready,
		rsa:      newKeyLane(),
		others:   newKeyLane(),
		jobs:     map[types.UID]map[string]*keyJob{},
	}
}

// Run makes keys until ctx ends, and returns once the last one has been made.
func (m *keyMaker) Run(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	for _, lane := range []*keyLane{m.rsa, m.others} {
		running.Go(func() {
			for job := lane.next(ctx); job != nil; job = lane.next(ctx) {
				m.make(job)
			}
		})
	}
}

func (m *keyMaker) make(job *keyJob) {
	m.mu.Lock()
	_, wanted := m.jobs[job.pod]
	m.mu.Unlock()
	if !wanted {
		return
	}
	made := m.generate(job.kind)
	m.mu.Lock()
	job.made, job.done = made, true
	m.mu.Unlock()
	m.ready(job.namespace, job.name)
}

// key returns the key for a certificate of a pod, and false until it has been
// made. It stays the same until drop, so that a request that failed is repeated
// with it.
func (m *keyMaker) key(want keyJob, certificate string) (madeKey, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if job := m.jobs[want.pod][certificate]; job != nil {
		return job.made, job.done
	}
	if m.jobs[want.pod] == nil {
		m.jobs[want.pod] = map[string]*keyJob{}
	}
	m.jobs[want.pod][certificate] = &want
	lane := m.others
	if strings.HasPrefix(want.kind, "RSA") {
		lane = m.rsa
	}
	lane.add(&want)
	return madeKey{}, false
}

// drop forgets a key that is in use.
func (m *keyMaker) drop(pod types.UID, certificate string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.jobs[pod], certificate)
	if len(m.jobs[pod]) == 0 {
		delete(m.jobs, pod)
	}
}

// forget drops the keys of a deleted pod, and makes no more for it.
func (m *keyMaker) forget(pod types.UID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.jobs, pod)
}

// keyLane is a queue of jobs in which namespaces take turns.
type keyLane struct {
	wake chan struct{}

	mu    sync.Mutex
	turns []string // namespaces with jobs, except last
	last  string   // the namespace of the last job
	jobs  map[string][]*keyJob
}

func newKeyLane() *keyLane {
	return &keyLane{wake: make(chan struct{}, 1), jobs: map[string][]*keyJob{}}
}

func (l *keyLane) add(job *keyJob) {
	l.mu.Lock()
	if len(l.jobs[job.namespace]) == 0 && job.namespace != l.last {
		l.turns = append(l.turns, job.namespace)
	}
	l.jobs[job.namespace] = append(l.jobs[job.namespace], job)
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default: // next is already notified
	}
}

// next waits for the next job. It returns nil once ctx ends.
func (l *keyLane) next(ctx context.Context) *keyJob {
	for ctx.Err() == nil {
		if job := l.take(); job != nil {
			return job
		}
		select {
		case <-ctx.Done():
		case <-l.wake:
		}
	}
	return nil
}

func (l *keyLane) take() *keyJob {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.jobs[l.last]) > 0 {
		l.turns = append(l.turns, l.last)
	}
	l.last = ""
	if len(l.turns) == 0 {
		return nil
	}
	l.last, l.turns = l.turns[0], l.turns[1:]
	job := l.jobs[l.last][0]
	if l.jobs[l.last] = l.jobs[l.last][1:]; len(l.jobs[l.last]) == 0 {
		delete(l.jobs, l.last)
	}
	return job
}

// newKey generates a private key, in PEM, of one of the types in the API, and
// the empty certificate request that proves akd's possession of it.
func newKey(kind string) madeKey {
	var (
		key crypto.Signer
		err error
	)
	switch kind {
	case "RSA3072":
		key, err = rsa.GenerateKey(rand.Reader, 3072)
	case "RSA4096":
		key, err = rsa.GenerateKey(rand.Reader, 4096)
	case "ECDSAP256":
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ECDSAP384":
		key, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ECDSAP521":
		key, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "ED25519":
		_, key, err = ed25519.GenerateKey(rand.Reader)
	default:
		err = fmt.Errorf("unknown key type %q", kind)
	}
	if err != nil {
		return madeKey{err: err}
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return madeKey{err: err}
	}
	proof, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	return madeKey{string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), proof, err}
}
