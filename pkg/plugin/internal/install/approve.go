package install

import (
	"cmp"
	"context"
	"fmt"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	nodeutil "k8s.io/component-helpers/node/util"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/internal/servingrequest"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
)

// approve approves the node's own requests for a serving certificate. If the node
// has no certificate and no request was approved, it says why. A request may be
// there before the node has the address that it is for: an akd that starts
// elsewhere has another.
func (i *installer) approve(ctx context.Context, node *corev1.Node) (pending string, err error) {
	client := i.both.Local.Client.CertificatesV1().CertificateSigningRequests()
	server := servingrequest.Server{Node: node.Name, Hostname: i.values.Hostname, Signer: i.values.Signer}
	requests, err := client.List(ctx, metav1.ListOptions{FieldSelector: "spec.signerName=" + server.Signer})
	if err != nil {
		return "", fmt.Errorf("list certificate requests: %w", err)
	}
	akds, err := i.host.Client.CoreV1().Pods(contract.SystemNamespace).List(ctx, kubeclient.AKDPods(node.Name))
	if err != nil {
		return "", fmt.Errorf("list akd's pods, whose addresses a certificate can be for: %w", err)
	}
	addresses := servingrequest.Addresses(akds.Items, node.Name)
	_, certificate := nodeutil.GetNodeCondition(&node.Status, contract.ConditionServingCertificateSigned)
	signed := metav1.Time{}
	if certificate != nil && certificate.Status == corev1.ConditionTrue {
		signed = certificate.LastTransitionTime
	}
	for r := range requests.Items {
		request := &requests.Items[r]
		if !server.Awaits(request) {
			continue
		}
		if err := server.Check(request, addresses); err != nil {
			if !request.CreationTimestamp.Before(&signed) { // an older one is of an akd that is gone
				pending = fmt.Sprintf("certificate request %s is not approved: %s", request.Name, err)
			}
			continue
		}
		if err := approveRequest(ctx, i.both.Local.Client, request); err != nil {
			return "", err
		}
	}
	if certificate != nil && certificate.Status != corev1.ConditionTrue {
		return cmp.Or(pending, "akd has not requested a certificate yet"), nil
	}
	return pending, nil
}

func approveRequest(ctx context.Context, local kubernetes.Interface, request *certificatesv1.CertificateSigningRequest) error {
	servingrequest.Approve(request, "KubectlActual", "the node's own subject, and the addresses of akd's own pods, approved at install")
	_, err := local.CertificatesV1().CertificateSigningRequests().UpdateApproval(ctx, request.Name, request,
		metav1.UpdateOptions{FieldManager: kubeclient.FieldManager})
	if err != nil && !apierrors.IsConflict(err) {
		return fmt.Errorf("approve certificate request %s: %w", request.Name, err)
	}
	return nil
}
