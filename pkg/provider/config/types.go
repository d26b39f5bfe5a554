package config

import (
	"net"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// APIVersion of the configuration that this akd reads.
	APIVersion = "actual.vk/v1alpha1"
	// Kind of the configuration.
	Kind = "AKDConfiguration"
)

// Configuration is everything that akd can be told. A field that is left out
// keeps its default; a field that is set, even to an empty value, is taken at
// its word.
type Configuration struct {
	// Version of this format: actual.vk/v1alpha1. Required in a file.
	APIVersion string `json:"apiVersion"`
	// Kind of this document: AKDConfiguration. Required in a file.
	Kind string `json:"kind"`
	// Name of the virtual node in the local cluster: a DNS-1123 label of at
	// most 46 characters, because remote namespaces are named after it.
	// Required. Once pods have run under it, another name is another node.
	NodeName string `json:"nodeName" flag:"node-name"`
	// Local is the cluster that the node joins, where users create pods.
	Local LocalConfiguration `json:"local"`
	// Remote is the cluster whose kubelets run the pods.
	Remote RemoteConfiguration `json:"remote"`
	// Node describes the virtual node to the local cluster.
	Node NodeConfiguration `json:"node"`
	// How pods reach the Services of the local cluster. With mirror, akd keeps
	// copies of all Services and their endpoints in the remote cluster, with the
	// same addresses, and pods use the local cluster's DNS: names and addresses
	// are those of the local cluster. The remote cluster needs a ServiceCIDR
	// object with the local cluster's range of service addresses, which
	// Kubernetes has since 1.33, and which kubectl actual install makes. With
	// none, pods reach the local API server alone, by its environment variables
	// and names.
	Services ServicesMode `json:"services" flag:"services"`
	// Pods is what every remote pod gets.
	Pods PodsConfiguration `json:"pods"`
	// Namespaces is what every remote namespace gets.
	Namespaces NamespacesConfiguration `json:"namespaces"`
	// KubeletAPI is the HTTPS server for logs, exec, port-forward and usage.
	KubeletAPI KubeletAPIConfiguration `json:"kubeletAPI"`
	// Metrics is the HTTP server for metrics and probes.
	Metrics MetricsConfiguration `json:"metrics"`
	// Serve Go's profiles under /debug/pprof/ at metrics.address, to anyone who
	// reaches that address.
	Profiling bool `json:"profiling" flag:"profiling"`
	// LeaderElection lets one of several akds of the node work.
	LeaderElection LeaderElectionConfiguration `json:"leaderElection"`
	// Sync tunes how akd keeps the two clusters in step.
	Sync SyncConfiguration `json:"sync"`
	// Logging is what akd writes to standard error.
	Logging LoggingConfiguration `json:"logging"`
}

// LocalConfiguration says how akd, and the pods, reach the local cluster.
type LocalConfiguration struct {
	// Path of the kubeconfig of the local cluster. Empty means akd's own service
	// account, which works when akd runs in a pod of the local cluster.
	Kubeconfig string `json:"kubeconfig" flag:"local-kubeconfig" path:"file"`
	// Secret of the remote cluster, NAMESPACE/NAME, whose key kubeconfig holds
	// the kubeconfig of the local cluster, with everything in it: for an akd that
	// runs in the remote cluster. akd renews a service account's token in it at
	// 80% of its life, and takes up what others store there.
	Secret string `json:"secret" flag:"local-secret"`
	// Context of the kubeconfig. Empty means its current context.
	Context string `json:"context" flag:"local-context"`
	// Who akd is in the local cluster. With node, akd impersonates the user
	// system:node:NODENAME in the group system:nodes, and has exactly the
	// rights of a kubelet. With client, it acts as the kubeconfig's own user:
	// for clusters without the Node authorizer.
	Identity LocalIdentity `json:"identity" flag:"local-identity"`
	// Address of the local API server as pods in the remote cluster reach it,
	// HOST:PORT. Empty means the endpoint that the Service kubernetes of the
	// namespace default publishes.
	APIServer string `json:"apiServer" flag:"local-api-server"`
}

