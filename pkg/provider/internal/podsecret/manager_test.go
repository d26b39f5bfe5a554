package podsecret

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/cluster"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/namespaces"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/queue"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/store"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

// tokenServer is an API server that grants tokens and nothing else.
type tokenServer struct {
	size  int // of each token
	total atomic.Int32
	now   atomic.Int32 // requests that are being served

	mu   sync.Mutex
	most int32 // requests at a time
	once sync.Once
	full chan struct{} // closed when podRequestsAtOnce requests are being served
}

// ServeHTTP implements http.Handler. It answers nobody before the allowed number
// of requests is there, so that any further one would be seen.
func (s *tokenServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.total.Add(1)
	now := s.now.Add(1)
	defer s.now.Add(-1)
	s.mu.Lock()
	s.most = max(s.most, now)
	s.mu.Unlock()
	if now >= podRequestsAtOnce {
		s.once.Do(func() { close(s.full) })
	}
	<-s.full
	var request authenticationv1.TokenRequest
	if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	request.Status = authenticationv1.TokenRequestStatus{
		Token:               strings.Repeat("t", s.size) + fmt.Sprint(request.Spec.Audiences, *request.Spec.ExpirationSeconds),
		ExpirationTimestamp: metav1.NewTime(time.Now().Add(time.Hour)),
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	if err := json.NewEncoder(w).Encode(&request); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

type noQueue struct{}

func (noQueue) Add(queue.Key) {}

func (noQueue) AddAfter(queue.Key, time.Duration) {}

func newTestManager(t *testing.T, s *tokenServer) *Manager {
	t.Helper()
	s.full = make(chan struct{})
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	plain := rest.ContentConfig{ContentType: runtime.ContentTypeJSON}
	client, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL, QPS: -1, ContentConfig: plain})
	if err != nil {
		t.Fatal(err)
	}
	local := cluster.NewLocal(cluster.Clients{Node: client}, "node")
	return New(Config{
		Local:        local,
		Remote:       cluster.NewRemote(client, contract.Owner{Node: "node", ClusterUID: "c"}),
		Bundles:      NewBundles(local, func() {}),
		Certificates: NewCertificates(local, nil, clock.RealClock{}, func(string, string) {}),
		Queue:        noQueue{},
		Clock:        clock.RealClock{},
		Count:        func(error) {},
	})
}

// podWithTokens returns a pod that mounts a token for each audience.
func podWithTokens(audiences ...string) *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "web", UID: "u"}}
	projected := &corev1.ProjectedVolumeSource{}
	for i, audience := range audiences {
		projected.Sources = append(projected.Sources, corev1.VolumeProjection{
			ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Audience: audience, Path: fmt.Sprint(i)},
		})
	}
	pod.Spec.Volumes = []corev1.Volume{{Name: "tokens", VolumeSource: corev1.VolumeSource{Projected: projected}}}
	return pod
}

func newNamespace() *namespaces.Namespace {
	mapper := &translate.Mapper{Owner: contract.Owner{Node: "node", ClusterUID: "c"}}
	return &namespaces.Namespace{Local: "ns", Name: "remote", Site: mapper.In("remote"), Secrets: store.New(store.Handlers[*corev1.Secret]{})}
}

// audiences returns n of them, each repeated.
func audiences(n, repeated int) []string {
	var all []string
	for range repeated {
		for i := range n {
			all = append(all, fmt.Sprintf("audience-%04d", i))
		}
	}
	return all
}

// One pod with two thousand token sources sent as many requests at once, and the
// API server's fairness refused those of other pods. A kubelet requests equal
// tokens once.
func TestTokensOfOnePod(t *testing.T) {
	t.Parallel()
	s := &tokenServer{}
	const distinct, repeated = 100, 10
	want, ready, err := newTestManager(t, s).Prepare(t.Context(), newNamespace(), podWithTokens(audiences(distinct, repeated)...))
	if err != nil || !ready || len(want.Data) != distinct*repeated {
		t.Fatalf("prepared %v, ready %t: %v", want, ready, err)
	}
	if total, most := s.total.Load(), s.most; total != distinct || most > podRequestsAtOnce {
		t.Errorf("%d requests, %d at a time; want %d and at most %d", total, most, distinct, podRequestsAtOnce)
	}
	for key, token := range want.Data {
		var source int
		if _, err := fmt.Sscanf(key, "tokens.%d", &source); err != nil || string(token) != fmt.Sprintf("[audience-%04d] 3600", source%distinct) {
			t.Errorf("%s holds %s", key, token)
		}
	}
}

// A Secret of more than 1 MiB was written again and again, with new tokens each
// time, and nobody was told.
func TestSecretTooLarge(t *testing.T) {
	t.Parallel()
	s := &tokenServer{size: 100_000}
	m, pod := newTestManager(t, s), podWithTokens(audiences(20, 1)...)
	for range 3 {
		_, _, err := m.Prepare(t.Context(), newNamespace(), pod)
		refusal, ok := errors.AsType[*translate.Refusal](err)
		if !ok || refusal.Reason != translate.ReasonPodSecretTooLarge || !strings.Contains(refusal.Message, "20004") {
			t.Fatalf("error %v, want a refusal with the size", err)
		}
	}
	if total := s.total.Load(); total != 20 {
		t.Errorf("%d requests for tokens of a pod that is refused, want 20", total)
	}
	m.Forget(pod.UID)
	if len(m.tooLarge) > 0 {
		t.Error("a deleted pod is not forgotten")
	}
}
