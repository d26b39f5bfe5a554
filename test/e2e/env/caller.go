//go:build e2e

package env

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// Caller is a client of akd's kubelet API with a certificate, a token, or
// neither.
type Caller struct {
	env         *Env
	certificate []tls.Certificate
	token       string
}

// Anonymous is a caller without a credential.
func (e *Env) Anonymous() Caller { return Caller{env: e} }

// Administrator is that of one of the clusters, with a client certificate.
func (e *Env) Administrator(t testing.TB, side string) Caller {
	t.Helper()
	config := e.RESTConfig(t, side)
	pair, err := tls.X509KeyPair(config.CertData, config.KeyData)
	if err != nil {
		t.Fatal(err)
	}
	return Caller{env: e, certificate: []tls.Certificate{pair}}
}

// Bearer is a caller with any token.
func (e *Env) Bearer(token string) Caller { return Caller{env: e, token: token} }

// ServiceAccount creates a service account in the client's cluster, binds it to a
// role with the rules, and returns a caller with its token.
func (e *Env) ServiceAccount(t testing.TB, client kubernetes.Interface, namespace, name string, rules ...rbacv1.PolicyRule) Caller {
	t.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if _, err := client.CoreV1().ServiceAccounts(namespace).Create(t.Context(), account, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if len(rules) > 0 {
		meta := metav1.ObjectMeta{Name: "e2e-" + namespace + "-" + name}
		role := &rbacv1.ClusterRole{ObjectMeta: meta, Rules: rules}
		if _, err := client.RbacV1().ClusterRoles().Create(t.Context(), role, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { e.Kubectl(t, "local", "delete", "clusterrole,clusterrolebinding", meta.Name) })
		binding := &rbacv1.ClusterRoleBinding{
			ObjectMeta: meta,
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: meta.Name},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: name}},
		}
		if _, err := client.RbacV1().ClusterRoleBindings().Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	token, err := client.CoreV1().ServiceAccounts(namespace).
		CreateToken(t.Context(), name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return e.Bearer(token.Status.Token)
}

// Request sends one request over a connection of its own, and returns the
// status code and the body of the response.
func (c Caller) Request(t testing.TB, method, path string) (code int, body string) {
	t.Helper()
	transport := &http.Transport{
		DialContext:       c.env.dialLocal,
		DisableKeepAlives: true,
		// TestKubeletAPI/ServingCertificate verifies akd's identity.
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, Certificates: c.certificate}, //nolint:gosec // see above
	}
	url := "https://" + net.JoinHostPort(c.env.Address, "10250") + path
	req, err := http.NewRequestWithContext(t.Context(), method, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	res, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer func() { _ = res.Body.Close() }()
	content, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return res.StatusCode, string(content)
}
