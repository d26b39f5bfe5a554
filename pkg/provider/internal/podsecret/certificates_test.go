package podsecret

import (
	"crypto/x509"
	"encoding/pem"
	"testing"
)

// The API server checks that the proof is signed by its own key, and admits
// only these types.
// https://github.com/kubernetes/kubernetes/blob/v1.37.1/pkg/apis/certificates/validation/validation.go
func TestNewKey(t *testing.T) {
	for kind, algorithm := range map[string]x509.PublicKeyAlgorithm{
		"RSA3072": x509.RSA, "ECDSAP256": x509.ECDSA, "ECDSAP384": x509.ECDSA, "ECDSAP521": x509.ECDSA, "ED25519": x509.Ed25519,
	} {
		t.Run(kind, func(t *testing.T) {
			key, proof, err := newKey(kind)
			if err != nil {
				t.Fatal(err)
			}
			block, _ := pem.Decode([]byte(key))
			if _, err := x509.ParsePKCS8PrivateKey(block.Bytes); err != nil {
				t.Errorf("the key: %v", err)
			}
			request, err := x509.ParseCertificateRequest(proof)
			if err != nil {
				t.Fatal(err)
			}
			if err := request.CheckSignature(); err != nil || request.PublicKeyAlgorithm != algorithm {
				t.Errorf("the proof is of %s: %v, want %s", request.PublicKeyAlgorithm, err, algorithm)
			}
		})
	}
	if _, _, err := newKey("DSA"); err == nil {
		t.Error("DSA: got no error")
	}
}
