package kubeletapi

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestCallersHeadersStayHere(t *testing.T) {
	e := newEnv(t)
	e.remote.logs = func(http.ResponseWriter, *http.Request) {}
	req, err := http.NewRequest(http.MethodGet, "https://"+e.addr+"/containerLogs/shop/web/main", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"Authorization": "Bearer " + goodToken, "Impersonate-User": "admin", "Impersonate-Group": "system:masters",
		"Cookie": "secret", "X-Remote-User": "admin", "X-Forwarded-For": "192.0.2.1",
	} {
		req.Header.Set(name, value)
	}
	res, err := e.client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	got := e.remote.last().Header
	for _, name := range []string{"Impersonate-User", "Impersonate-Group", "Cookie", "X-Remote-User", "X-Forwarded-For"} {
		if value := got.Get(name); value != "" {
			t.Errorf("%s: %s reached the remote", name, value)
		}
	}
	if got.Get("Authorization") != "Bearer "+remoteToken {
		t.Error("the remote did not get akd's own credentials alone")
	}
}

// A browser's token travels as a subprotocol: good for us, not for the remote.
func TestProtocolTokenIsTakenOut(t *testing.T) {
	const encoded = "base64url.bearer.authorization.k8s.io.dG9rZW4td2l0aC1yaWdodHM" // goodToken
	e := newEnv(t)
	e.remote.fail = refuse(400, metav1.StatusReasonBadRequest, "enough")
	req, err := http.NewRequest(http.MethodGet, "https://"+e.addr+execPath, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "websocket")
	req.Header.Set("Sec-Websocket-Protocol", encoded+", v5.channel.k8s.io")
	res, err := e.client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusBadRequest {
		t.Errorf("got %d: the token was not accepted", res.StatusCode)
	}
	if diff := cmp.Diff([]string{"v5.channel.k8s.io"}, e.remote.last().Header.Values("Sec-Websocket-Protocol")); diff != "" {
		t.Errorf("protocols at the remote (-want +got):\n%s", diff)
	}
}
