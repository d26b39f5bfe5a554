package install

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	nodeutil "k8s.io/component-helpers/node/util"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
)

// nodesGroup is the group of all nodes.
const nodesGroup = "system:nodes"

// nodeUser is the user that a node is.
func nodeUser(node string) string { return "system:node:" + node }

// approve approves the node's own requests for a serving certificate. If the node
// has no certificate and no request was approved, it says why. A request may be
// there before the node has the address that it is for: an akd that starts
// elsewhere has another.
func approve(ctx context.Context, local kubernetes.Interface, node *corev1.Node) (pending string, err error) {
	client := local.CertificatesV1().CertificateSigningRequests()
	requests, err := client.List(ctx, metav1.ListOptions{FieldSelector: "spec.signerName=" + certificatesv1.KubeletServingSignerName})
	if err != nil {
		return "", fmt.Errorf("list certificate requests: %w", err)
	}
	_, certificate := nodeutil.GetNodeCondition(&node.Status, contract.ConditionServingCertificateSigned)
	signed := metav1.Time{}
	if certificate != nil && certificate.Status == corev1.ConditionTrue {
		signed = certificate.LastTransitionTime
	}
	for r := range requests.Items {
		request := &requests.Items[r]
		if request.Spec.Username != nodeUser(node.Name) || len(request.Status.Conditions) > 0 {
			continue
		}
		if err := checkRequest(request, node); err != nil {
			if !request.CreationTimestamp.Before(&signed) { // an older one is of an akd that is gone
				pending = fmt.Sprintf("certificate request %s is not approved: %s", request.Name, err)
			}
			continue
		}
		request.Status.Conditions = append(request.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{
			Type:    certificatesv1.CertificateApproved,
			Status:  corev1.ConditionTrue,
			Reason:  "KubectlActual",
			Message: "the node's own subject and addresses, approved at install",
		})
		options := metav1.UpdateOptions{FieldManager: kubeclient.FieldManager}
		if _, err := client.UpdateApproval(ctx, request.Name, request, options); err != nil && !apierrors.IsConflict(err) {
			return "", fmt.Errorf("approve certificate request %s: %w", request.Name, err)
		}
	}
	if certificate != nil && certificate.Status != corev1.ConditionTrue {
		return cmp.Or(pending, "akd has not requested a certificate yet"), nil
	}
	return pending, nil
}

// checkRequest compares a request with its requester and the node's addresses:
// the signer does not.
// https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/#kubernetes-signers
func checkRequest(request *certificatesv1.CertificateSigningRequest, node *corev1.Node) error {
	user := nodeUser(node.Name)
	if request.Spec.Username != user || !slices.Contains(request.Spec.Groups, nodesGroup) {
		return fmt.Errorf("it was made by %s, not by the node", request.Spec.Username)
	}
	block, _ := pem.Decode(request.Spec.Request)
	if block == nil {
		return errors.New("it is not PEM")
	}
	parsed, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return err
	}
	if parsed.Subject.CommonName != user || !slices.Equal(parsed.Subject.Organization, []string{nodesGroup}) {
		return fmt.Errorf("its subject is %s, not the node's", parsed.Subject)
	}
	var addresses []string
	for _, address := range node.Status.Addresses {
		addresses = append(addresses, address.Address)
	}
	requested := slices.Clone(parsed.DNSNames)
	for _, ip := range parsed.IPAddresses {
		requested = append(requested, ip.String())
	}
	for _, name := range requested {
		if !slices.Contains(addresses, name) {
			return fmt.Errorf("it requests %s, which is not an address of the node", name)
		}
	}
	if len(parsed.EmailAddresses) > 0 || len(parsed.URIs) > 0 {
		return errors.New("it requests more than names and addresses")
	}
	return nil
}
