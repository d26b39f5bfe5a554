package check

import (
	"cmp"
	"context"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/internal/servingrequest"
)

// requestHangs is how long a request for a certificate may wait: an approver takes
// seconds.
const requestHangs = time.Minute

// approveFlag is the flag of install for an approver.
const approveFlag = "--approve-certificates"

func certificateChecks() []Check {
	installed := []string{"node-installed"}
	return []Check{
		{
			ID:      "serving-certificate",
			Title:   "the certificate of the kubelet API is signed",
			Needs:   installed,
			examine: servingCertificate,
		},
		{
			ID:      "certificate-approver",
			Title:   "the approver of akd's certificates works",
			Needs:   installed,
			examine: certificateApprover,
		},
	}
}

// server is what is known of the node's kubelet API without asking akd.
func (n *Node) server() servingrequest.Server {
	return servingrequest.Server{
		Node:     n.Name,
		Hostname: cmp.Or(n.Values.Hostname, n.Name),
		Signer:   cmp.Or(n.Values.Signer, certificatesv1.KubeletServingSignerName),
	}
}

// servingCertificate warns: pods run without a signed certificate, and each akd at
// another address needs one. A request that hangs while there is a certificate is for
// the next one.
func servingCertificate(ctx context.Context, s *Subject) Finding {
	condition := s.Node.condition(contract.ConditionServingCertificateSigned)
	if condition == nil {
		return skipped("the node has no condition %s", contract.ConditionServingCertificateSigned)
	}
	signed := condition.Status == corev1.ConditionTrue
	server := s.Node.server()
	requests, err := s.Local.Client.CertificatesV1().CertificateSigningRequests().List(ctx,
		metav1.ListOptions{FieldSelector: "spec.signerName=" + server.Signer})
	if err != nil {
		requests = &certificatesv1.CertificateSigningRequestList{} // the condition says enough
	}
	for i := range requests.Items {
		request := &requests.Items[i]
		if !server.Awaits(request) || signed && !s.hangs(request, condition) {
			continue
		}
		if s.Node.Approver != nil {
			return warning("see why its approver leaves it: "+s.approverLogsCommand()+"\nor let install judge it: "+s.installCommand(),
				"certificate signing request %s is not approved", request.Name)
		}
		return warning("approve it: "+s.installCommand(), "certificate signing request %s is not approved", request.Name)
	}
	if signed {
		return ok("%s", condition.Message)
	}
	return warning(s.installCommand(), "%s", condition.Message)
}

// hangs reports whether a request waits in vain that was made after the node got its
// certificate. An older one is of an akd that is gone.
func (s *Subject) hangs(request *certificatesv1.CertificateSigningRequest, signed *corev1.NodeCondition) bool {
	return !request.CreationTimestamp.Before(&signed.LastTransitionTime) && s.Clock.Since(request.CreationTimestamp.Time) > requestHangs
}

// certificateApprover warns if nobody approves the next certificate, and fails if no
// policy keeps the approver to its node.
func certificateApprover(ctx context.Context, s *Subject) Finding {
	approver := s.Node.Approver
	if approver == nil {
		return skipped("the node was installed without %s", approveFlag)
	}
	name := manifests.ApproverPolicy(s.Node.Name)
	policies := s.Local.Client.AdmissionregistrationV1()
	_, err := policies.ValidatingAdmissionPolicies().Get(ctx, name, metav1.GetOptions{})
	if err == nil {
		_, err = policies.ValidatingAdmissionPolicyBindings().Get(ctx, name, metav1.GetOptions{})
	}
	want, ready := ptr.Deref(approver.Spec.Replicas, 1), approver.Status.ReadyReplicas
	switch {
	case apierrors.IsNotFound(err):
		return failed(s.installCommand(), "it may approve every node's certificates: policy %s or its binding is missing", name)
	case want == 0 || ready == 0:
		return warning("see why: "+s.approverLogsCommand(),
			"%d of %d replicas are ready: after akd has moved to another address, its certificate is not approved", ready, want)
	default:
		return ok("%d of %d replicas are ready", ready, want)
	}
}
