//go:build e2e

package env

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// OtherCluster returns a user's kubeconfig in which the context local leads to
// another local cluster than the tests', with the given UID; the remote one is the
// same. A cluster is what its namespace kube-system has as its UID: the other one is
// the tests' own behind a proxy that answers with another UID. Tests must not change
// anything in it.
func (e *Env) OtherCluster(t testing.TB, uid string) string {
	t.Helper()
	administrator := e.RESTConfig(t, "local")
	transport, err := rest.TransportFor(administrator)
	if err != nil {
		t.Fatal(err)
	}
	server, err := url.Parse(administrator.Host)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httptest.NewTLSServer(&httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(server)
			r.Out.Header.Set("Accept", "application/json")
			r.Out.Header.Del("Accept-Encoding")
		},
		ModifyResponse: func(response *http.Response) error { return identify(response, uid) },
	})
	t.Cleanup(proxy.Close)

	config, err := clientcmd.LoadFromFile(e.UserKubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: proxy.Certificate().Raw})
	config.Clusters["other"] = &clientcmdapi.Cluster{Server: proxy.URL, CertificateAuthorityData: ca}
	config.AuthInfos["other"] = &clientcmdapi.AuthInfo{} // the proxy is an administrator
	config.Contexts["local"] = &clientcmdapi.Context{Cluster: "other", AuthInfo: "other"}
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		t.Fatal(err)
	}
	return file
}

// identify gives kube-system another UID in an answer.
func identify(response *http.Response, uid string) error {
	if response.Request.URL.Path != "/api/v1/namespaces/kube-system" || response.StatusCode != http.StatusOK {
		return nil
	}
	content, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	var namespace map[string]any
	if err := json.Unmarshal(content, &namespace); err != nil {
		return err
	}
	if metadata, is := namespace["metadata"].(map[string]any); is {
		metadata["uid"] = uid
	}
	if content, err = json.Marshal(namespace); err != nil {
		return err
	}
	response.Body, response.ContentLength = io.NopCloser(bytes.NewReader(content)), int64(len(content))
	response.Header.Del("Content-Length")
	return nil
}
