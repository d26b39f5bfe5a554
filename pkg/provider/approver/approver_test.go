package approver

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/actual-kubelets/actual-kubelets/pkg/internal/servingrequest"
)

const signer = "example.com/serving"

// akd is a pod of node vk's akd with an address.
func akd(name, address string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name:            name,
			Namespace:       "actual-system",
			Labels:          map[string]string{"app.kubernetes.io/name": "akd", "actual.vk/node-name": "vk"},
			OwnerReferences: []metav1.OwnerReference{{Kind: "ReplicaSet", Name: "vk", Controller: new(true)}},
		},
		Spec:   corev1.PodSpec{NodeName: "worker", ServiceAccountName: "vk"},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIPs: []corev1.PodIP{{IP: address}}},
	}
}

// request is one that the node of that name makes for an address.
func request(t *testing.T, name, node, address string) *certificatesv1.CertificateSigningRequest {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	content, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject:     pkix.Name{CommonName: "system:node:" + node, Organization: []string{"system:nodes"}},
		DNSNames:    []string{node},
		IPAddresses: []net.IP{net.ParseIP(address)},
	}, key)
	if err != nil {
		t.Fatal(err)
	}
	return &certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name)},
		Spec: certificatesv1.CertificateSigningRequestSpec{
			Username:   "system:node:" + node,
			Groups:     []string{"system:nodes"},
			SignerName: signer,
			Usages:     []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageServerAuth},
			Request:    pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: content}),
		},
	}
}

// newClient returns a fake client whose watches give copies away, as real ones do. The
// fake's own watch, begun after its list, gives the stored object itself to who trims it
// (client-go's testing/fixture.go, tracker.Watch).
func newClient(objects ...runtime.Object) *fake.Clientset {
	client := fake.NewClientset(objects...)
	client.PrependWatchReactor("*", func(action clienttesting.Action) (bool, watch.Interface, error) {
		options := action.(clienttesting.WatchActionImpl).ListOptions
		events, err := client.Tracker().Watch(action.GetResource(), action.GetNamespace(), options)
		if err != nil {
			return true, nil, err
		}
		return true, watch.Filter(events, func(e watch.Event) (watch.Event, bool) {
			e.Object = e.Object.DeepCopyObject()
			return e, true
		}), nil
	})
	return client
}

// log is a log that can be read while somebody writes it.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *log) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), text)
}

// start runs an approver of node vk until the test ends.
func start(t *testing.T, client *fake.Clientset, clock clock.Clock) (*Approver, *log) {
	t.Helper()
	written := &log{}
	a, err := New(Config{
		Server: servingrequest.Server{Node: "vk", Hostname: "vk", Signer: signer},
		Client: client,
		Clock:  clock,
		Logger: slog.New(slog.NewTextHandler(written, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := a.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); running.Wait() })
	return a, written
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), 5*time.Millisecond, 10*time.Second, true,
		func(context.Context) (bool, error) { return is(), nil })
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func approved(t *testing.T, client *fake.Clientset, name string) bool {
	t.Helper()
	found, err := client.CertificatesV1().CertificateSigningRequests().Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return len(found.Status.Conditions) == 1 && found.Status.Conditions[0].Type == certificatesv1.CertificateApproved
}