// RemoteConfiguration says how akd reaches the remote cluster.
type RemoteConfiguration struct {
	// Path of the kubeconfig of the remote cluster. Empty means akd's own
	// service account, which works when akd runs in a pod of the remote
	// cluster; only one of the two can be empty.
	Kubeconfig string `json:"kubeconfig" flag:"remote-kubeconfig" path:"file"`
	// Secret of the local cluster, NAMESPACE/NAME, whose key kubeconfig holds the
	// kubeconfig of the remote cluster, with everything in it: instead of
	// kubeconfig. akd renews a service account's token in it at 80% of its life,
	// and takes up what others store there.
	Secret string `json:"secret" flag:"remote-secret"`
	// Context of the kubeconfig. Empty means its current context.
	Context string `json:"context" flag:"remote-context"`
}

// LeaderElectionConfiguration is for several akds of one node, of which one
// works and the others wait.
type LeaderElectionConfiguration struct {
	// Lease of the local cluster, NAMESPACE/NAME, that the working akd holds. A
	// waiting one takes over at once when it is given back, and 12 s after its
	// last renewal when it is not. Empty means that there is one akd only: two
	// that both work would disturb each other.
	Lease string `json:"lease" flag:"leader-election-lease"`
}

// NodeConfiguration describes the virtual node.
type NodeConfiguration struct {
	// Address of the node, its InternalIP: where the local API server reaches
	// the kubelet API of akd. Empty means the address from which akd reaches
	// the local API server.
	Address string `json:"address" flag:"node-address"`
	// Hostname of the node, in its addresses and in its label
	// kubernetes.io/hostname. Empty means nodeName.
	Hostname string `json:"hostname" flag:"node-hostname"`
	// Capacity of the node by resource: cpu, memory, pods, ephemeral-storage,
	// and extended resources. A resource that is named here replaces what akd
	// finds by adding up the schedulable nodes of the remote cluster; where akd
	// may not list them, this is all there is.
	Capacity corev1.ResourceList `json:"capacity" flag:"node-capacity"`
	// Labels of the node, added to those that akd sets itself. With
	// local.identity node, only what NodeRestriction lets a kubelet set.
	Labels map[string]string `json:"labels" flag:"node-labels"`
	// Taints that the node registers with. A node may set them only then:
	// later changes are made with kubectl.
	Taints []corev1.Taint `json:"taints" flag:"node-taints"`
	// IP addresses of the local cluster's DNS, as pods in the remote cluster
	// reach it, at most 3. Empty means that pods use the remote cluster's DNS.
	ClusterDNS []string `json:"clusterDNS" flag:"cluster-dns"`
	// DNS domain of the local cluster.
	ClusterDomain string `json:"clusterDomain" flag:"cluster-domain"`
}

// PodsConfiguration is what every remote pod gets, whatever its local one says.
type PodsConfiguration struct {
	// Environment variables of every container that does not set them itself.
	Env []corev1.EnvVar `json:"env" flag:"pod-env"`
	// Labels of the remote nodes that may run the pods.
	NodeSelector map[string]string `json:"nodeSelector" flag:"pod-node-selector"`
	// Tolerations for taints of the remote nodes.
	Tolerations []corev1.Toleration `json:"tolerations"`
	// RuntimeClass of the remote cluster. Empty means the remote's default.
	RuntimeClassName string `json:"runtimeClassName" flag:"pod-runtime-class"`
	// PriorityClass of the remote cluster. Empty means the remote's default.
	PriorityClassName string `json:"priorityClassName" flag:"pod-priority-class"`
	// Pod Security level that the remote namespaces enforce. The policy made
	// when akd was installed refuses a weaker one.
	PodSecurity PodSecurityLevel `json:"podSecurity" flag:"pod-security"`
}

