package kubeletapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestErrors(t *testing.T) {
	leak := `Get "https://10.1.2.3:10250/containerLogs/` + remoteNamespace + `/web/main": dial tcp 10.1.2.3:10250: connect: connection refused`
	denied := `pods "web" is forbidden: User "system:serviceaccount:actual-system:vk" cannot create resource "pods/exec" in API group "" in ` +
		`the namespace "` + remoteNamespace + `"`
	cases := map[string]struct {
		reason string
		path   string
		fail   http.HandlerFunc
		code   int
		want   string
	}{
		"NoSuchPod": {
			reason: "not ours",
			path:   "/exec/shop/other/main?command=a&output=1",
			code:   404,
			want:   `pod "other" not found in namespace "shop" on this node`,
		},
		"OtherUID": {
			reason: "a path with a UID means that very pod",
			path:   "/exec/shop/web/uid-old/main?command=a&output=1",
			code:   404,
			want:   `pod "web" not found in namespace "shop" on this node`,
		},
		"NotCreated": {
			reason: "what a kubelet says before it starts a container",
			path:   "/exec/shop/pending/main?command=a&output=1",
			code:   400,
			want: `container "main" in pod "pending" is waiting to start: the pod has not been created in the remote cluster yet; its events ` +
				`say why`,
		},
		"Gone": {
			reason: "it ran, and what it left was deleted remotely",
			path:   "/exec/shop/gone/main?command=a&output=1",
			code:   400,
			want:   `container "main" in pod "gone" is gone from the remote cluster, and its logs with it`,
		},
		"Refused": {
			reason: "it will never be created",
			path:   "/exec/shop/refused/main?command=a&output=1",
			code:   400,
			want:   `container "main" in pod "refused" never ran: Pod was rejected: it may not run here`,
		},
		"RemoteGone": {
			reason: "once is enough",
			path:   "/exec/shop/web/main?command=a&output=1",
			fail:   refuse(404, metav1.StatusReasonNotFound, `pods "web" not found`),
			code:   404,
			want:   `pod "web" not found in the remote cluster`,
		},
		"Internal": {
			reason: "the local API server puts the same words in front",
			path:   "/exec/shop/web/main?command=a&output=1",
			fail:   refuse(500, metav1.StatusReasonInternalError, `Internal error occurred: unable to upgrade connection: container not found`),
			code:   502,
			want:   `the remote cluster could not open a stream to pod "web": unable to upgrade connection: container not found`,
		},
		"NoStreams": {
			reason: "as a kubelet",
			path:   "/exec/shop/web/main?command=a",
			code:   400,
			want:   `you must specify at least 1 of stdin, stdout, stderr`,
		},
		"BadPort": {
			reason: "ports are numbers",
			path:   "/portForward/shop/web?port=http",
			code:   400,
			want:   `port "http" is not a number from 0 to 65535`,
		},
		"Waiting": {
			reason: "the remote's own sentence, in local names",
			path:   "/exec/shop/web/main?command=a&output=1",
			fail: refuse(400, metav1.StatusReasonBadRequest,
				`container "main" in pod "web" is waiting to start: ContainerCreating in `+remoteNamespace),
			code: 400,
			want: `container "main" in pod "web" is waiting to start: ContainerCreating in shop`,
		},
		"Forbidden": {
			reason: "akd lacks a right, not the user",
			path:   "/exec/shop/web/main?command=a&output=1",
			fail:   refuse(403, metav1.StatusReasonForbidden, denied),
			code:   403,
			want: `node "vk" may not do this in the remote cluster: pods "web" is forbidden: akd cannot create resource "pods/exec" in API ` +
				`group "" in the namespace "shop"; the administrator of the remote cluster can grant it`,
		},
		"Unauthorized": {
			reason: "401 would send kubectl's user to log in",
			path:   "/exec/shop/web/main?command=a&output=1",
			fail:   refuse(401, metav1.StatusReasonUnauthorized, "Unauthorized"),
			code:   502,
			want:   "the remote cluster does not accept the credentials of node \"vk\": give akd a remote kubeconfig with valid ones",
		},
		"KubeletDown": {
			reason: "no address of the remote comes through",
			path:   "/exec/shop/web/main?command=a&output=1",
			fail:   refuse(500, metav1.StatusReasonInternalError, leak),
			code:   502,
			want:   `the remote cluster could not open a stream to pod "web": Get a remote server: dial tcp: connect: connection refused`,
		},
		"Page": {
			reason: "a proxy's HTML helps nobody",
			path:   "/exec/shop/web/main?command=a&output=1",
			fail: func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(503)
				fmt.Fprint(w, "<html>gateway</html>")
			},
			code: 502,
			want: `the remote cluster could not open a stream to pod "web": Service Unavailable`,
		},
		"Redirect": {
			reason: "a redirect could carry the token away",
			path:   "/exec/shop/web/main?command=a&output=1",
			fail: func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "https://192.0.2.1/", http.StatusFound)
			},
			code: 502,
			want: `the remote cluster answered with a redirect (302), which node "vk" does not follow: check the address of the remote server`,
		},
	}
	e := newEnv(t)
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			e.remote.mu.Lock()
			e.remote.fail = tc.fail
			e.remote.mu.Unlock()
			code, got := upgrade(t, e, tc.path)
			if code != tc.code || got.Code != int32(tc.code) || got.Message != tc.want {
				t.Errorf("%s:\n got %d %d %s\nwant %d %s", tc.reason, code, got.Code, got.Message, tc.code, tc.want)
			}
		})
	}
}

// upgrade asks for a stream that is refused, and reads the refusal.
func upgrade(t *testing.T, e *env, path string) (int, metav1.Status) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, "https://"+e.addr+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+goodToken)
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "SPDY/3.1")
	res, err := e.client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var status metav1.Status
	if err := json.NewDecoder(res.Body).Decode(&status); err != nil || status.Kind != "Status" {
		t.Fatalf("got %d %+v, error %v, want a Status", res.StatusCode, status, err)
	}
	return res.StatusCode, status
}

func TestRemoteUnreachable(t *testing.T) {
	e := newEnv(t)
	e.remote.server.Close()
	code, status := upgrade(t, e, "/exec/shop/web/main?command=a&output=1")
	if code != http.StatusBadGateway {
		t.Errorf("got %d, want 502", code)
	}
	want := `node "vk" cannot reach the remote cluster that runs pod "web": retry in a few seconds; if it lasts, see the conditions of ` +
		`the node`
	if diff := cmp.Diff(want, status.Message); diff != "" {
		t.Errorf("message (-want +got):\n%s", diff)
	}
	// kubectl logs showed the Status as raw JSON: the path that decides was the
	// remote's.
	res, body := e.ask(t, http.MethodGet, "/containerLogs/shop/web/main", goodToken)
	if res.StatusCode != http.StatusInternalServerError || body != want {
		t.Errorf("logs: got %d %q, want 500 %q", res.StatusCode, body, want)
	}
}