// After akd has moved, its request for the new address is approved; one for somebody
// else's address, and those of other nodes, are left alone.
func TestApprovesAKDsOwnAddress(t *testing.T) {
	client := newClient(akd("vk-1", "192.0.2.5"),
		request(t, "first", "vk", "192.0.2.5"), request(t, "foreign", "vk", "192.0.2.1"), request(t, "other", "other", "192.0.2.5"))
	_, written := start(t, client, clock.RealClock{})
	eventually(t, "akd's request is approved", func() bool { return approved(t, client, "first") })
	eventually(t, "the foreign one is logged", func() bool { return written.count("request=foreign") == 1 })

	pods, requests := client.CoreV1().Pods("actual-system"), client.CertificatesV1().CertificateSigningRequests()
	if _, err := requests.Create(t.Context(), request(t, "second", "vk", "192.0.2.6"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the request that is too early is logged", func() bool { return written.count("request=second") == 1 })
	if _, err := pods.Create(t.Context(), akd("vk-2", "192.0.2.6"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the request is approved when akd's pod has its address", func() bool { return approved(t, client, "second") })
	for _, name := range []string{"foreign", "other"} {
		if approved(t, client, name) {
			t.Errorf("%s was approved", name)
		}
	}
	if n := written.count("request=other"); n > 0 {
		t.Errorf("the other node's request was logged %d times", n)
	}
}

// A request that is not right stays for a day: it must not fill the log.
func TestLogsAReasonOnce(t *testing.T) {
	client := newClient(akd("vk-1", "192.0.2.5"), request(t, "foreign", "vk", "192.0.2.1"))
	a, written := start(t, client, clock.RealClock{})
	eventually(t, "it is logged", func() bool { return written.count("request=foreign") == 1 })
	for _, name := range []string{"a", "b", "c"} {
		own := request(t, name, "vk", "192.0.2.5")
		if _, err := client.CertificatesV1().CertificateSigningRequests().Create(t.Context(), own, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "another round is made", func() bool { return approved(t, client, name) })
	}
	if n := written.count("request=foreign"); n != 1 {
		t.Errorf("logged %d times", n)
	}
	if err := a.CheckReady(t.Context()); err != nil {
		t.Error(err)
	}
}

// The cache may not know yet that akd's pod has gone and another pod has its address.
func TestAsksForTheAddresses(t *testing.T) {
	client := newClient()
	stale := make(chan struct{})
	client.PrependReactor("list", "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
		select {
		case <-stale:
			return false, nil, nil
		default:
			close(stale)
			return true, &corev1.PodList{Items: []corev1.Pod{*akd("vk-1", "192.0.2.5")}}, nil
		}
	})
	client.PrependWatchReactor("pods", func(clienttesting.Action) (bool, watch.Interface, error) { return true, watch.NewFake(), nil })
	a, written := start(t, client, clock.RealClock{})
	eventually(t, "the cache has a pod", func() bool { return a.pods.Len() == 1 })
	own := request(t, "first", "vk", "192.0.2.5")
	if _, err := client.CertificatesV1().CertificateSigningRequests().Create(t.Context(), own, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is left", func() bool { return written.count("akd's pods have no address") == 1 })
	if approved(t, client, "first") {
		t.Error("approved by what the cache said")
	}
}

// An API server ends every watch after some minutes: the next one must begin.
func TestWatchesBeginAnew(t *testing.T) {
	client := newClient(akd("vk-1", "192.0.2.5"))
	ended := watch.NewFake()
	var once sync.Once
	client.PrependWatchReactor("certificatesigningrequests", func(clienttesting.Action) (handled bool, events watch.Interface, err error) {
		once.Do(func() { handled, events = true, ended })
		return handled, events, nil
	})
	a, _ := start(t, client, clock.RealClock{})
	eventually(t, "the first watch has begun", func() bool { return a.requests.HasSynced() })
	own := request(t, "first", "vk", "192.0.2.5")
	if _, err := client.CertificatesV1().CertificateSigningRequests().Create(t.Context(), own, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	ended.Stop()
	eventually(t, "the request is seen and approved", func() bool { return approved(t, client, "first") })
}

// An API server that refuses is asked again, and the probes say so meanwhile.
func TestTriesAgain(t *testing.T) {
	client := newClient(akd("vk-1", "192.0.2.5"), request(t, "first", "vk", "192.0.2.5"))
	var mu sync.Mutex
	refuses := true
	client.PrependReactor("update", "certificatesigningrequests", func(clienttesting.Action) (bool, runtime.Object, error) {
		mu.Lock()
		defer mu.Unlock()
		if refuses {
			return true, nil, errors.New("etcd is away")
		}
		return false, nil, nil
	})
	fakeClock := clocktesting.NewFakeClock(time.Now())
	_, written := start(t, client, fakeClock)
	eventually(t, "the failure is logged", func() bool { return written.count("etcd is away") > 0 && fakeClock.HasWaiters() })
	mu.Lock()
	refuses = false
	mu.Unlock()
	fakeClock.Step(longestPause)
	eventually(t, "it is approved", func() bool { return approved(t, client, "first") })
}

// The probes tell a watch that is refused from one that works, and one that nothing
// keeps going.
func TestProbes(t *testing.T) {
	client := newClient()
	var mu sync.Mutex
	refuses := true
	client.PrependReactor("list", "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
		mu.Lock()
		defer mu.Unlock()
		if refuses {
			return true, nil, errors.New("no rights yet")
		}
		return false, nil, nil
	})
	fakeClock := clocktesting.NewFakeClock(time.Now())
	a, _ := start(t, client, fakeClock)
	eventually(t, "it says why it is not ready", func() bool {
		err := a.CheckReady(t.Context())
		return err != nil && strings.Contains(err.Error(), "watch akd's pods: no rights yet")
	})
	mu.Lock()
	refuses = false
	mu.Unlock()
	eventually(t, "it is ready", func() bool { return a.CheckReady(t.Context()) == nil })
	if err := a.CheckLive(t.Context()); err != nil {
		t.Errorf("live: %v", err)
	}
	fakeClock.Step(longestWatch + time.Second)
	if err := a.CheckLive(t.Context()); err == nil {
		t.Error("it is live, and no watch has begun anew")
	}
}
