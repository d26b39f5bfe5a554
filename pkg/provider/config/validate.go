package config

import (
	"fmt"
	"maps"
	"math"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	kubeletapis "k8s.io/kubelet/pkg/apis"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/internal/loopback"
)

const (
	// maxConcurrentSyncs is far more than one API server serves at a time
	// (--max-requests-inflight is 400, and 200 for writes).
	maxConcurrentSyncs = 1000
	// shortestResync and shortestGrace keep akd from asking more often than the
	// answer can change: the remote is probed every 5 s.
	shortestResync = 10 * time.Second
	shortestGrace  = 10 * time.Second
	// maxNameservers is what the API server takes in a pod's dnsConfig.
	maxNameservers = 3
	// reserved are the labels that are akd's own contract.
	reserved = "actual.vk"
)

// Validate returns everything that is not allowed, by the path of the field.
// The detail of each error says what is wanted.
func (c *Configuration) Validate() field.ErrorList {
	var all field.ErrorList
	if c.APIVersion != APIVersion {
		all = append(all, field.Invalid(field.NewPath("apiVersion"), c.APIVersion, "want "+APIVersion))
	}
	if c.Kind != Kind {
		all = append(all, field.Invalid(field.NewPath("kind"), c.Kind, "want "+Kind))
	}
	all = append(all, validateNodeName(c.NodeName, field.NewPath("nodeName"))...)
	all = append(all, c.Local.validate(field.NewPath("local"))...)
	all = append(all, validateDifferent(c.Local, c.Remote, field.NewPath("remote"))...)
	all = append(all, c.Node.validate(field.NewPath("node"), c.Local.Identity)...)
	all = append(all, oneOf(c.Services, field.NewPath("services"))...)
	all = append(all, c.Pods.validate(field.NewPath("pods"))...)
	all = append(all, c.Namespaces.validate(field.NewPath("namespaces"))...)
	all = append(all, c.KubeletAPI.validate(field.NewPath("kubeletAPI"))...)
	all = append(all, c.Metrics.validate(field.NewPath("metrics"), c.Profiling)...)
	all = append(all, validateObject(c.LeaderElection.Lease, field.NewPath("leaderElection", "lease"))...)
	all = append(all, c.Sync.validate(field.NewPath("sync"))...)
	all = append(all, oneOf(c.Logging.Level, field.NewPath("logging", "level"))...)
	return append(all, oneOf(c.Logging.Format, field.NewPath("logging", "format"))...)
}

func validateNodeName(name string, path *field.Path) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(path, "want a name for the virtual node, here or with --node-name")}
	}
	if len(name) > contract.MaxNodeName || len(validation.IsDNS1123Label(name)) > 0 {
		return field.ErrorList{field.Invalid(path, name,
			fmt.Sprintf("want at most %d characters: lower-case letters, digits and -, a letter or digit first and last", contract.MaxNodeName))}
	}
	return nil
}

func (l LocalConfiguration) validate(path *field.Path) field.ErrorList {
	all := oneOf(l.Identity, path.Child("identity"))
	if l.APIServer == "" {
		return all
	}
	at := path.Child("apiServer")
	host, port, ok := hostPort(l.APIServer)
	switch {
	case !ok || host == "" || port == 0:
		return append(all, field.Invalid(at, l.APIServer, "want HOST:PORT, such as 192.0.2.10:6443 or [2001:db8::1]:6443"))
	case loopback.Is(host):
		return append(all, field.Invalid(at, l.APIServer, "want an address that pods in the remote cluster reach, not this machine's own"))
	}
	return all
}

