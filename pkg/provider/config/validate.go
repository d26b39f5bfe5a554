package config

import (
	"fmt"
	"math"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/internal/loopback"
	"github.com/actual-kubelets/actual-kubelets/pkg/internal/strictyaml"
)

const (
	// maxConcurrentSyncs is far more than one API server serves at a time
	// (--max-requests-inflight is 400, and 200 for writes).
	maxConcurrentSyncs = 1000
	// shortestResync and shortestGrace are limits because akd probes the remote API
	// server every 5 s.
	shortestResync = 10 * time.Second
	shortestGrace  = 10 * time.Second
	// maxNameservers is the limit of the API server for the dnsConfig of a pod.
	maxNameservers = 3
	// reserved is the domain of labels that only akd may set.
	reserved = "actual.vk"
)

// Validate returns all invalid fields. The detail of each error says what is allowed.
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
	all = append(all, oneOf(c.DisruptionBudgets, field.NewPath("disruptionBudgets"))...)
	all = append(all, c.Storage.validate(field.NewPath("storage"))...)
	all = append(all, c.Pods.validate(field.NewPath("pods"))...)
	all = append(all, c.Namespaces.validate(field.NewPath("namespaces"))...)
	all = append(all, c.KubeletAPI.validate(field.NewPath("kubeletAPI"))...)
	all = append(all, c.Limits.validate(field.NewPath("limits"))...)
	all = append(all, c.Metrics.validate(field.NewPath("metrics"), c.Profiling)...)
	all = append(all, validateObject(c.LeaderElection.Lease, field.NewPath("leaderElection", "lease"))...)
	all = append(all, c.Sync.validate(field.NewPath("sync"))...)
	all = append(all, oneOf(c.Logging.Level, field.NewPath("logging", "level"))...)
	return append(all, oneOf(c.Logging.Format, field.NewPath("logging", "format"))...)
}

func (s StorageConfiguration) validate(path *field.Path) field.ErrorList {
	all := oneOf(s.Mode, path.Child("mode"))
	if s.Mode == StorageClaims && len(s.Classes) == 0 {
		all = append(all, field.Required(path.Child("classes"), "want a StorageClass of the remote cluster, or storage.mode: none"))
	}
	for i, class := range s.Classes {
		if len(validation.IsDNS1123Subdomain(class)) > 0 {
			all = append(all, field.Invalid(path.Child("classes").Index(i), class, "want the name of a StorageClass of the remote cluster"))
		}
	}
	return all
}

func validateNodeName(name string, path *field.Path) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(path, "want the name of the virtual node, here or in --node-name")}
	}
	if len(name) > contract.MaxNodeName || len(validation.IsDNS1123Label(name)) > 0 {
		return field.ErrorList{field.Invalid(path, name,
			fmt.Sprintf("want at most %d characters: lowercase letters, digits and -, a letter or digit first and last", contract.MaxNodeName))}
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
		return append(all, field.Invalid(at, l.APIServer, "want an address that pods in the remote cluster can reach, not a loopback address"))
	}
	return all
}

// validateDifferent rejects configurations with the same cluster on both sides: akd
// would proxy its pods to itself. Whether two kubeconfigs lead to the same cluster
// is known only when akd uses them.
func validateDifferent(local LocalConfiguration, remote RemoteConfiguration, path *field.Path) field.ErrorList {
	all := append(validateObject(local.Secret, field.NewPath("local", "secret")), validateObject(remote.Secret, path.Child("secret"))...)
	switch {
	case local.Secret != "" && local.Kubeconfig != "":
		return append(all, field.Invalid(field.NewPath("local", "secret"), local.Secret, "want local.kubeconfig or local.secret, not both"))
	case remote.Secret != "" && remote.Kubeconfig != "":
		return append(all, field.Invalid(path.Child("secret"), remote.Secret, "want remote.kubeconfig or remote.secret, not both"))
	case remote.Secret != "" && local.Secret != "":
		return append(all, field.Invalid(path.Child("secret"), remote.Secret,
			"want local.secret or remote.secret, not both: akd reads the Secret from the cluster that it reaches without one"))
	case local.Secret != "" || remote.Secret != "":
		return all
	case local.Kubeconfig != remote.Kubeconfig || local.Context != remote.Context:
		return all
	case remote.Kubeconfig == "":
		return field.ErrorList{field.Required(path.Child("kubeconfig"),
			"want the kubeconfig of the remote cluster, here or in --remote-kubeconfig, or that of the local cluster: "+
				"akd can use its own service account for one of them only")}
	}
	return field.ErrorList{
		field.Invalid(path.Child("kubeconfig"), remote.Kubeconfig, "want a kubeconfig or context other than those of the local cluster"),
	}
}

