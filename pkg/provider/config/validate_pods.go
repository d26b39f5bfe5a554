package config

import (
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"unicode"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/internal/keypattern"
)

func (n NamespacesConfiguration) validate(path *field.Path) field.ErrorList {
	all := validateNamespaceLabels(n.Labels, path.Child("labels"))
	all = append(all, validateNamespaceAnnotations(n.Annotations, path.Child("annotations"))...)
	all = append(all, validateQuantities(n.ResourceQuota, path.Child("resourceQuota"))...)
	for i := range n.LimitRange {
		item, at := &n.LimitRange[i], path.Child("limitRange").Index(i)
		switch item.Type {
		case corev1.LimitTypePod, corev1.LimitTypeContainer, corev1.LimitTypePersistentVolumeClaim:
		default:
			all = append(all, field.Invalid(at.Child("type"), string(item.Type), "want Container, Pod or PersistentVolumeClaim"))
		}
		for name, quantities := range map[string]corev1.ResourceList{
			"max": item.Max, "min": item.Min, "default": item.Default, "defaultRequest": item.DefaultRequest,
			"maxLimitRequestRatio": item.MaxLimitRequestRatio,
		} {
			all = append(all, validateQuantities(quantities, at.Child(name))...)
		}
	}
	at := path.Child("networkPolicy", "allowFrom")
	if len(n.NetworkPolicy.AllowFrom) > 0 && !n.NetworkPolicy.Enabled {
		all = append(all, field.Invalid(at, strings.Join(n.NetworkPolicy.AllowFrom, ","), "want networkPolicy.enabled: true as well"))
	}
	for i, cidr := range n.NetworkPolicy.AllowFrom {
		if _, _, err := net.ParseCIDR(cidr); err != nil {
			all = append(all, field.Invalid(at.Index(i), cidr, "want a CIDR such as 10.244.0.0/16"))
		}
	}
	return all
}

const wantUnreserved = "want another prefix: actual.vk, kubernetes.io and k8s.io are reserved, except app.kubernetes.io"

func validateNamespaceLabels(labels map[string]string, path *field.Path) field.ErrorList {
	all := validateLabels(labels, path)
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		if contract.IsReservedKey(key) {
			all = append(all, field.Forbidden(path.Key(key), wantUnreserved))
		}
	}
	return all
}

// validateNamespaceAnnotations allows values of one line: the policies' parameter is a
// list of lines.
func validateNamespaceAnnotations(annotations map[string]string, path *field.Path) field.ErrorList {
	var all field.ErrorList
	for _, key := range slices.Sorted(maps.Keys(annotations)) {
		switch {
		case len(validation.IsQualifiedName(strings.ToLower(key))) > 0: // as the API server
			all = append(all, field.Invalid(path.Key(key), key, wantKey))
		case contract.IsReservedKey(key):
			all = append(all, field.Forbidden(path.Key(key), wantUnreserved))
		}
		if strings.ContainsFunc(annotations[key], unicode.IsControl) {
			all = append(all, field.Invalid(path.Key(key), annotations[key], "want one line without control characters"))
		}
	}
	return all
}

// validateQuantities allows all resources: only the remote cluster knows which exist.
func validateQuantities(quantities corev1.ResourceList, path *field.Path) field.ErrorList {
	var all field.ErrorList
	for _, name := range slices.Sorted(maps.Keys(quantities)) {
		at, amount := path.Key(string(name)), quantities[name]
		if len(validation.IsQualifiedName(string(name))) > 0 {
			all = append(all, field.Invalid(at, string(name), "want the name of a resource, such as pods or requests.cpu"))
		}
		if amount.Sign() < 0 {
			all = append(all, field.Invalid(at, amount.String(), "want 0 or more"))
		}
	}
	return all
}

func validateLabels(labels map[string]string, path *field.Path) field.ErrorList {
	var all field.ErrorList
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		if len(validation.IsQualifiedName(key)) > 0 {
			all = append(all, field.Invalid(path.Key(key), key, wantKey))
		}
		if len(validation.IsValidLabelValue(labels[key])) > 0 {
			all = append(all, field.Invalid(path.Key(key), labels[key], wantLabelValue))
		}
	}
	return all
}

func (p PodsConfiguration) validate(path *field.Path) field.ErrorList {
	all := validateEnv(p.Env, path.Child("env"))
	all = append(all, validateLabels(p.NodeSelector, path.Child("nodeSelector"))...)
	for i, toleration := range p.Tolerations {
		all = append(all, validateToleration(toleration, path.Child("tolerations").Index(i))...)
	}
	all = append(all, validateOptionalName(p.RuntimeClassName, path.Child("runtimeClassName"))...)
	all = append(all, validateOptionalName(p.PriorityClassName, path.Child("priorityClassName"))...)
	all = append(all, p.Placement.validate(path.Child("placement"))...)
	all = append(all, p.Labels.validate(path.Child("labels"))...)
	all = append(all, p.Annotations.validate(path.Child("annotations"))...)
	return append(all, oneOf(p.PodSecurity, path.Child("podSecurity"))...)
}

func validateName(name string, path *field.Path) field.ErrorList {
	if len(validation.IsDNS1123Subdomain(name)) > 0 {
		return field.ErrorList{field.Invalid(path, name, wantSubdomain)}
	}
	return nil
}

