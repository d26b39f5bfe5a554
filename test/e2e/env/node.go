//go:build e2e

package env

import (
	"encoding/base64"
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// Node is an installed node: an identity in each cluster, and the credential
// for the remote one in a Secret of the local one.
type Node struct {
	// Name is the node's name.
	Name string
	// Config is the local identity's, for tests.
	Config *rest.Config

	kubeconfig string // the local identity's, for akd
}

// localLife is longer than any test: akd does not renew a local credential
// that it reads from a kubeconfig.
const localLife = 48 * time.Hour

// InstallNode installs a node's rights on both sides. Its remote credential
// expires after that time.
func (e *Env) InstallNode(t testing.TB, values manifests.Values, life time.Duration) *Node {
	t.Helper()
	tenant := e.InstallTenant(t, values)
	objects, err := manifests.Local(values)
	if err != nil {
		t.Fatal(err)
	}
	e.applyInstalled(t, "local", objects)
	t.Cleanup(func() {
		selector := contract.LabelNodeName + "=" + values.Node
		for _, args := range [][]string{
			{"delete", "clusterrolebindings,clusterroles", "-l", selector},
			{"delete", "rolebindings", "-n", "kube-system", "-l", selector},
			{"delete", "serviceaccounts,roles,rolebindings,leases,secrets", "-n", contract.SystemNamespace, "-l", selector},
		} {
			if out, stderr, err := e.TryKubectl("local", nil, append(args, "--timeout=3m")...); err != nil {
				t.Errorf("kubectl %v: %v\n%s%s", args, err, out, stderr)
			}
		}
	})
	e.storeCredential(t, tenant, life)
	token := newToken(t, e.Local, values.Node, localLife)
	file := filepath.Join(t.TempDir(), "local.kubeconfig")
	if err := clientcmd.WriteToFile(*withToken(loadKubeconfig(t, e.AKDKubeconfig("local")), token), file); err != nil {
		t.Fatal(err)
	}
	return &Node{Name: values.Node, Config: e.bearer(t, "local", token), kubeconfig: file}
}

// Args are the flags for akd to use nothing but what was installed.
func (n *Node) Args(more ...string) []string {
	object := contract.SystemNamespace + "/" + n.Name
	return append([]string{
		"--local-kubeconfig", n.kubeconfig, "--remote-kubeconfig=", "--remote-secret", object, "--leader-election-lease", object,
		"--node-capacity", "cpu=8,memory=8Gi,pods=100",
	}, more...)
}

// storeCredential puts a tenant's kubeconfig into the Secret from which akd
// reads it.
func (e *Env) storeCredential(t testing.TB, tenant *Tenant, life time.Duration) {
	t.Helper()
	config := withToken(loadKubeconfig(t, tenant.Kubeconfig), newToken(t, e.Remote, tenant.Node, life))
	if err := clientcmdapi.FlattenConfig(config); err != nil {
		t.Fatal(err)
	}
	content, err := clientcmd.Write(*config)
	if err != nil {
		t.Fatal(err)
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: contract.SystemNamespace, Name: tenant.Node, Labels: map[string]string{
			contract.LabelNodeName: tenant.Node, "app.kubernetes.io/managed-by": "kubectl-actual",
		}},
		Data: map[string][]byte{"kubeconfig": content},
	}
	if _, err := e.Local.CoreV1().Secrets(secret.Namespace).Create(t.Context(), secret, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// StoredCredential is a client with the credential that is in a node's Secret
// now.
func (e *Env) StoredCredential(t testing.TB, node string) *kubernetes.Clientset {
	t.Helper()
	secret, err := e.Local.CoreV1().Secrets(contract.SystemNamespace).Get(t.Context(), node, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	stored, err := clientcmd.RESTConfigFromKubeConfig(secret.Data["kubeconfig"])
	if err != nil {
		t.Fatal(err)
	}
	return kubernetes.NewForConfigOrDie(e.bearer(t, "remote", stored.BearerToken))
}

// ExpireCredential replaces the token in a node's Secret by one that expired an hour
// ago. Its signature is wrong, too: an API server rejects both in the same way.
func (e *Env) ExpireCredential(t testing.TB, node string) {
	t.Helper()
	secrets := e.Local.CoreV1().Secrets(contract.SystemNamespace)
	secret, err := secrets.Get(t.Context(), node, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	stored, err := clientcmd.Load(secret.Data["kubeconfig"])
	if err != nil {
		t.Fatal(err)
	}
	token := stored.AuthInfos[stored.Contexts[stored.CurrentContext].AuthInfo].Token
	if secret.Data["kubeconfig"], err = clientcmd.Write(*withToken(stored, expired(t, token))); err != nil {
		t.Fatal(err)
	}
	if _, err := secrets.Update(t.Context(), secret, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// expired returns a token with other claims.
func expired(t testing.TB, token string) string {
	t.Helper()
	parts := strings.Split(token, ".")
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	claims := map[string]any{}
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	claims["iat"], claims["nbf"], claims["exp"] = now.Add(-2*time.Hour).Unix(), now.Add(-2*time.Hour).Unix(), now.Add(-time.Hour).Unix()
	if payload, err = json.Marshal(claims); err != nil {
		t.Fatal(err)
	}
	parts[1] = base64.RawURLEncoding.EncodeToString(payload)
	return strings.Join(parts, ".")
}

// newToken requests a token of a node's service account in the client's cluster.
func newToken(t testing.TB, client *kubernetes.Clientset, node string, life time.Duration) string {
	t.Helper()
	request := &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: new(int64(life / time.Second))},
	}
	token, err := client.CoreV1().ServiceAccounts(contract.SystemNamespace).
		CreateToken(t.Context(), node, request, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return token.Status.Token
}

func loadKubeconfig(t testing.TB, path string) *clientcmdapi.Config {
	t.Helper()
	config, err := clientcmd.LoadFromFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// withToken returns the kubeconfig for the bearer of a token.
func withToken(config *clientcmdapi.Config, token string) *clientcmdapi.Config {
	changed := config.DeepCopy()
	user := changed.Contexts[changed.CurrentContext].AuthInfo
	changed.AuthInfos = map[string]*clientcmdapi.AuthInfo{user: {Token: token}}
	return changed
}

// InstallApprover installs the rights of a node's approver, and returns a config with its
// credential.
func (e *Env) InstallApprover(t testing.TB, node string) *rest.Config {
	t.Helper()
	objects, err := manifests.Local(manifests.Values{Node: node, ApproveCertificates: true})
	if err != nil {
		t.Fatal(err)
	}
	e.applyInstalled(t, "local", slices.DeleteFunc(objects, func(object *unstructured.Unstructured) bool {
		return object.GetKind() != "Namespace" && object.GetLabels()["app.kubernetes.io/component"] != "approver"
	}))
	t.Cleanup(func() {
		selector := contract.LabelNodeName + "=" + node
		for _, args := range [][]string{
			{"delete", "clusterrolebindings,clusterroles,validatingadmissionpolicybindings,validatingadmissionpolicies", "-l", selector},
			{"delete", "serviceaccounts,roles,rolebindings", "-n", contract.SystemNamespace, "-l", selector},
		} {
			if out, stderr, err := e.TryKubectl("local", nil, append(args, "--timeout=3m")...); err != nil {
				t.Errorf("kubectl %v: %v\n%s%s", args, err, out, stderr)
			}
		}
	})
	return e.bearer(t, "local", newToken(t, e.Local, contract.ApproverName(node), time.Hour))
}
