package kubeclient_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"
	clienttesting "k8s.io/client-go/testing"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
)

// peerGranting returns a cluster that grants tokens of at most that lifetime, and
// accepts all. requested has the lifetimes that were requested.
func peerGranting(most time.Duration, requested *[]time.Duration) *kubeclient.Cluster {
	client := fake.NewClientset()
	client.PrependReactor("create", "serviceaccounts", func(action clienttesting.Action) (bool, runtime.Object, error) {
		request := action.(clienttesting.CreateActionImpl).Object.(*authenticationv1.TokenRequest).DeepCopy()
		life := time.Duration(*request.Spec.ExpirationSeconds) * time.Second
		*requested = append(*requested, life)
		life = min(life, most)
		*request.Spec.ExpirationSeconds = int64(life / time.Second)
		request.Status = authenticationv1.TokenRequestStatus{Token: "t", ExpirationTimestamp: metav1.NewTime(time.Now().Add(life))}
		return true, request, nil
	})
	client.PrependReactor("create", "tokenreviews", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, &authenticationv1.TokenReview{Status: authenticationv1.TokenReviewStatus{Authenticated: true}}, nil
	})
	return &kubeclient.Cluster{Side: kubeclient.Remote, UID: "peer", Config: &rest.Config{Host: "https://peer"}, Client: client}
}

// A token was valid for a day, whatever the administrator needed. What was chosen once
// holds until something else is: for a rerun of install, for a rotation, and for akd.
func TestTokenLifetime(t *testing.T) {
	const hour, day = time.Hour, 24 * time.Hour
	var requested []time.Duration
	host := &kubeclient.Cluster{Side: kubeclient.Local, UID: "host", Client: fake.NewClientset()}
	peer := peerGranting(12*hour, &requested)
	for _, step := range []struct {
		reason    string
		given     time.Duration
		rotate    bool
		want      kubeclient.Counts
		requested time.Duration // 0: no token
		recorded  string
		shortened string
	}{
		{
			reason: "nobody chose, and the API server has a limit", want: kubeclient.Counts{Created: 1},
			requested: day, recorded: "24h0m0s", shortened: "its API server grants a token 12h0m0s instead of 24h0m0s",
		},
		{reason: "a rerun", want: kubeclient.Counts{Unchanged: 1}, recorded: "24h0m0s"},
		{reason: "as it is", given: day, want: kubeclient.Counts{Unchanged: 1}, recorded: "24h0m0s"},
		{reason: "chosen", given: hour, want: kubeclient.Counts{Changed: 1}, requested: hour, recorded: "1h0m0s"},
		{reason: "a rerun keeps it", want: kubeclient.Counts{Unchanged: 1}, recorded: "1h0m0s"},
		{reason: "so does a rotation", rotate: true, want: kubeclient.Counts{Changed: 1}, requested: hour, recorded: "1h0m0s"},
		{
			reason: "longer again", given: 20 * hour, want: kubeclient.Counts{Changed: 1},
			requested: 20 * hour, recorded: "20h0m0s", shortened: "its API server grants a token 12h0m0s instead of 20h0m0s",
		},
		{reason: "no new token each time", given: 20 * hour, want: kubeclient.Counts{Unchanged: 1}, recorded: "20h0m0s"},
		{reason: "the shortest", given: 10 * time.Minute, want: kubeclient.Counts{Changed: 1}, requested: 10 * time.Minute, recorded: "10m0s"},
		{reason: "is kept as well", want: kubeclient.Counts{Unchanged: 1}, recorded: "10m0s"},
	} {
		requested = nil
		credential := kubeclient.Credential{
			Owner:    contract.Owner{Node: "vk", ClusterUID: "host"},
			Host:     host,
			Peer:     peer,
			Route:    kubeclient.Route{Server: "https://peer"},
			Lifetime: step.given,
			Renew:    step.rotate,
		}
		stored, err := credential.Store(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var want []time.Duration
		if step.requested != 0 {
			want = append(want, step.requested)
		}
		if diff := cmp.Diff(want, requested); diff != "" || stored.Counts != step.want || stored.Shortened != step.shortened {
			t.Errorf("%s: %s, %q; lifetimes requested (-want +got):\n%s", step.reason, stored.Counts, stored.Shortened, diff)
		}
		secret, err := host.Client.CoreV1().Secrets(contract.SystemNamespace).Get(t.Context(), "vk", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if got := secret.Annotations[contract.AnnotationTokenLifetime]; got != step.recorded {
			t.Errorf("%s: the Secret says %q, want %q", step.reason, got, step.recorded)
		}
	}
}