// validateDifferent refuses what is surely one cluster on both sides: akd would
// proxy its pods to itself. That two kubeconfigs lead to one cluster is seen
// only when they are used.
func validateDifferent(local LocalConfiguration, remote RemoteConfiguration, path *field.Path) field.ErrorList {
	all := append(validateObject(local.Secret, field.NewPath("local", "secret")), validateObject(remote.Secret, path.Child("secret"))...)
	switch {
	case local.Secret != "" && local.Kubeconfig != "":
		return append(all, field.Invalid(field.NewPath("local", "secret"), local.Secret, "want local.kubeconfig or local.secret, not both"))
	case remote.Secret != "" && remote.Kubeconfig != "":
		return append(all, field.Invalid(path.Child("secret"), remote.Secret, "want remote.kubeconfig or remote.secret, not both"))
	case remote.Secret != "" && local.Secret != "":
		return append(all, field.Invalid(path.Child("secret"), remote.Secret, "want local.secret or remote.secret, not both: one cluster has to be reached without"))
	case local.Secret != "" || remote.Secret != "":
		return all
	case local.Kubeconfig != remote.Kubeconfig || local.Context != remote.Context:
		return all
	case remote.Kubeconfig == "":
		return field.ErrorList{field.Required(path.Child("kubeconfig"),
			"want the kubeconfig of the remote cluster, here or with --remote-kubeconfig, or that of the local one: only one can be akd's own service account")}
	}
	return field.ErrorList{field.Invalid(path.Child("kubeconfig"), remote.Kubeconfig, "want another kubeconfig or context than the local cluster's")}
}

// validateObject wants NAMESPACE/NAME, or nothing.
func validateObject(value string, path *field.Path) field.ErrorList {
	if value == "" {
		return nil
	}
	namespace, name, _ := strings.Cut(value, "/")
	if len(validation.IsDNS1123Label(namespace)) > 0 || len(validation.IsDNS1123Subdomain(name)) > 0 {
		return field.ErrorList{field.Invalid(path, value, "want NAMESPACE/NAME, such as actual-system/vk-ak-example")}
	}
	return nil
}

func (n NodeConfiguration) validate(path *field.Path, identity LocalIdentity) field.ErrorList {
	var all field.ErrorList
	if n.Address != "" && net.ParseIP(n.Address) == nil {
		all = append(all, field.Invalid(path.Child("address"), n.Address, "want an IP address"))
	}
	if n.Hostname != "" && len(validation.IsDNS1123Subdomain(n.Hostname)) > 0 {
		all = append(all, field.Invalid(path.Child("hostname"), n.Hostname, wantSubdomain))
	}
	all = append(all, validateCapacity(n.Capacity, path.Child("capacity"))...)
	all = append(all, validateNodeLabels(n.Labels, path.Child("labels"), identity)...)
	all = append(all, validateTaints(n.Taints, path.Child("taints"))...)
	if len(n.ClusterDNS) > maxNameservers {
		all = append(all, field.Invalid(path.Child("clusterDNS"), len(n.ClusterDNS), "want at most 3 addresses: a pod's DNS configuration takes no more"))
	}
	for i, address := range n.ClusterDNS {
		if net.ParseIP(address) == nil {
			all = append(all, field.Invalid(path.Child("clusterDNS").Index(i), address, "want an IP address"))
		}
	}
	if len(validation.IsDNS1123Subdomain(n.ClusterDomain)) > 0 {
		all = append(all, field.Invalid(path.Child("clusterDomain"), n.ClusterDomain, wantSubdomain))
	}
	return all
}

const wantSubdomain = "want a DNS name: lower-case letters, digits, - and ., a letter or digit first and last"

