package install

import (
	"cmp"
	"context"
	"fmt"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
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
func (i *installer) approve(ctx context.Context, node *corev1.Node) (pending string, err error) {
	client := i.both.Local.Client.CertificatesV1().CertificateSigningRequests()
	requests, err := client.List(ctx, metav1.ListOptions{FieldSelector: "spec.signerName=" + certificatesv1.KubeletServingSignerName})
	if err != nil {
		return "", fmt.Errorf("list certificate requests: %w", err)
	}
	server, err := i.server(ctx, node)
	if err != nil {
		return "", err
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
		if err := server.check(request); err != nil {
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
	request.Status.Conditions = append(request.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{
		Type:    certificatesv1.CertificateApproved,
		Status:  corev1.ConditionTrue,
		Reason:  "KubectlActual",
		Message: "the node's own subject, and the addresses of akd's own pods, approved at install",
	})
	_, err := local.CertificatesV1().CertificateSigningRequests().UpdateApproval(ctx, request.Name, request,
		metav1.UpdateOptions{FieldManager: kubeclient.FieldManager})
	if err != nil && !apierrors.IsConflict(err) {
		return fmt.Errorf("approve certificate request %s: %w", request.Name, err)
	}
	return nil
}

// server returns what is known of the node's kubelet API without asking akd.
func (i *installer) server(ctx context.Context, node *corev1.Node) (server, error) {
	akds, err := i.host.Client.CoreV1().Pods(contract.SystemNamespace).List(ctx, kubeclient.AKDPods(node.Name))
	if err != nil {
		return server{}, fmt.Errorf("list akd's pods, whose addresses a certificate can be for: %w", err)
	}
	hostname, _, _ := unstructured.NestedString(i.options.fields, "node", "hostname")
	known := server{node: node.Name, hostname: cmp.Or(hostname, node.Name)}
	for _, address := range node.Status.Addresses {
		known.reported = append(known.reported, address.Address)
	}
	for p := range akds.Items {
		if isAKD(&akds.Items[p], node.Name) {
			for _, ip := range akds.Items[p].Status.PodIPs {
				known.addresses = append(known.addresses, ip.IP)
			}
		}
	}
	return known, nil
}

// isAKD reports whether a pod with akd's labels is one. The identity of a node, which
// akd has, can create mirror pods with any labels on itself, and write any address
// into the status of its own pods.
// https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#noderestriction
func isAKD(pod *corev1.Pod, node string) bool {
	owner := metav1.GetControllerOf(pod)
	_, mirror := pod.Annotations[corev1.MirrorPodAnnotationKey]
	return owner != nil && owner.Kind == "ReplicaSet" && !mirror && !ended(pod) &&
		pod.Spec.NodeName != node && pod.Spec.ServiceAccountName == node
}
