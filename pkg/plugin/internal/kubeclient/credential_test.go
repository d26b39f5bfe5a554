package kubeclient_test

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
)

// A node whose akd runs pods in another remote cluster must not lose them because of
// a wrong --remote-context.
func TestCheckPeer(t *testing.T) {
	secret := func(annotations map[string]string, server, ca string) *corev1.Secret {
		const kubeconfig = `{"kind": "Config", "apiVersion": "v1", "clusters": [{"name": "remote", "cluster":
			{"server": %q, "certificate-authority-data": %q}}]}`
		return &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: "vk", Annotations: annotations},
			Data:       map[string][]byte{kubeclient.KubeconfigKey: fmt.Appendf(nil, kubeconfig, server, ca)},
		}
	}
	recorded := func(uid string) map[string]string { return map[string]string{contract.AnnotationPeerUID: uid} }
	const here, elsewhere, ca, otherCA = "https://here", "https://elsewhere", "Y2E=", "b3RoZXI="
	for name, tc := range map[string]struct {
		reason string
		secret *corev1.Secret
		fails  bool
	}{
		"Recorded":           {reason: "an address may change", secret: secret(recorded("peer"), elsewhere, otherCA)},
		"Recorded elsewhere": {reason: "or be used again", secret: secret(recorded("other"), here, ca), fails: true},
		"Same server":        {reason: "somebody else stored it", secret: secret(nil, here, otherCA)},
		"Same CA":            {reason: "akd may use another address", secret: secret(nil, elsewhere, ca)},
		"Another":            {reason: "nothing agrees", secret: secret(nil, elsewhere, otherCA), fails: true},
		"Empty":              {reason: "it leads nowhere", secret: &corev1.Secret{}},
	} {
		t.Run(name, func(t *testing.T) {
			config := &rest.Config{Host: here, TLSClientConfig: rest.TLSClientConfig{CAData: []byte("ca")}}
			err := kubeclient.CheckPeer(tc.secret, &kubeclient.Cluster{Side: kubeclient.Remote, UID: "peer", Config: config})
			if (err != nil) != tc.fails {
				t.Errorf("%s: error %v, want one: %t", tc.reason, err, tc.fails)
			}
		})
	}
}
