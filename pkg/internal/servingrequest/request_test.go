package servingrequest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"net"
	"net/url"
	"strings"
	"testing"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// knownServer is the node vk, whose akd has one pod, and the addresses of that pod.
func knownServer() (server Server, addresses []string) {
	return Server{Node: "vk", Hostname: "vk", Signer: certificatesv1.KubeletServingSignerName}, []string{"192.0.2.5", "fd00::5"}
}

// What is approved is signed: the signer does not ask who the subject is, and the
// addresses of the Node are written by whoever makes the request.
func TestCheckRequest(t *testing.T) {
	subject := pkix.Name{CommonName: "system:node:vk", Organization: []string{"system:nodes"}}
	good := x509.CertificateRequest{Subject: subject, DNSNames: []string{"vk"}, IPAddresses: []net.IP{net.ParseIP("192.0.2.5")}}
	with := func(change func(*x509.CertificateRequest)) x509.CertificateRequest {
		request := good
		change(&request)
		return request
	}
	spec := func(change func(*certificatesv1.CertificateSigningRequestSpec)) func(*certificatesv1.CertificateSigningRequestSpec) {
		return change
	}
	otherName, err := asn1.Marshal([]asn1.RawValue{
		{Class: asn1.ClassContextSpecific, Tag: 2, Bytes: []byte("vk")},
		{Class: asn1.ClassContextSpecific, Tag: 8, Bytes: []byte{0x2a, 0x03}},
	})
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		reason  string
		request x509.CertificateRequest
		spec    func(*certificatesv1.CertificateSigningRequestSpec)
		want    string
	}{
		"Own": {reason: "the node's own subject and addresses", request: good},
		"IPv6": {
			reason:  "every address of akd's pod",
			request: with(func(r *x509.CertificateRequest) { r.IPAddresses = append(r.IPAddresses, net.ParseIP("fd00::5")) }),
		},
		"NoRSA": {
			reason: "elliptic keys encipher nothing", request: good,
			spec: spec(func(s *certificatesv1.CertificateSigningRequestSpec) { s.Usages = s.Usages[:2] }),
		},
		"User": {
			reason: "somebody else asks", request: good, want: "it was made by eve",
			spec: spec(func(s *certificatesv1.CertificateSigningRequestSpec) { s.Username = "eve" }),
		},
		"Groups": {
			reason: "a user of that name is no node", request: good, want: "not by the node",
			spec: spec(func(s *certificatesv1.CertificateSigningRequestSpec) { s.Groups = []string{"system:authenticated"} }),
		},
		"Signer": {
			reason: "a kubelet's client certificate", request: good, want: "it is for the signer kubernetes.io/kube-apiserver-client-kubelet",
			spec: spec(func(s *certificatesv1.CertificateSigningRequestSpec) {
				s.SignerName = certificatesv1.KubeAPIServerClientKubeletSignerName
			}),
		},
		"ClientUsage": {
			reason: "a server is no client", request: good, want: `"client auth"`,
			spec: spec(func(s *certificatesv1.CertificateSigningRequestSpec) {
				s.Usages = append(s.Usages, certificatesv1.UsageClientAuth)
			}),
		},
		"NoUsage": {
			reason: "any usage would be allowed", request: good, want: "its usages are []",
			spec: spec(func(s *certificatesv1.CertificateSigningRequestSpec) { s.Usages = nil }),
		},
		"Two": {
			reason: "what is checked is what is signed", request: good, want: "not one certificate request",
			spec: spec(func(s *certificatesv1.CertificateSigningRequestSpec) { s.Request = append(s.Request, s.Request...) }),
		},
		"Signature": {
			reason: "the key of somebody else", request: good, want: "not signed with its own key",
			spec: spec(func(s *certificatesv1.CertificateSigningRequestSpec) {
				block, _ := pem.Decode(s.Request)
				block.Bytes[len(block.Bytes)-1] ^= 1
				s.Request = pem.EncodeToMemory(block)
			}),
		},
		"Subject": {
			reason:  "another node's certificate",
			request: with(func(r *x509.CertificateRequest) { r.Subject.CommonName = "system:node:other" }),
			want:    "not the node's",
		},
		"Masters": {
			reason: "a group that may do everything", want: "not the node's",
			request: with(func(r *x509.CertificateRequest) { r.Subject.Organization = []string{"system:masters"} }),
		},
		"MoreSubject": {
			reason: "another system may read it", want: "not the node's",
			request: with(func(r *x509.CertificateRequest) { r.Subject.OrganizationalUnit = []string{"admins"} }),
		},
		"Address": {
			reason: "nobody's address", want: "it requests 192.0.2.9, but akd's pods have 192.0.2.5, fd00::5",
			request: with(func(r *x509.CertificateRequest) { r.IPAddresses = []net.IP{net.ParseIP("192.0.2.9")} }),
		},
		"ForgedAddress": {
			reason: "the API server's address, which the thief wrote into the Node", want: "but akd's pods have 192.0.2.5, fd00::5",
			request: with(func(r *x509.CertificateRequest) { r.IPAddresses = append(r.IPAddresses, net.ParseIP("192.0.2.1")) }),
		},
		"ForgedName": {
			reason:  "likewise its name",
			request: with(func(r *x509.CertificateRequest) { r.DNSNames = []string{"kubernetes"} }),
			want:    "it requests the name kubernetes, but the node was installed as vk",
		},
		"Nothing": {
			reason: "the common name may count as a name", want: "no name and no address",
			request: with(func(r *x509.CertificateRequest) { r.DNSNames, r.IPAddresses = nil, nil }),
		},
		"More": {
			reason: "a URI names somebody, too", want: "more than names and addresses",
			request: with(func(r *x509.CertificateRequest) { r.URIs = []*url.URL{{Scheme: "spiffe", Host: "eve"}} }),
		},
		"OtherKind": {
			reason: "a kind of name that Go does not know", want: "more than names and addresses",
			request: with(func(r *x509.CertificateRequest) {
				r.DNSNames, r.IPAddresses = nil, nil
				r.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: otherName}}
			}),
		},
		"Extension": {
			reason: "an authority", want: "more than names and addresses",
			request: with(func(r *x509.CertificateRequest) {
				r.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 19}, Value: []byte{0x30, 0x03, 0x01, 0x01, 0xff}}}
			}),
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
				Username:   "system:node:vk",
				Groups:     []string{"system:nodes", "system:authenticated"},
				SignerName: certificatesv1.KubeletServingSignerName,
				Usages: []certificatesv1.KeyUsage{
					certificatesv1.UsageDigitalSignature, certificatesv1.UsageServerAuth, certificatesv1.UsageKeyEncipherment,
				},
				Request: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: content}),
			}}
			if tc.spec != nil {
				tc.spec(&request.Spec)
			}
			server, addresses := knownServer()
			err = server.Check(request, addresses)
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("%s: error %v, want %q", tc.reason, err, tc.want)
			}
		})
	}
}