// validateCapacity holds to what the API server takes in a node's status.
func validateCapacity(capacity corev1.ResourceList, path *field.Path) field.ErrorList {
	var all field.ErrorList
	for _, name := range slices.Sorted(maps.Keys(capacity)) {
		at, amount := path.Key(string(name)), capacity[name]
		switch {
		case !resourceName(string(name)):
			all = append(all, field.Invalid(at, string(name), "want cpu, memory, pods, ephemeral-storage, hugepages-SIZE or an extended resource such as example.com/gpu"))
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

func (n NamespacesConfiguration) validate(path *field.Path) field.ErrorList {
	all := validateQuantities(n.ResourceQuota, path.Child("resourceQuota"))
	for i := range n.LimitRange {
		item, at := &n.LimitRange[i], path.Child("limitRange").Index(i)
		switch item.Type {
		case corev1.LimitTypePod, corev1.LimitTypeContainer, corev1.LimitTypePersistentVolumeClaim:
		default:
			all = append(all, field.Invalid(at.Child("type"), string(item.Type), "want Container, Pod or PersistentVolumeClaim"))
		}
		for name, quantities := range map[string]corev1.ResourceList{
			"max": item.Max, "min": item.Min, "default": item.Default, "defaultRequest": item.DefaultRequest, "maxLimitRequestRatio": item.MaxLimitRequestRatio,
		} {
			all = append(all, validateQuantities(quantities, at.Child(name))...)
		}
	}
	at := path.Child("networkPolicy", "allowFrom")
	if len(n.NetworkPolicy.AllowFrom) > 0 && !n.NetworkPolicy.Enabled {
		all = append(all, field.Invalid(at, strings.Join(n.NetworkPolicy.AllowFrom, ","), "want networkPolicy.enabled: true beside it"))
	}
	for i, cidr := range n.NetworkPolicy.AllowFrom {
		if _, _, err := net.ParseCIDR(cidr); err != nil {
			all = append(all, field.Invalid(at.Index(i), cidr, "want a CIDR such as 10.244.0.0/16"))
		}
	}
	return all
}

// validateQuantities leaves it to the remote cluster what resources there are.
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
			all = append(all, field.Forbidden(path.Key(key), "want another prefix: labels of "+reserved+" are akd's own"))
		case identity != LocalIdentityNode:
		case within(domain, "node-restriction.kubernetes.io"):
			all = append(all, field.Forbidden(path.Key(key), "want it set with kubectl: NodeRestriction keeps node-restriction.kubernetes.io from nodes"))
		// https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#noderestriction
		case (within(domain, "kubernetes.io") || within(domain, "k8s.io")) && !kubeletapis.IsKubeletLabel(key):
			all = append(all, field.Forbidden(path.Key(key), "want it set with kubectl: NodeRestriction lets a node set, of kubernetes.io and k8s.io, only "+
				list(kubeletapis.KubeletLabels())+", and labels of "+list(kubeletapis.KubeletLabelNamespaces())))
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

const (
	wantKey        = "want a key such as example.com/name: letters, digits, -, _ and ., at most 63 after the prefix"
	wantLabelValue = "want at most 63 characters: letters, digits, -, _ and ., a letter or digit first and last"
)

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
			all[len(all)-1].Detail = "want one taint for each key and effect"
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

func (p PodsConfiguration) validate(path *field.Path) field.ErrorList {
	all := validateEnv(p.Env, path.Child("env"))
	all = append(all, validateLabels(p.NodeSelector, path.Child("nodeSelector"))...)
	for i, toleration := range p.Tolerations {
		all = append(all, validateToleration(toleration, path.Child("tolerations").Index(i))...)
	}
	if p.RuntimeClassName != "" && len(validation.IsDNS1123Subdomain(p.RuntimeClassName)) > 0 {
		all = append(all, field.Invalid(path.Child("runtimeClassName"), p.RuntimeClassName, wantSubdomain))
	}
	if p.PriorityClassName != "" && len(validation.IsDNS1123Subdomain(p.PriorityClassName)) > 0 {
		all = append(all, field.Invalid(path.Child("priorityClassName"), p.PriorityClassName, wantSubdomain))
	}
	return append(all, oneOf(p.PodSecurity, path.Child("podSecurity"))...)
}

// validateEnv never shows a value: it may be a secret.
func validateEnv(env []corev1.EnvVar, path *field.Path) field.ErrorList {
	var all field.ErrorList
	seen := sets.New[string]()
	for i, variable := range env {
		at := path.Index(i).Child("name")
		switch {
		case variable.Name == "":
			all = append(all, field.Required(at, "want the variable's name"))
		case len(validation.IsRelaxedEnvVarName(variable.Name)) > 0:
			all = append(all, field.Invalid(at, variable.Name, "want printable ASCII characters other than ="))
		case variable.Name == "KUBERNETES_PORT", strings.HasPrefix(variable.Name, "KUBERNETES_PORT_"), strings.HasPrefix(variable.Name, "KUBERNETES_SERVICE_"):
			all = append(all, field.Invalid(at, variable.Name, "want local.apiServer instead: akd makes this variable from it"))
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

// validateToleration holds to what the API server takes in a pod.
func validateToleration(toleration corev1.Toleration, path *field.Path) field.ErrorList {
	var all field.ErrorList
	if toleration.Key != "" && len(validation.IsQualifiedName(toleration.Key)) > 0 {
		all = append(all, field.Invalid(path.Child("key"), toleration.Key, wantKey))
	}
	if toleration.Key == "" && toleration.Operator != corev1.TolerationOpExists {
		all = append(all, field.Invalid(path.Child("operator"), string(toleration.Operator), "want Exists where there is no key"))
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

func (k KubeletAPIConfiguration) validate(path *field.Path) field.ErrorList {
	var all field.ErrorList
	if k.Address != "" && net.ParseIP(k.Address) == nil {
		all = append(all, field.Invalid(path.Child("address"), k.Address, "want an IP address"))
	}
	all = append(all, upTo(k.Port, math.MaxUint16, path.Child("port"))...)
	all = append(all, upTo(k.MaxConnections, math.MaxInt32, path.Child("maxConnections"))...)
	all = append(all, upTo(k.MaxStreams, math.MaxInt32, path.Child("maxStreams"))...)
	return append(all, k.Certificate.validate(path.Child("certificate"))...)
}

func (c CertificateConfiguration) validate(path *field.Path) field.ErrorList {
	all := oneOf(c.Mode, path.Child("mode"))
	for _, file := range []struct{ name, value string }{{"certFile", c.CertFile}, {"keyFile", c.KeyFile}} {
		at := path.Child(file.name)
		if c.Mode == CertificateFiles && file.value == "" {
			all = append(all, field.Required(at, "want a path with mode files"))
		}
		if c.Mode != CertificateFiles && file.value != "" {
			all = append(all, field.Invalid(at, file.value, "want it only with mode files"))
		}
	}
	if c.Mode != CertificateCSR && c.Directory != "" {
		all = append(all, field.Invalid(path.Child("directory"), c.Directory, "want it only with mode csr"))
	}
	return all
}

func (m MetricsConfiguration) validate(path *field.Path, profiling bool) field.ErrorList {
	at := path.Child("address")
	if m.Address == "" {
		if profiling {
			return field.ErrorList{field.Required(at, "want an address for the profiles, or profiling: false")}
		}
		return nil
	}
	if _, _, ok := hostPort(m.Address); !ok {
		return field.ErrorList{field.Invalid(at, m.Address, "want HOST:PORT or :PORT, or nothing to turn it off")}
	}
	return nil
}

func (s SyncConfiguration) validate(path *field.Path) field.ErrorList {
	var all field.ErrorList
	if d := s.ResyncPeriod.Duration; d != 0 && d < shortestResync {
		all = append(all, field.Invalid(path.Child("resyncPeriod"), duration(d), "want 10s or more, or 0s to turn it off"))
	}
	all = append(all, upTo(s.ConcurrentSyncs, maxConcurrentSyncs, path.Child("concurrentSyncs"))...)
	if d := s.UnusedNamespaceTTL.Duration; d < 0 {
		all = append(all, field.Invalid(path.Child("unusedNamespaceTTL"), duration(d), "want 0s or more"))
	}
	if d := s.RemoteGracePeriod.Duration; d < shortestGrace {
		all = append(all, field.Invalid(path.Child("remoteGracePeriod"), duration(d), "want 10s or more"))
	}
	return all
}

func oneOf[E interface {
	~string
	enum
}](value E, path *field.Path) field.ErrorList {
	if slices.Contains(value.values(), string(value)) {
		return nil
	}
	return field.ErrorList{field.Invalid(path, string(value), "want "+list(value.values()))}
}

// upTo wants at least 1 and at most high.
func upTo(value int32, high int, path *field.Path) field.ErrorList {
	if value >= 1 && int64(value) <= int64(high) {
		return nil
	}
	return field.ErrorList{field.Invalid(path, value, "want 1 to "+strconv.Itoa(high))}
}

// hostPort splits HOST:PORT; the host may be empty, the port may be 0.
func hostPort(address string) (host string, port int, ok bool) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, false
	}
	number, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "", 0, false
	}
	known := host == "" || net.ParseIP(host) != nil || len(validation.IsDNS1123Subdomain(strings.ToLower(host))) == 0
	return host, int(number), known
}
