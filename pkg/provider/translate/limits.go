package translate

import (
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// Limits are the objects that restrict a remote namespace. Each is nil if the
// configuration has none.
type Limits struct {
	ResourceQuota *corev1.ResourceQuota
	LimitRange    *corev1.LimitRange
	NetworkPolicy *networkingv1.NetworkPolicy
}

// Limits returns the limits of the remote namespace of a local namespace.
func (s Site) Limits(local string) Limits {
	meta := metav1.ObjectMeta{
		Name:      contract.LimitsName,
		Namespace: s.name,
		Labels:    s.NamespaceLabels(local),
	}
	var limits Limits
	if len(s.ResourceQuota) > 0 {
		limits.ResourceQuota = &corev1.ResourceQuota{ObjectMeta: meta, Spec: corev1.ResourceQuotaSpec{Hard: s.ResourceQuota}}
	}
	if len(s.LimitRange) > 0 {
		limits.LimitRange = &corev1.LimitRange{ObjectMeta: meta, Spec: corev1.LimitRangeSpec{Limits: s.LimitRange}}
	}
	if s.Isolate {
		limits.NetworkPolicy = &networkingv1.NetworkPolicy{ObjectMeta: meta, Spec: s.isolation()}
	}
	return limits
}

// isolation admits traffic from everywhere except the pods of other nodes. Rules of
// NetworkPolicies only add up, so the only way to exclude a peer is to list all
// others. An address block does not help: most networks consider the addresses of
// pods a part of it, so 0.0.0.0/0 admits them all.
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