// A node can create mirror pods with akd's labels on itself, and write their
// addresses.
func TestIsAKD(t *testing.T) {
	akd := func(changes ...func(*corev1.Pod)) *corev1.Pod {
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{
				Name:            "vk-1",
				OwnerReferences: []metav1.OwnerReference{{Kind: "ReplicaSet", Name: "vk", Controller: new(true)}},
			},
			Spec: corev1.PodSpec{NodeName: "worker", ServiceAccountName: "vk"},
		}
		for _, change := range changes {
			change(pod)
		}
		return pod
	}
	cases := map[string]struct {
		reason string
		pod    *corev1.Pod
		want   bool
	}{
		"Own": {"of akd's Deployment", akd(), true},
		"Mirror": {"made by a node", akd(func(p *corev1.Pod) {
			p.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "hash"}
			p.OwnerReferences[0].Kind = "Node"
		}), false},
		"Alone":   {"made by a person", akd(func(p *corev1.Pod) { p.OwnerReferences = nil }), false},
		"Itself":  {"whose status akd writes", akd(func(p *corev1.Pod) { p.Spec.NodeName = "vk" }), false},
		"Account": {"of another node", akd(func(p *corev1.Pod) { p.Spec.ServiceAccountName = "other" }), false},
		"Ended":   {"its address may be another pod's", akd(func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }), false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := isAKD(tc.pod, "vk"); got != tc.want {
				t.Errorf("%s: got %t, want %t", tc.reason, got, tc.want)
			}
		})
	}
}