// NamespacesConfiguration is what akd creates in every remote namespace before
// the first pod, each under the name actual-vk. Each needs a right of its own,
// which is switched on at install. akd changes none of them: a new value holds
// for namespaces that are made afterwards.
type NamespacesConfiguration struct {
	// What the pods of one namespace may take together, by resource: the
	// spec.hard of a ResourceQuota. Empty means no quota.
	ResourceQuota corev1.ResourceList `json:"resourceQuota"`
	// What single pods and containers take by default and at most: the
	// spec.limits of a LimitRange. Empty means none.
	LimitRange []corev1.LimitRangeItem `json:"limitRange"`
	// NetworkPolicy keeps other nodes' pods from reaching this node's.
	NetworkPolicy NetworkPolicyConfiguration `json:"networkPolicy"`
}

// NetworkPolicyConfiguration is a NetworkPolicy for all pods of a namespace. It
// lets in what comes from this node's namespaces, from namespaces of the remote
// cluster that are no node's, and from the addresses of allowFrom; the rest,
// other nodes' pods above all, is shut out. What pods may reach is not limited.
type NetworkPolicyConfiguration struct {
	// Create the NetworkPolicy.
	Enabled bool `json:"enabled"`
	// Addresses outside of the remote cluster that reach the pods, as CIDRs: the
	// local cluster's pods and nodes, for instance.
	AllowFrom []string `json:"allowFrom"`
}

// KubeletAPIConfiguration describes the HTTPS server that the local API server
// calls for logs, exec, attach, port-forward and usage.
type KubeletAPIConfiguration struct {
	// IP address to listen on. Empty means all.
	Address string `json:"address" flag:"kubelet-api-address"`
	// Port to listen on, and to publish in the Node.
	Port int32 `json:"port" flag:"kubelet-api-port"`
	// Certificate that the server shows.
	Certificate CertificateConfiguration `json:"certificate"`
	// Serve /healthz without authentication, for probes that cannot present
	// any. Every other path always asks for it.
	AnonymousHealth bool `json:"anonymousHealth" flag:"kubelet-api-anonymous-health"`
	// Most connections at a time; more wait. Callers who have shown no right
	// yet have half of them at most, and the oldest of these goes first.
	MaxConnections int32 `json:"maxConnections" flag:"kubelet-api-max-connections"`
	// Most streams at a time (logs, exec, attach, port-forward); more get 429
	// Too Many Requests. One user has three quarters of them at most.
	MaxStreams int32 `json:"maxStreams" flag:"kubelet-api-max-streams"`
}

// CertificateConfiguration says where the serving certificate comes from.
type CertificateConfiguration struct {
	// Where the certificate comes from. With csr, from the local cluster's
	// signer kubernetes.io/kubelet-serving; until someone approves the request,
	// a self-signed one is shown. With selfSigned, akd makes one, which clients
	// that verify refuse. With files, from certFile and keyFile, read again when
	// they change.
	Mode CertificateMode `json:"mode" flag:"tls-mode"`
	// Folder that keeps the certificate and its key across restarts in mode csr.
	// Empty keeps them in memory: each start then makes a new request.
	Directory string `json:"directory" flag:"tls-directory" path:"file"`
	// Path of the certificate and its chain, PEM. For mode files.
	CertFile string `json:"certFile" flag:"tls-cert-file" path:"file"`
	// Path of the private key, PEM. For mode files.
	KeyFile string `json:"keyFile" flag:"tls-private-key-file" path:"file"`
}

// MetricsConfiguration describes the HTTP server for metrics and probes.
type MetricsConfiguration struct {
	// Address of /metrics, /healthz and /readyz, HOST:PORT. They are plain HTTP
	// without authentication, and hold no names of pods. An empty HOST means
	// all addresses; an empty value turns the server off.
	Address string `json:"address" flag:"metrics-address"`
}

