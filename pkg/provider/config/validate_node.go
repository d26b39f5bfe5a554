package config

import (
	"maps"
	"math"
	"net"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	kubeletapis "k8s.io/kubelet/pkg/apis"

	"github.com/actual-kubelets/actual-kubelets/pkg/internal/remotenodes"
	"github.com/actual-kubelets/actual-kubelets/pkg/internal/strictyaml"
)

func (n NodeConfiguration) validate(path *field.Path, identity LocalIdentity) field.ErrorList {
	var all field.ErrorList
	if n.Address != "" && net.ParseIP(n.Address) == nil {
		all = append(all, field.Invalid(path.Child("address"), n.Address, "want an IP address"))
	}
	all = append(all, validateOptionalName(n.Hostname, path.Child("hostname"))...)
	all = append(all, validateCapacity(n.Capacity, path.Child("capacity"))...)
	for i, feature := range n.DeclaredFeatures {
		if !remotenodes.Serves(feature) {
			all = append(all, field.Invalid(path.Child("declaredFeatures").Index(i), feature, "want "+strictyaml.List(remotenodes.ServedFeatures())))
		}
	}
	all = append(all, validateNodeLabels(n.Labels, path.Child("labels"), identity)...)
	all = append(all, validateTaints(n.Taints, path.Child("taints"))...)
	if len(n.ClusterDNS) > maxNameservers {
		all = append(all, field.Invalid(path.Child("clusterDNS"), len(n.ClusterDNS),
			"want at most 3 addresses, the limit of the DNS configuration of a pod"))
	}
	for i, address := range n.ClusterDNS {
		if net.ParseIP(address) == nil {
			all = append(all, field.Invalid(path.Child("clusterDNS").Index(i), address, "want an IP address"))
		}
	}
	return append(all, validateName(n.ClusterDomain, path.Child("clusterDomain"))...)
}

const wantSubdomain = "want a DNS name: lowercase letters, digits, - and ., a letter or digit first and last"

// validateCapacity follows the validation of the API server for the status of a
// node.
func validateCapacity(capacity corev1.ResourceList, path *field.Path) field.ErrorList {
	var all field.ErrorList
	for _, name := range slices.Sorted(maps.Keys(capacity)) {
		at, amount := path.Key(string(name)), capacity[name]
		switch {
		case !resourceName(string(name)):
			all = append(all, field.Invalid(at, string(name),
				"want cpu, memory, pods, ephemeral-storage, hugepages-SIZE or an extended resource such as example.com/gpu"))
		case amount.Sign() < 0:
			all = append(all, field.Invalid(at, amount.String(), "want 0 or more"))
		case amount.CmpInt64(math.MaxInt64) >= 0:
			all = append(all, field.Invalid(at, amount.String(), "want less than 8Ei"))
		case name != corev1.ResourceCPU && amount.Cmp(*resource.NewQuantity(amount.Value(), resource.DecimalSI)) != 0:
			all = append(all, field.Invalid(at, amount.String(), "want a whole number: only cpu has fractions"))
		}
	}
	return all
}

func resourceName(name string) bool {
	switch corev1.ResourceName(name) {
	case corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourcePods, corev1.ResourceEphemeralStorage:
		return true
	}
	if strings.HasPrefix(name, corev1.ResourceHugePagesPrefix) {
		return len(validation.IsQualifiedName(name)) == 0
	}
	return strings.Contains(name, "/") && len(validation.IsQualifiedName(name)) == 0
}

func validateNodeLabels(labels map[string]string, path *field.Path, identity LocalIdentity) field.ErrorList {
	all := validateLabels(labels, path)
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		domain, _, _ := strings.Cut(key, "/")
		switch {
		case !strings.Contains(key, "/"):
		case within(domain, reserved):
			all = append(all, field.Forbidden(path.Key(key), "want another prefix: "+reserved+" is reserved for akd"))
		case identity != LocalIdentityNode:
		case within(domain, "node-restriction.kubernetes.io"):
			all = append(all, field.Forbidden(path.Key(key),
				"set it with kubectl: NodeRestriction does not allow nodes to set labels of node-restriction.kubernetes.io"))
		// https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#noderestriction
		case (within(domain, "kubernetes.io") || within(domain, "k8s.io")) && !kubeletapis.IsKubeletLabel(key):
			all = append(all, field.Forbidden(path.Key(key),
				"set it with kubectl: of kubernetes.io and k8s.io, NodeRestriction allows nodes to set only "+
					strictyaml.List(kubeletapis.KubeletLabels())+", and labels of "+strictyaml.List(kubeletapis.KubeletLabelNamespaces())))
		}
	}
	return all
}

func within(domain, parent string) bool {
	return domain == parent || strings.HasSuffix(domain, "."+parent)
}

func validateTaints(taints []corev1.Taint, path *field.Path) field.ErrorList {
	var all field.ErrorList
	seen := sets.New[corev1.Taint]()
	for i, taint := range taints {
		at := path.Index(i)
		if len(validation.IsQualifiedName(taint.Key)) > 0 {
			all = append(all, field.Invalid(at.Child("key"), taint.Key, wantKey))
		}
		if len(validation.IsValidLabelValue(taint.Value)) > 0 {
			all = append(all, field.Invalid(at.Child("value"), taint.Value, wantLabelValue))
		}
		all = append(all, validateEffect(taint.Effect, at.Child("effect"))...)
		same := corev1.Taint{Key: taint.Key, Effect: taint.Effect}
		if seen.Has(same) {
			all = append(all, field.Duplicate(at, taint.Key+":"+string(taint.Effect)))
			all[len(all)-1].Detail = "want one taint per key and effect"
		}
		seen.Insert(same)
	}
	return all
}

func validateEffect(effect corev1.TaintEffect, path *field.Path) field.ErrorList {
	switch effect {
	case corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute:
		return nil
	}
	return field.ErrorList{field.Invalid(path, string(effect), "want NoSchedule, PreferNoSchedule or NoExecute")}
}
