package servingrequest

import (
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
)

// nodesGroup is the group of all nodes.
const nodesGroup = "system:nodes"

// Server is the kubelet API of a node, as far as it is known without asking akd.
type Server struct {
	Node     string
	Hostname string // as the node was installed
	Signer   string
}

// User is who makes the node's requests.
func (s Server) User() string { return "system:node:" + s.Node }

// Awaits reports whether the node has made a request that nobody has decided on.
func (s Server) Awaits(request *certificatesv1.CertificateSigningRequest) bool {
	return request.Spec.Username == s.User() && request.Spec.SignerName == s.Signer && len(request.Status.Conditions) == 0
}

// Approve adds the condition that approves a request. Only UpdateApproval stores it.
func Approve(request *certificatesv1.CertificateSigningRequest, reason, message string) {
	request.Status.Conditions = append(request.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{
		Type:    certificatesv1.CertificateApproved,
		Status:  corev1.ConditionTrue,
		Reason:  reason,
		Message: message,
	})
}

// Check returns nil if a request is the node's own, and otherwise the reason why not.
// addresses are those of akd's own pods. It compares a request with what is known of its
// requester: the signer does not. A thief of the node's identity could otherwise get a
// certificate for the address of another kubelet, or of the API server: the addresses of
// the Node prove nothing, because whoever makes the request writes them.
// https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/#kubernetes-signers
func (s Server) Check(request *certificatesv1.CertificateSigningRequest, addresses []string) error {
	user := s.User()
	if request.Spec.Username != user || !slices.Contains(request.Spec.Groups, nodesGroup) {
		return fmt.Errorf("it was made by %s, not by the node", request.Spec.Username)
	}
	if request.Spec.SignerName != s.Signer {
		return fmt.Errorf("it is for the signer %s, not for %s", request.Spec.SignerName, s.Signer)
	}
	if err := checkUsages(request.Spec.Usages); err != nil {
		return err
	}
	block, rest := pem.Decode(request.Spec.Request)
	if block == nil || block.Type != "CERTIFICATE REQUEST" || strings.TrimSpace(string(rest)) != "" {
		return errors.New("it is not one certificate request in PEM")
	}
	parsed, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return err
	}
	if err := parsed.CheckSignature(); err != nil {
		return fmt.Errorf("it is not signed with its own key: %w", err)
	}
	subject := parsed.Subject
	if subject.CommonName != user || !slices.Equal(subject.Organization, []string{nodesGroup}) || len(subject.Names) != 2 {
		return fmt.Errorf("its subject is %s, not the node's", subject)
	}
	if err := checkKinds(parsed); err != nil {
		return err
	}
	return s.checkNames(parsed, addresses)
}

// checkUsages accepts what the signer does: what a server needs, and no client.
func checkUsages(usages []certificatesv1.KeyUsage) error {
	rest := slices.DeleteFunc(slices.Clone(usages), func(usage certificatesv1.KeyUsage) bool {
		return usage == certificatesv1.UsageDigitalSignature || usage == certificatesv1.UsageKeyEncipherment ||
			usage == certificatesv1.UsageServerAuth
	})
	if len(rest) > 0 || !slices.Contains(usages, certificatesv1.UsageServerAuth) ||
		!slices.Contains(usages, certificatesv1.UsageDigitalSignature) {
		return fmt.Errorf("its usages are %q, not those of a server", usages)
	}
	return nil
}

// checkKinds refuses whatever is neither a DNS name nor an IP address, also the kinds
// of names that Go does not know.
func checkKinds(parsed *x509.CertificateRequest) error {
	tooMuch := errors.New("it requests more than names and addresses")
	if len(parsed.EmailAddresses) > 0 || len(parsed.URIs) > 0 || len(parsed.Extensions) > 1 {
		return tooMuch
	}
	subjectAltName := asn1.ObjectIdentifier{2, 5, 29, 17}
	for _, extension := range parsed.Extensions {
		var names []asn1.RawValue
		if !extension.Id.Equal(subjectAltName) {
			return tooMuch
		}
		if _, err := asn1.Unmarshal(extension.Value, &names); err != nil || len(names) != len(parsed.DNSNames)+len(parsed.IPAddresses) {
			return tooMuch
		}
	}
	return nil
}

// checkNames demands of each name that it is known not only from the node.
func (s Server) checkNames(parsed *x509.CertificateRequest, addresses []string) error {
	if len(parsed.DNSNames)+len(parsed.IPAddresses) == 0 {
		return errors.New("it requests no name and no address")
	}
	for _, name := range parsed.DNSNames {
		if name != s.Hostname {
			return fmt.Errorf("it requests the name %s, but the node was installed as %s", name, s.Hostname)
		}
	}
	for _, ip := range parsed.IPAddresses {
		proven := slices.ContainsFunc(addresses, func(address string) bool {
			parsed, err := netip.ParseAddr(address)
			return err == nil && parsed.Unmap().String() == ip.String()
		})
		if !proven {
			return fmt.Errorf("it requests %s, but akd's pods have %s: if akd is reached there, compare and approve it yourself",
				ip, orNone(addresses))
		}
	}
	return nil
}

func orNone(addresses []string) string {
	if len(addresses) == 0 {
		return "no address"
	}
	return strings.Join(addresses, ", ")
}