// SyncConfiguration tunes how akd keeps the two clusters in step.
type SyncConfiguration struct {
	// How often every pod is looked at again without a reason. Nothing is
	// written for pods that are as they should be. At least 10s; 0s turns it
	// off.
	ResyncPeriod metav1.Duration `json:"resyncPeriod" flag:"resync-period"`
	// Number of pods that are worked on at the same time.
	ConcurrentSyncs int32 `json:"concurrentSyncs" flag:"concurrent-syncs"`
	// How long a remote namespace without pods is kept, while its local one
	// lives.
	UnusedNamespaceTTL metav1.Duration `json:"unusedNamespaceTTL" flag:"unused-namespace-ttl"`
	// How long the remote may be silent before the node is not ready. At least
	// 10s.
	RemoteGracePeriod metav1.Duration `json:"remoteGracePeriod" flag:"remote-grace-period"`
}

// LoggingConfiguration is what akd writes to standard error.
type LoggingConfiguration struct {
	// What is logged. info is what an operator acts on; debug adds each step.
	Level LogLevel `json:"level" flag:"log-level"`
	// Form of a line: text as key=value, or json.
	Format LogFormat `json:"format" flag:"log-format"`
}

// Redacted returns a copy without what may be secret, the values of pods.env,
// to be shown at /configz and in logs.
func (c *Configuration) Redacted() *Configuration {
	shown := *c
	shown.Pods.Env = slices.Clone(c.Pods.Env)
	for i := range shown.Pods.Env {
		if shown.Pods.Env[i].Value != "" {
			shown.Pods.Env[i].Value = "<hidden>"
		}
	}
	return &shown
}

// ListenAddress is where the kubelet API listens, HOST:PORT.
func (k KubeletAPIConfiguration) ListenAddress() string {
	return net.JoinHostPort(k.Address, strconv.Itoa(int(k.Port)))
}

// LocalIdentity is who akd is in the local cluster.
type LocalIdentity string

// The identities that akd can have.
const (
	LocalIdentityNode   LocalIdentity = "node"
	LocalIdentityClient LocalIdentity = "client"
)

func (LocalIdentity) values() []string {
	return []string{string(LocalIdentityNode), string(LocalIdentityClient)}
}

// ServicesMode is how pods reach the local cluster's Services.
type ServicesMode string

// The ways to reach Services.
const (
	ServicesNone   ServicesMode = "none"
	ServicesMirror ServicesMode = "mirror"
)

func (ServicesMode) values() []string { return []string{string(ServicesNone), string(ServicesMirror)} }

// PodSecurityLevel is a level of the Pod Security Standards.
// https://kubernetes.io/docs/concepts/security/pod-security-standards/
type PodSecurityLevel string

// The levels, from the most to the least that a pod may do.
const (
	PodSecurityPrivileged PodSecurityLevel = "privileged"
	PodSecurityBaseline   PodSecurityLevel = "baseline"
	PodSecurityRestricted PodSecurityLevel = "restricted"
)

func (PodSecurityLevel) values() []string {
	return []string{string(PodSecurityPrivileged), string(PodSecurityBaseline), string(PodSecurityRestricted)}
}

// CertificateMode is where the serving certificate comes from.
type CertificateMode string

// The sources of a serving certificate.
const (
	CertificateCSR        CertificateMode = "csr"
	CertificateSelfSigned CertificateMode = "selfSigned"
	CertificateFiles      CertificateMode = "files"
)

func (CertificateMode) values() []string {
	return []string{string(CertificateCSR), string(CertificateSelfSigned), string(CertificateFiles)}
}

// LogLevel is how much is logged.
type LogLevel string

// The log levels.
const (
	LogLevelInfo  LogLevel = "info"
	LogLevelDebug LogLevel = "debug"
)

func (LogLevel) values() []string { return []string{string(LogLevelInfo), string(LogLevelDebug)} }

// LogFormat is the form of a log line.
type LogFormat string

// The log formats.
const (
	LogFormatText LogFormat = "text"
	LogFormatJSON LogFormat = "json"
)

func (LogFormat) values() []string { return []string{string(LogFormatText), string(LogFormatJSON)} }
