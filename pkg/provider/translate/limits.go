package translate

import (
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// limitsName is what the limits of a remote namespace are called, each in its
// own kind.
const limitsName = "actual-vk"

// Limits are what a remote namespace holds beside pods and what they need. Each
// is nil where the configuration asks for none.
type Limits struct {
	ResourceQuota *corev1.ResourceQuota
	LimitRange    *corev1.LimitRange
	NetworkPolicy *networkingv1.NetworkPolicy
}

// Limits returns the limits of the remote namespace that serves a local one.
func (s *Site) Limits(local string) Limits {
	meta := metav1.ObjectMeta{
		Name:      limitsName,
		Namespace: RemoteNamespace(s.Node, local),
		Labels:    map[string]string{LabelNodeName: s.Node, LabelNamespace: local},
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

// isolation lets in all but other nodes' pods. NetworkPolicies only add up, so
// that there is no way to shut out somebody but to name everybody else. That of
// an address block would be one: most networks take pods' addresses for a part
// of it, so that 0.0.0.0/0 lets all of them in.
// https://kubernetes.io/docs/concepts/services-networking/network-policies/#behavior-of-to-and-from-selectors
func (s *Site) isolation() networkingv1.NetworkPolicySpec {
	ingress := networkingv1.NetworkPolicyIngressRule{From: []networkingv1.NetworkPolicyPeer{
		{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{LabelNodeName: s.Node}}},
		{NamespaceSelector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
			{Key: LabelNodeName, Operator: metav1.LabelSelectorOpDoesNotExist},
		}}},
	}}
	for _, cidr := range s.AllowFrom {
		ingress.From = append(ingress.From, networkingv1.NetworkPolicyPeer{IPBlock: &networkingv1.IPBlock{CIDR: cidr}})
	}
	return networkingv1.NetworkPolicySpec{
		PodSelector: metav1.LabelSelector{},
		PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
		Ingress:     []networkingv1.NetworkPolicyIngressRule{ingress},
	}
}
