package kubeclient_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
)

// requests is an API server that records who asks for what. It grants tokens.
type requests struct {
	seen   []string
	denied bool // tokens
}

// ServeHTTP implements http.Handler.
func (r *requests) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	who := request.Header.Get("Authorization")
	for _, name := range []string{"Impersonate-User", "Impersonate-Group", "Impersonate-Uid", "Impersonate-Extra-Reason"} {
		if values := request.Header.Values(name); len(values) > 0 {
			who += " " + strings.TrimPrefix(name, "Impersonate-") + "=" + strings.Join(values, "+")
		}
	}
	r.seen = append(r.seen, request.Method+" "+request.URL.Path+" by "+who)
	w.Header().Set("Content-Type", "application/json")
	var answer any = map[string]any{"kind": "Namespace", "apiVersion": "v1", "metadata": map[string]any{"uid": request.URL.Path}}
	if strings.HasSuffix(request.URL.Path, "/token") {
		answer = &authenticationv1.TokenRequest{
			TypeMeta: metav1.TypeMeta{Kind: "TokenRequest", APIVersion: "authentication.k8s.io/v1"},
			Status:   authenticationv1.TokenRequestStatus{Token: "akds"},
		}
		if r.denied {
			w.WriteHeader(http.StatusForbidden)
			answer = &metav1.Status{
				TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
				Status:   metav1.StatusFailure, Code: http.StatusForbidden, Reason: metav1.StatusReasonForbidden,
			}
		}
	}
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// access is what flags and a kubeconfig make, in which the user "sudo" impersonates
// an administrator.
func access(t *testing.T, handler http.Handler, flags ...string) *kubeclient.Access {
	t.Helper()
	server := httptest.NewTLSServer(handler) // credentials go over TLS only
	t.Cleanup(server.Close)
	authority := base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	cluster := "certificate-authority-data: " + authority + ", server: \"" + server.URL
	file := filepath.Join(t.TempDir(), "kubeconfig")
	content := `{kind: Config, apiVersion: v1, current-context: plain,
clusters: [{name: here, cluster: {` + cluster + `"}}, {name: there, cluster: {` + cluster + `/there"}}],
contexts: [
  {name: plain, context: {cluster: here, user: me}}, {name: sudo, context: {cluster: here, user: sudo}},
  {name: remote, context: {cluster: there, user: me}}],
users: [{name: me, user: {token: mine}}, {name: sudo, user: {token: mine, as: admin, as-groups: [masters]}}]}`
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	made := kubeclient.NewAccess(func(string) string { return "" })
	set := pflag.NewFlagSet("", pflag.ContinueOnError)
	made.AddFlags(set)
	if err := set.Parse(append([]string{"--kubeconfig=" + file, "--remote-context=remote"}, flags...)); err != nil {
		t.Fatal(err)
	}
	return made
}

