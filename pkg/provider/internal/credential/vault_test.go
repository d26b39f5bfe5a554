package credential

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/utils/clock"
)

// jwt returns an unsigned token of the tenant: only the server checks signatures.
func jwt(number int, issued time.Time, life time.Duration) string {
	payload, err := json.Marshal(map[string]any{
		"sub": "system:serviceaccount:actual-system:ak", "aud": []string{"https://remote"}, "jti": number,
		"iat": issued.Unix(), "exp": issued.Add(life).Unix(),
	})
	if err != nil {
		panic(err)
	}
	return "h." + base64.RawURLEncoding.EncodeToString(payload) + ".s"
}

func kubeconfig(server, token string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: remote
clusters: [{name: remote, cluster: {server: %q}}]
contexts: [{name: remote, context: {cluster: remote, user: akd}}]
users: [{name: akd, user: {token: %s}}]
`, server, token)
}

// vault holds the two clusters of a credential.
type vault struct {
	home, far *fake.Clientset

	mu       sync.Mutex
	refuse   error // error of the far cluster for token requests
	granted  int
	log      bytes.Buffer
	warnings []string
}

// Write stores the log of akd.
func (v *vault) Write(line []byte) (int, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.log.Write(line)
}

func (v *vault) answer(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.refuse = err
}

// reported returns the number of tokens granted to akd so far, its warnings and
// its log.
func (v *vault) reported() (granted int, warnings []string, log string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.granted, slices.Clone(v.warnings), v.log.String()
}

func newVault(life time.Duration) *vault {
	v := &vault{far: fake.NewClientset()}
	v.home = fake.NewClientset(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "actual-system", Name: "ak"},
		Data:       map[string][]byte{secretKey: []byte(kubeconfig("https://remote", jwt(0, time.Now(), life)))},
	})
	v.far.PrependReactor("create", "serviceaccounts", func(action clienttesting.Action) (bool, runtime.Object, error) {
		v.mu.Lock()
		defer v.mu.Unlock()
		if v.refuse != nil {
			return true, nil, v.refuse
		}
		create, ok := action.(clienttesting.CreateActionImpl)
		if !ok || create.Subresource != "token" || create.Name != "ak" {
			return true, nil, fmt.Errorf("asked for %v", action)
		}
		request := create.Object.(*authenticationv1.TokenRequest)
		v.granted++
		life := time.Duration(*request.Spec.ExpirationSeconds) * time.Second
		return true, &authenticationv1.TokenRequest{Status: authenticationv1.TokenRequestStatus{
			Token: jwt(v.granted, time.Now(), life), ExpirationTimestamp: metav1.NewTime(time.Now().Add(life)),
		}}, nil
	})
	return v
}

func (v *vault) open(t *testing.T) *Credential {
	t.Helper()
	c, err := New(t.Context(), v.config())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (v *vault) config() Config {
	return Config{
		Side:      "remote",
		Secret:    "actual-system/ak",
		Home:      v.home,
		NewClient: func(*rest.Config) (kubernetes.Interface, error) { return v.far, nil },
		Clock:     clock.RealClock{},
		Logger:    slog.New(slog.NewTextHandler(v, nil)),
	}
}

func (v *vault) warn(_ context.Context, reason, message string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.warnings = append(v.warnings, reason+": "+message)
}

func (v *vault) stored(t *testing.T) *corev1.Secret {
	t.Helper()
	secret, err := v.home.CoreV1().Secrets("actual-system").Get(t.Context(), "ak", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

func (v *vault) store(t *testing.T, content string) {
	t.Helper()
	secret := v.stored(t).DeepCopy()
	secret.Data[secretKey] = []byte(content)
	if _, err := v.home.CoreV1().Secrets("actual-system").Update(t.Context(), secret, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func always() bool { return true }
func never() bool  { return false }
