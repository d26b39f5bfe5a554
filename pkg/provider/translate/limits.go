package translate

import (
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// Limits are what a remote namespace holds beside pods and what they need. Each
// is nil where the configuration asks for none.
type Limits struct {
	ResourceQuota *corev1.ResourceQuota
	LimitRange    *corev1.LimitRange
	NetworkPolicy *networkingv1.NetworkPolicy
}

// Limits returns the limits of the remote namespace that serves a local one.
func (m *Mapper) Limits(local string) Limits {
	meta := metav1.ObjectMeta{
		Name:      contract.LimitsName,
		Namespace: contract.RemoteNamespace(m.Node, local),
		Labels:    m.NamespaceLabels(local),
	}
	var limits Limits
	if len(m.ResourceQuota) > 0 {
		limits.ResourceQuota = &corev1.ResourceQuota{ObjectMeta: meta, Spec: corev1.ResourceQuotaSpec{Hard: m.ResourceQuota}}
	}
	if len(m.LimitRange) > 0 {
		limits.LimitRange = &corev1.LimitRange{ObjectMeta: meta, Spec: corev1.LimitRangeSpec{Limits: m.LimitRange}}
	}
	if m.Isolate {
		limits.NetworkPolicy = &networkingv1.NetworkPolicy{ObjectMeta: meta, Spec: m.isolation()}
	}
	return limits
}

// isolation lets in all but other nodes' pods. NetworkPolicies only add up, so
// that there is no way to shut out somebody but to name everybody else. That of
// an address block would be one: most networks take pods' addresses for a part
// of it, so that 0.0.0.0/0 lets all of them in.
// https://kubernetes.io/docs/concepts/services-networking/network-policies/#behavior-of-to-and-from-selectors
func (m *Mapper) isolation() networkingv1.NetworkPolicySpec {
	ingress := networkingv1.NetworkPolicyIngressRule{From: []networkingv1.NetworkPolicyPeer{
		{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{contract.LabelNodeName: m.Node}}},
		{NamespaceSelector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
			{Key: contract.LabelNodeName, Operator: metav1.LabelSelectorOpDoesNotExist},
		}}},
	}}
	for _, cidr := range m.AllowFrom {
		ingress.From = append(ingress.From, networkingv1.NetworkPolicyPeer{IPBlock: &networkingv1.IPBlock{CIDR: cidr}})
	}
	return networkingv1.NetworkPolicySpec{
		PodSelector: metav1.LabelSelector{},
		PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
		Ingress:     []networkingv1.NetworkPolicyIngressRule{ingress},
	}
}