// People with least privilege act as another user for what administrators do, by
// flags as with kubectl, or by their kubeconfig.
func TestImpersonation(t *testing.T) {
	const local, remote = "GET /api/v1/namespaces/kube-system by Bearer mine", "GET /there/api/v1/namespaces/kube-system by Bearer mine"
	for name, tc := range map[string]struct {
		reason string
		flags  []string
		want   []string // of the local and the remote cluster
	}{
		"None":       {reason: "nobody impersonates by default", want: []string{local, remote}},
		"Kubeconfig": {reason: "as: of a user", flags: []string{"--context=sudo"}, want: []string{local + " User=admin Group=masters", remote}},
		"Local flags": {
			reason: "kubectl's own are for the local cluster",
			flags:  []string{"--as=root", "--as-group=a", "--as-group=b", "--as-uid=7", "--as-user-extra=reason=test"},
			want:   []string{local + " User=root Group=a+b Uid=7 Extra-Reason=test", remote},
		},
		"Remote flags": {
			reason: "the remote cluster has its own",
			flags: []string{
				"--remote-as=root", "--remote-as-group=a", "--remote-as-group=b", "--remote-as-uid=7", "--remote-as-user-extra=reason=test",
			},
			want: []string{local, remote + " User=root Group=a+b Uid=7 Extra-Reason=test"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := &requests{}
			both, err := access(t, server, tc.flags...).Clients()
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range []*kubeclient.Cluster{both.Local, both.Remote} {
				if _, err := c.Client.CoreV1().Namespaces().Get(t.Context(), "kube-system", metav1.GetOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(tc.want, server.seen); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// Who impersonates somebody cannot impersonate akd as somebody: API servers ask for
// the right of the first one, who may do nothing but impersonate.
func TestAsAKD(t *testing.T) {
	const (
		asked  = "GET /api/v1/namespaces/kube-system by "
		token  = "POST /api/v1/namespaces/actual-system/serviceaccounts/vk/token by Bearer mine User=admin Group=masters"
		denied = "denied"
	)
	for name, tc := range map[string]struct {
		reason  string
		context string
		denied  bool
		want    []string
	}{
		"Plain": {
			reason:  "impersonates akd",
			context: "plain",
			want:    []string{asked + "Bearer mine User=system:serviceaccount:actual-system:vk"},
		},
		"Impersonating": {reason: "takes a token, once", context: "sudo", want: []string{token, asked + "Bearer akds", asked + "Bearer akds"}},
		"Denied":        {reason: "says that it may not", context: "sudo", denied: true, want: []string{token, token, denied}},
	} {
		t.Run(name, func(t *testing.T) {
			server := &requests{denied: tc.denied}
			both, err := access(t, server, "--context="+tc.context).Clients()
			if err != nil {
				t.Fatal(err)
			}
			for range max(1, len(tc.want)-1) {
				err = actAsAKD(t.Context(), both.Local)
			}
			if errors.Is(err, kubeclient.ErrMayNotActAsAKD) {
				server.seen = append(server.seen, denied)
			} else if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, server.seen); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func actAsAKD(ctx context.Context, c *kubeclient.Cluster) error {
	akd, err := c.AsAKD(ctx, "vk")
	if err != nil {
		return err
	}
	_, err = akd.CoreV1().Namespaces().Get(ctx, "kube-system", metav1.GetOptions{})
	return err
}

// A list of kubeconfigs is merged as that of KUBECONFIG is.
func TestRemoteKubeconfigs(t *testing.T) {
	folder := t.TempDir()
	write := func(name, content string) string {
		file := filepath.Join(folder, name)
		if err := os.WriteFile(file, []byte("{kind: Config, apiVersion: v1, "+content+"}"), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	one := write("one", `contexts: [{name: remote, context: {cluster: there, user: me}}], users: [{name: me, user: {token: mine}}]`)
	other := write("other", `clusters: [{name: there, cluster: {server: "https://there.test"}}], users: [{name: me, user: {token: not-mine}}]`)
	missing := filepath.Join(folder, "missing")
	for name, tc := range map[string]struct {
		reason string
		files  []string
		fails  bool
	}{
		"Merged":          {reason: "the first file to set a value wins", files: []string{one, other}},
		"One is missing":  {reason: "as with KUBECONFIG", files: []string{missing, one, other}},
		"Alone":           {reason: "has no cluster", files: []string{one}, fails: true},
		"Missing alone":   {reason: "a mistake", files: []string{missing}, fails: true},
		"All are missing": {reason: "a mistake", files: []string{missing, missing + "2"}, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			files := strings.Join(tc.files, string(filepath.ListSeparator))
			a := access(t, http.NotFoundHandler(), "--remote-kubeconfig="+files)
			both, err := a.Clients()
			if err != nil {
				if !tc.fails {
					t.Errorf("%s: %v", tc.reason, err)
				}
				return
			}
			if config := both.Remote.Config; tc.fails || config.Host != "https://there.test" || config.BearerToken != "mine" {
				t.Errorf("%s: leads to %s with %q", tc.reason, config.Host, config.BearerToken)
			}
			if names := a.ContextNames(kubeclient.Remote); !cmp.Equal(names, []string{"remote"}) {
				t.Errorf("%s: contexts %q", tc.reason, names)
			}
		})
	}
}
