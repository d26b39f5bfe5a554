package policies_test

import (
	"testing"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/actual-kubelets/actual-kubelets/manifests"
)

// serveLocal starts the plugin of a local cluster with an approver for each node.
func serveLocal(t testing.TB, nodes ...string) *server {
	t.Helper()
	objects := map[string]runtime.Object{}
	for _, node := range nodes {
		rendered, err := manifests.Local(manifests.Values{Node: node, Image: "akd", ApproveCertificates: true})
		if err != nil {
			t.Fatal(err)
		}
		for _, object := range rendered {
			objects[object.GetKind()+"/"+object.GetNamespace()+"/"+object.GetName()] = typed(t, object)
		}
	}
	return start(t, objects)
}

// asked is a certificate request that a node has made.
func asked(node string, changes ...func(*certificatesv1.CertificateSigningRequest)) *certificatesv1.CertificateSigningRequest {
	request := &certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{Name: "csr-1", Labels: map[string]string{"a": "b"}},
		Spec: certificatesv1.CertificateSigningRequestSpec{
			Username:   "system:node:" + node,
			SignerName: certificatesv1.KubeletServingSignerName,
		},
	}
	for _, change := range changes {
		change(request)
	}
	return request
}

func decided(kind certificatesv1.RequestConditionType) func(*certificatesv1.CertificateSigningRequest) {
	return func(request *certificatesv1.CertificateSigningRequest) {
		request.Status.Conditions = append(request.Status.Conditions,
			certificatesv1.CertificateSigningRequestCondition{Type: kind, Status: corev1.ConditionTrue})
	}
}

// RBAC lets an approver decide on any request for its signer: the policy leaves it the
// approval of its own node's.
func TestApprover(t *testing.T) {
	const (
		approve   = "approval"
		elsewhere = "requests of its own node only"
		decides   = "that nobody has decided on, and deny none"
	)
	approved := decided(certificatesv1.CertificateApproved)
	marked := func(r *certificatesv1.CertificateSigningRequest) { r.Finalizers = []string{"example.com/kept"} }
	cases := map[string]struct {
		reason string
		request
		want string
	}{
		"Own": {
			reason:  "what it is for",
			request: request{old: asked("a"), object: asked("a", approved), subresource: approve},
		},
		"Other": {
			reason:  "another node's akd may be anywhere",
			request: request{old: asked("b"), object: asked("b", approved), subresource: approve}, want: elsewhere,
		},
		"Prefix": {
			reason:  "a node whose name begins with the own one",
			request: request{old: asked("a-b"), object: asked("a-b", approved), subresource: approve}, want: elsewhere,
		},
		"Signer": {
			reason: "a client's certificate",
			request: request{
				old: asked("a", clientSigner), object: asked("a", clientSigner, approved), subresource: approve,
			},
			want: "for the signer of its node only",
		},
		"Deny": {
			reason:  "the node would get no certificate",
			request: request{old: asked("a"), object: asked("a", decided(certificatesv1.CertificateDenied)), subresource: approve}, want: decides,
		},
		"Fail": {
			reason:  "likewise",
			request: request{old: asked("a"), object: asked("a", decided(certificatesv1.CertificateFailed)), subresource: approve}, want: decides,
		},
		"Both": {
			reason: "nothing comes along with an approval",
			request: request{
				old: asked("a"), object: asked("a", approved, decided(certificatesv1.CertificateFailed)), subresource: approve,
			},
			want: decides,
		},
		"Decided": {
			reason: "somebody has said no",
			request: request{
				old: asked("a", decided(certificatesv1.CertificateDenied)), object: asked("a", approved), subresource: approve,
			},
			want: decides,
		},
		"Nothing": {
			reason:  "an approval approves",
			request: request{old: asked("a"), object: asked("a"), subresource: approve}, want: decides,
		},
		"Finalizer": {
			reason:  "the request could not be deleted",
			request: request{old: asked("a"), object: asked("a", approved, marked), subresource: approve}, want: "metadata",
		},
		"Label": {
			reason: "others may select it",
			request: request{
				old: asked("a"), object: asked("a", approved, func(r *certificatesv1.CertificateSigningRequest) { r.Labels = nil }),
				subresource: approve,
			},
			want: "metadata",
		},
		"Status": {
			reason:  "a certificate of its own making",
			request: request{old: asked("a"), object: asked("a", approved), subresource: "status"}, want: "do nothing else",
		},
		"Create": {reason: "who approves does not ask", request: request{object: asked("a")}, want: "do nothing else"},
		"Delete": {reason: "nor ends what others ask", request: request{old: asked("a")}, want: "do nothing else"},
	}
	s := serveLocal(t, "a", "b", "a-b")
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			tc.user = account("a.approver")
			expect(t, s.do(t, tc.request), tc.want)
			tc.user = "administrator"
			expect(t, s.do(t, tc.request), "")
		})
	}
}

func clientSigner(request *certificatesv1.CertificateSigningRequest) {
	request.Spec.SignerName = certificatesv1.KubeAPIServerClientKubeletSignerName
}