func validateOptionalName(name string, path *field.Path) field.ErrorList {
	if name == "" {
		return nil
	}
	return validateName(name, path)
}

func (p PlacementConfiguration) validate(path *field.Path) field.ErrorList {
	var all field.ErrorList
	for i, key := range p.NodeLabels {
		if len(validation.IsQualifiedName(key)) > 0 {
			all = append(all, field.Invalid(path.Child("nodeLabels").Index(i), key, wantKey))
		}
	}
	for i, toleration := range p.Tolerations {
		at := path.Child("tolerations").Index(i)
		if toleration.Key == "" {
			all = append(all, field.Required(at.Child("key"), "without a key, pods could tolerate every taint of the remote cluster"))
			continue
		}
		if toleration.TolerationSeconds != nil {
			all = append(all, field.Forbidden(at.Child("tolerationSeconds"), "pods choose it themselves"))
		}
		all = append(all, validateToleration(toleration, at)...)
	}
	for name, classes := range map[string]map[string]string{"runtimeClasses": p.RuntimeClasses, "priorityClasses": p.PriorityClasses} {
		for _, local := range slices.Sorted(maps.Keys(classes)) {
			at := path.Child(name).Key(local)
			all = append(all, validateName(local, at)...)
			all = append(all, validateOptionalName(classes[local], at)...)
		}
	}
	for i, name := range p.Schedulers {
		all = append(all, validateName(name, path.Child("schedulers").Index(i))...)
	}
	return all
}

func (k KeysConfiguration) validate(path *field.Path) field.ErrorList {
	var all field.ErrorList
	for _, list := range []struct {
		name     string
		patterns []string
	}{{"allow", k.Allow}, {"deny", k.Deny}} {
		for i, pattern := range list.patterns {
			if keypattern.Check(pattern) != nil {
				all = append(all, field.Invalid(path.Child(list.name).Index(i), pattern, keypattern.Want))
			}
		}
	}
	return all
}

// validateEnv never quotes a value, which may be secret.
func validateEnv(env []corev1.EnvVar, path *field.Path) field.ErrorList {
	var all field.ErrorList
	seen := sets.New[string]()
	for i, variable := range env {
		at := path.Index(i).Child("name")
		switch {
		case variable.Name == "":
			all = append(all, field.Required(at, "want the name of the variable"))
		case len(validation.IsRelaxedEnvVarName(variable.Name)) > 0:
			all = append(all, field.Invalid(at, variable.Name, "want printable ASCII characters other than ="))
		case variable.Name == "KUBERNETES_PORT",
			strings.HasPrefix(variable.Name, "KUBERNETES_PORT_"),
			strings.HasPrefix(variable.Name, "KUBERNETES_SERVICE_"):
			all = append(all, field.Invalid(at, variable.Name, "set local.apiServer instead: akd derives this variable from it"))
		case seen.Has(variable.Name):
			all = append(all, field.Duplicate(at, variable.Name))
			all[len(all)-1].Detail = "want each name once"
		}
		if variable.ValueFrom != nil {
			all = append(all, field.Forbidden(path.Index(i).Child("valueFrom"), "want a value: a source would have to exist in every namespace"))
		}
		seen.Insert(variable.Name)
	}
	return all
}

// validateToleration follows the validation of the API server for a pod.
func validateToleration(toleration corev1.Toleration, path *field.Path) field.ErrorList {
	var all field.ErrorList
	if toleration.Key != "" && len(validation.IsQualifiedName(toleration.Key)) > 0 {
		all = append(all, field.Invalid(path.Child("key"), toleration.Key, wantKey))
	}
	if toleration.Key == "" && toleration.Operator != corev1.TolerationOpExists {
		all = append(all, field.Invalid(path.Child("operator"), string(toleration.Operator), "want Exists if there is no key"))
	}
	switch toleration.Operator {
	case corev1.TolerationOpExists:
		if toleration.Value != "" {
			all = append(all, field.Invalid(path.Child("value"), toleration.Value, "want no value with operator Exists"))
		}
	case corev1.TolerationOpEqual, "":
		if len(validation.IsValidLabelValue(toleration.Value)) > 0 {
			all = append(all, field.Invalid(path.Child("value"), toleration.Value, wantLabelValue))
		}
	case corev1.TolerationOpLt, corev1.TolerationOpGt:
		if _, err := strconv.ParseInt(toleration.Value, 10, 64); err != nil {
			all = append(all, field.Invalid(path.Child("value"), toleration.Value, "want a whole number with operator Lt or Gt"))
		}
	default:
		all = append(all, field.Invalid(path.Child("operator"), string(toleration.Operator), "want Exists, Equal, Lt or Gt"))
	}
	if toleration.Effect != "" {
		all = append(all, validateEffect(toleration.Effect, path.Child("effect"))...)
	}
	if toleration.TolerationSeconds != nil && toleration.Effect != corev1.TaintEffectNoExecute {
		all = append(all, field.Invalid(path.Child("effect"), string(toleration.Effect), "want NoExecute with tolerationSeconds"))
	}
	return all
}

const (
	wantKey        = "want a key such as example.com/name: letters, digits, -, _ and ., at most 63 after the prefix"
	wantLabelValue = "want at most 63 characters: letters, digits, -, _ and ., a letter or digit first and last"
)
