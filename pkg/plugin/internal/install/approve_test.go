package install

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"net"
	"net/url"
	"strings"
	"testing"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What is approved is signed: the signer does not ask who the subject is.
func TestCheckRequest(t *testing.T) {
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "vk"},
		Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{
			{Type: corev1.NodeInternalIP, Address: "192.0.2.5"},
			{Type: corev1.NodeHostName, Address: "vk"},
		}},
	}
	subject := pkix.Name{CommonName: "system:node:vk", Organization: []string{"system:nodes"}}
	good := x509.CertificateRequest{Subject: subject, DNSNames: []string{"vk"}, IPAddresses: []net.IP{net.ParseIP("192.0.2.5")}}
	with := func(change func(*x509.CertificateRequest)) x509.CertificateRequest {
		request := good
		change(&request)
		return request
	}
	cases := map[string]struct {
		reason  string
		user    string
		groups  []string
		request x509.CertificateRequest
		want    string
	}{
		"Own":    {reason: "the node's own subject and addresses", request: good},
		"User":   {reason: "somebody else asks", user: "eve", request: good, want: "it was made by eve"},
		"Groups": {reason: "a user of that name is no node", groups: []string{"system:authenticated"}, request: good, want: "not by the node"},
		"Subject": {
			reason:  "another node's certificate",
			request: with(func(r *x509.CertificateRequest) { r.Subject.CommonName = "system:node:other" }),
			want:    "not the node's",
		},
		"Masters": {
			reason: "a group that may do everything", want: "not the node's",
			request: with(func(r *x509.CertificateRequest) { r.Subject.Organization = []string{"system:masters"} }),
		},
		"Address": {
			reason: "the API server's address", want: "it requests 192.0.2.1, which is not an address of the node",
			request: with(func(r *x509.CertificateRequest) { r.IPAddresses = []net.IP{net.ParseIP("192.0.2.1")} }),
		},
		"Name": {
			reason:  "likewise its name",
			request: with(func(r *x509.CertificateRequest) { r.DNSNames = []string{"kubernetes"} }),
			want:    "it requests kubernetes",
		},
		"More": {
			reason: "a URI names somebody, too", want: "more than names and addresses",
			request: with(func(r *x509.CertificateRequest) { r.URIs = []*url.URL{{Scheme: "spiffe", Host: "eve"}} }),
		},
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			content, err := x509.CreateCertificateRequest(rand.Reader, &tc.request, key)
			if err != nil {
				t.Fatal(err)
			}
			request := &certificatesv1.CertificateSigningRequest{Spec: certificatesv1.CertificateSigningRequestSpec{
				Username: "system:node:vk",
				Groups:   []string{"system:nodes", "system:authenticated"},
				Request:  pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: content}),
			}}
			if tc.user != "" {
				request.Spec.Username = tc.user
			}
			if tc.groups != nil {
				request.Spec.Groups = tc.groups
			}
			err = checkRequest(request, node)
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("%s: error %v, want %q", tc.reason, err, tc.want)
			}
		})
	}
}