// validateObject allows NAMESPACE/NAME or nothing.
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
			all = append(all, field.Required(at, "want a path, because mode is files"))
		}
		if c.Mode != CertificateFiles && file.value != "" {
			all = append(all, field.Invalid(at, file.value, "want nothing, because mode is not files"))
		}
	}
	if c.Mode == CertificateCSR {
		all = append(all, validateSigner(c.Signer, path.Child("signer"))...)
	}
	if c.Mode != CertificateCSR && c.Directory != "" {
		all = append(all, field.Invalid(path.Child("directory"), c.Directory, "want nothing, because mode is not csr"))
	}
	return all
}

// validateSigner allows what the API server does, and of Kubernetes' own signers only the
// one for servers.
// https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/#signers
func validateSigner(signer string, path *field.Path) field.ErrorList {
	domain, name, _ := strings.Cut(signer, "/")
	switch {
	case !strings.Contains(domain, ".") || len(validation.IsDNS1123Subdomain(domain)) > 0 || len(validation.IsDNS1123Subdomain(name)) > 0:
		return field.ErrorList{field.Invalid(path, signer, "want DOMAIN/NAME, such as "+certificatesv1.KubeletServingSignerName)}
	case domain == "kubernetes.io" && signer != certificatesv1.KubeletServingSignerName:
		return field.ErrorList{field.Invalid(path, signer,
			"want "+certificatesv1.KubeletServingSignerName+" or a signer of another domain: this one signs no certificates of servers")}
	}
	return nil
}

func (l LimitsConfiguration) validate(path *field.Path) field.ErrorList {
	var all field.ErrorList
	for _, limit := range []struct {
		name  string
		value int32
	}{
		{"references", l.References}, {"tokensPerPod", l.TokensPerPod},
		{"trustBundlesPerPod", l.TrustBundlesPerPod}, {"certificatesPerPod", l.CertificatesPerPod},
		{"unevictablePerBudget", l.UnevictablePerBudget},
	} {
		all = append(all, upTo(limit.value, math.MaxInt32, path.Child(limit.name))...)
	}
	if len(all) > 0 {
		return all
	}
	return upTo(l.ReferencesPerPod, int(max(l.References/2, 1)), path.Child("referencesPerPod"))
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
		return field.ErrorList{field.Invalid(at, m.Address, "want HOST:PORT or :PORT, or nothing to disable the server")}
	}
	return nil
}

func (s SyncConfiguration) validate(path *field.Path) field.ErrorList {
	var all field.ErrorList
	if d := s.ResyncPeriod.Duration; d != 0 && d < shortestResync {
		all = append(all, field.Invalid(path.Child("resyncPeriod"), duration(d), "want 10s or more, or 0s to disable it"))
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
	strictyaml.Enum
}](value E, path *field.Path) field.ErrorList {
	if slices.Contains(value.Values(), string(value)) {
		return nil
	}
	return field.ErrorList{field.Invalid(path, string(value), "want "+strictyaml.List(value.Values()))}
}

// upTo allows 1 to high.
func upTo(value int32, high int, path *field.Path) field.ErrorList {
	if value >= 1 && int64(value) <= int64(high) {
		return nil
	}
	return field.ErrorList{field.Invalid(path, value, "want 1 to "+strconv.Itoa(high))}
}

// hostPort splits HOST:PORT. The host may be empty, the port may be 0.
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
