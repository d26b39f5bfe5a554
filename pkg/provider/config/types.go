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

// Configuration is the configuration of akd. A field that is not set has its
// default. A field that is set, even to an empty value, has that value.
type Configuration struct {
	// Version of the format: actual.vk/v1alpha1. Required in a file.
	APIVersion string `json:"apiVersion"`
	// Kind of the document: AKDConfiguration. Required in a file.
	Kind string `json:"kind"`
	// Name of the virtual node in the local cluster. Required. A DNS-1123 label of
	// at most 46 characters, because it is the prefix of remote namespaces. Do not
	// change it once pods have run: another name is another node.
	NodeName string `json:"nodeName" flag:"node-name"`
	// Local is the cluster that the node joins, and where users create pods.
	Local LocalConfiguration `json:"local"`
	// Remote is the cluster whose kubelets run the pods.
	Remote RemoteConfiguration `json:"remote"`
	// Node describes the virtual node to the local cluster.
	Node NodeConfiguration `json:"node"`
	// How pods reach the Services of the local cluster. With mirror, akd copies all
	// Services and their endpoints to the remote cluster, with the same addresses,
	// and pods use the DNS of the local cluster. This requires Kubernetes 1.33 or
	// later in the remote cluster, and a ServiceCIDR there with the service range of
	// the local cluster, which kubectl actual install creates. With shared, another
	// node of the local cluster mirrors them there. With none, pods reach only the
	// local API server, by its environment variables and names.
	Services ServicesMode `json:"services" flag:"services"`
	// How the remote cluster learns of the PodDisruptionBudgets of the local cluster. With
	// mirror, akd keeps a copy of each that selects pods of the node, so that draining a
	// remote node waits as draining a local one would; limits.unevictablePerBudget limits
	// it. With none, the remote cluster evicts pods without regard to them.
	DisruptionBudgets BudgetsMode `json:"disruptionBudgets" flag:"disruption-budgets"`
	// Storage says what becomes of the PersistentVolumeClaims of pods.
	Storage StorageConfiguration `json:"storage"`
	// Pods applies to all remote pods.
	Pods PodsConfiguration `json:"pods"`
	// Namespaces applies to all remote namespaces.
	Namespaces NamespacesConfiguration `json:"namespaces"`
	// KubeletAPI is the HTTPS server for logs, exec, port-forward and usage.
	KubeletAPI KubeletAPIConfiguration `json:"kubeletAPI"`
	// Metrics is the HTTP server for metrics and probes.
	Metrics MetricsConfiguration `json:"metrics"`
	// Serve profiles of Go under /debug/pprof/ at metrics.address. Anyone who reaches
	// that address can read them.
	Profiling bool `json:"profiling" flag:"profiling"`
	// Limits keep one pod or namespace from using up the node.
	Limits LimitsConfiguration `json:"limits"`
	// LeaderElection is for several replicas of akd.
	LeaderElection LeaderElectionConfiguration `json:"leaderElection"`
	// Sync tunes how akd keeps the clusters in sync.
	Sync SyncConfiguration `json:"sync"`
	// Logging configures the log, which akd writes to standard error.
	Logging LoggingConfiguration `json:"logging"`
}

// LocalConfiguration says how akd and the pods reach the local cluster.
type LocalConfiguration struct {
	// Path of the kubeconfig of the local cluster. If empty, akd uses its own service
	// account, which requires that it runs in a pod of the local cluster.
	Kubeconfig string `json:"kubeconfig" flag:"local-kubeconfig" path:"file"`
	// Secret of the remote cluster with the kubeconfig of the local cluster,
	// NAMESPACE/NAME. It is for an akd that runs in the remote cluster. The
	// kubeconfig is under the key kubeconfig, and must not refer to files. akd renews
	// the token of a service account at 80% of its lifetime, and uses a token that
	// others store there.
	Secret string `json:"secret" flag:"local-secret"`
	// Context of the local kubeconfig. If empty, akd uses the current context.
	Context string `json:"context" flag:"local-context"`
	// Identity of akd in the local cluster. With node, akd impersonates the user
	// system:node:NODENAME in the group system:nodes, and has exactly the rights of
	// a kubelet. With client, it acts as the user of the kubeconfig, for clusters
	// without the Node authorizer.
	Identity LocalIdentity `json:"identity" flag:"local-identity"`
	// Address where pods in the remote cluster reach the local API server, HOST:PORT.
	// If empty, it is the endpoint of the Service kubernetes in the namespace
	// default.
	APIServer string `json:"apiServer" flag:"local-api-server"`
}

// RemoteConfiguration says how akd reaches the remote cluster.
type RemoteConfiguration struct {
	// Path of the kubeconfig of the remote cluster. If empty, akd uses its own service
	// account, which requires that it runs in a pod of the remote cluster. Only one
	// of the two kubeconfigs can be empty.
	Kubeconfig string `json:"kubeconfig" flag:"remote-kubeconfig" path:"file"`
	// Secret of the local cluster with the kubeconfig of the remote cluster,
	// NAMESPACE/NAME. It replaces remote.kubeconfig. The kubeconfig is under the key
	// kubeconfig, and must not refer to files. akd renews the token of a service
	// account at 80% of its lifetime, and uses a token that others store there.
	Secret string `json:"secret" flag:"remote-secret"`
	// Context of the remote kubeconfig. If empty, akd uses the current context.
	Context string `json:"context" flag:"remote-context"`
}

// LeaderElectionConfiguration is for several replicas of akd for one node. One is
// active, the others stand by.
type LeaderElectionConfiguration struct {
	// Lease of the local cluster, NAMESPACE/NAME, that the active akd holds. Another
	// takes over at once if the lease is released, otherwise 12 s after its last
	// renewal. If empty, run only one akd: two active ones would interfere with each
	// other.
	Lease string `json:"lease" flag:"leader-election-lease"`
}

// NodeConfiguration describes the virtual node.
type NodeConfiguration struct {
	// IP address of the node, where the local API server reaches the kubelet API of
	// akd. If empty, it is the address from which akd connects to the local API
	// server.
	Address string `json:"address" flag:"node-address"`
	// Hostname of the node, in its addresses and in its label
	// kubernetes.io/hostname. If empty, it is nodeName.
	Hostname string `json:"hostname" flag:"node-hostname"`
	// Capacity of the node by resource. Resources are cpu, memory, pods,
	// ephemeral-storage, and extended resources. It overrides the sum of the remote nodes
	// that take the pods, resource by resource. If akd may not list these nodes, the node
	// has only what is set here.
	Capacity corev1.ResourceList `json:"capacity" flag:"node-capacity"`
	// Features of kubelets that the node declares if akd may not list the remote nodes.
	// Otherwise it declares those that all remote nodes that take the pods declare, and
	// that akd serves.
	DeclaredFeatures []string `json:"declaredFeatures" flag:"node-declared-features"`
	// Labels of the node, in addition to those that akd sets, also in place of them:
	// kubernetes.io/os and kubernetes.io/arch without a value are left out. If akd may
	// list the remote nodes, it sets those for the operating system, the architecture,
	// the place and the accelerators on which all of them that take the pods agree. With
	// local.identity node, only labels that NodeRestriction allows a kubelet to set.
	Labels map[string]string `json:"labels" flag:"node-labels"`
	// Taints with which the node registers. A node may set them only then; change
	// them later with kubectl.
	Taints []corev1.Taint `json:"taints" flag:"node-taints"`
	// IP addresses where pods in the remote cluster reach the DNS of the local
	// cluster, at most 3. If empty, pods use the DNS of the remote cluster.
	ClusterDNS []string `json:"clusterDNS" flag:"cluster-dns"`
	// DNS domain of the local cluster.
	ClusterDomain string `json:"clusterDomain" flag:"cluster-domain"`
}

// PodsConfiguration applies to all remote pods. Except for placement, it does so
// whatever the local pods say.
type PodsConfiguration struct {
	// Environment variables for containers that do not set them themselves.
	Env []corev1.EnvVar `json:"env" flag:"pod-env"`
	// Labels of the remote nodes on which the pods may run.
	NodeSelector map[string]string `json:"nodeSelector" flag:"pod-node-selector"`
	// Tolerations for taints of the remote nodes.
	Tolerations []corev1.Toleration `json:"tolerations"`
	// RuntimeClass of the remote cluster for all pods. If empty, it is the default of
	// that cluster. akd does not run local pods that request another class, unless
	// placement.runtimeClasses has it.
	RuntimeClassName string `json:"runtimeClassName" flag:"pod-runtime-class"`
	// PriorityClass of the remote cluster. If empty, it is the default of that
	// cluster.
	PriorityClassName string `json:"priorityClassName" flag:"pod-priority-class"`
	// What pods may say themselves about where they run.
	Placement PlacementConfiguration `json:"placement"`
	// Give remote pods whose local pods have a controller the annotation
	// cluster-autoscaler.kubernetes.io/safe-to-evict, so that the autoscaler of the remote
	// cluster may remove their nodes, also if they have local storage. Its value is that of
	// the local pod, or true.
	SafeToEvict bool `json:"safeToEvict" flag:"pod-safe-to-evict"`
	// Labels that remote pods get from local pods.
	Labels KeysConfiguration `json:"labels"`
	// Annotations that remote pods get from local pods.
	Annotations KeysConfiguration `json:"annotations"`
	// Pod Security level that remote namespaces enforce. The policy that install
	// creates rejects a weaker level.
	PodSecurity PodSecurityLevel `json:"podSecurity" flag:"pod-security"`
}

// PlacementConfiguration is what the remote scheduler learns of what local pods say about
// where they run. It always learns the operating system, the architecture, and how the pods
// of a namespace spread over machines and zones or keep together: see docs/fields.md.
// The policies that install creates admit nothing more, so that the provider decides.
type PlacementConfiguration struct {
	// Keys of labels of the remote nodes by which pods may choose nodes, in nodeSelector
	// and node affinity, and over which they may spread, such as
	// topology.kubernetes.io/zone. The local Node should have those labels on which all
	// remote nodes agree; see docs/install.md.
	NodeLabels []string `json:"nodeLabels"`
	// Tolerations that pods may have, or more narrow ones: of the same key, and, unless
	// operator is Exists, of the same value; of any effect if none is given.
	Tolerations []corev1.Toleration `json:"tolerations"`
	// RuntimeClasses of the remote cluster by those that local pods request. An empty name
	// is the default of the remote cluster.
	RuntimeClasses map[string]string `json:"runtimeClasses"`
	// PriorityClasses of the remote cluster by those of local pods. An empty name is the
	// default of the remote cluster. Pods of other classes have priorityClassName.
	PriorityClasses map[string]string `json:"priorityClasses"`
	// Schedulers of the remote cluster that pods may have, by their name in both clusters.
	// Pods of other schedulers have the default one.
	Schedulers []string `json:"schedulers"`
}

// KeysConfiguration selects labels or annotations of pods by patterns of their keys. In
// a pattern, * stands for any characters, and a pattern that ends with / matches all
// names of that prefix. akd decides on keys that no pattern matches as docs/fields.md
// lists: it does not copy those that give identity, network or cluster-wide meaning.
type KeysConfiguration struct {
	// Patterns of keys that are copied, even if deny matches them. Keys under actual.vk/
	// and kubernetes.io/config. are never copied.
	Allow []string `json:"allow"`
	// Patterns of keys that are not copied.
	Deny []string `json:"deny"`
}

// NamespacesConfiguration has what akd writes on every remote namespace, and what it
// creates there before the first pod, under the name actual-vk. Each object needs a
// right that install grants on request. akd changes neither namespaces nor these
// objects: a new value applies to namespaces that are created afterwards.
type NamespacesConfiguration struct {
	// Labels of remote namespaces, in addition to those of akd, for example those that
	// a policy of the remote cluster demands. The policy that install creates allows
	// exactly those that install was given. Keys of actual.vk, kubernetes.io and k8s.io
	// are reserved, except those of app.kubernetes.io.
	Labels map[string]string `json:"labels"`
	// Annotations of remote namespaces, likewise. A value is one line.
	Annotations map[string]string `json:"annotations"`
	// Limits for all pods of a namespace together, by resource: the spec.hard of a
	// ResourceQuota. If empty, there is no quota.
	ResourceQuota corev1.ResourceList `json:"resourceQuota"`
	// Defaults and limits for single pods and containers: the spec.limits of a
	// LimitRange. If empty, there are none.
	LimitRange []corev1.LimitRangeItem `json:"limitRange"`
	// NetworkPolicy keeps pods of other nodes from reaching the pods of this node.
	NetworkPolicy NetworkPolicyConfiguration `json:"networkPolicy"`
}

// NetworkPolicyConfiguration is a NetworkPolicy for all pods of a namespace. It
// admits traffic from the namespaces of this node, from namespaces of the remote
// cluster that belong to no node, and from the addresses in allowFrom. It rejects
// all other traffic, in particular from pods of other nodes. It does not limit
// egress.
type NetworkPolicyConfiguration struct {
	// Create the NetworkPolicy.
	Enabled bool `json:"enabled"`
	// CIDRs outside the remote cluster that may reach the pods, such as those of the
	// pods and nodes of the local cluster.
	AllowFrom []string `json:"allowFrom"`
}

// KubeletAPIConfiguration describes the HTTPS server that the local API server uses
// for logs, exec, attach, port-forward and usage.
type KubeletAPIConfiguration struct {
	// IP address of the kubelet API to listen on. If empty, akd listens on all
	// addresses.
	Address string `json:"address" flag:"kubelet-api-address"`
	// Port of the kubelet API, which the Node publishes.
	Port int32 `json:"port" flag:"kubelet-api-port"`
	// Certificate of the server.
	Certificate CertificateConfiguration `json:"certificate"`
	// Serve /healthz of the kubelet API without authentication, for probes that cannot
	// authenticate. All other paths always require it.
	AnonymousHealth bool `json:"anonymousHealth" flag:"kubelet-api-anonymous-health"`
	// Maximum number of concurrent connections to the kubelet API. Further ones wait.
	// At most half of them are unauthenticated; the oldest of these is closed first.
	MaxConnections int32 `json:"maxConnections" flag:"kubelet-api-max-connections"`
	// Maximum number of concurrent streams (logs, exec, attach, port-forward). Further
	// ones get 429 Too Many Requests. A user can have at most three quarters of them,
	// a namespace half, and a pod a quarter. All users of kubectl are one user, the
	// local API server.
	MaxStreams int32 `json:"maxStreams" flag:"kubelet-api-max-streams"`
}

// CertificateConfiguration says where the serving certificate comes from.
type CertificateConfiguration struct {
	// Source of the serving certificate. With csr, akd requests it from a signer of the
	// local cluster, and uses a self-signed one until somebody approves the request. With
	// selfSigned, akd generates one, which clients that verify certificates reject. With
	// files, akd reads certFile and keyFile, and reads them again if they change.
	Mode CertificateMode `json:"mode" flag:"tls-mode"`
	// Signer of the local cluster that signs the certificate, DOMAIN/NAME. For mode csr.
	// It must sign certificates of servers, with the subject of a kubelet. In EKS,
	// kubernetes.io/kubelet-serving signs for machines of EC2 only: use
	// beta.eks.amazonaws.com/app-serving.
	Signer string `json:"signer" flag:"tls-signer"`
	// Directory where akd stores the certificate and its key across restarts in mode
	// csr. If empty, akd keeps them in memory, and makes a new request at each start.
	Directory string `json:"directory" flag:"tls-directory" path:"file"`
	// Path of the certificate and its chain in PEM format. For mode files.
	CertFile string `json:"certFile" flag:"tls-cert-file" path:"file"`
	// Path of the private key in PEM format. For mode files.
	KeyFile string `json:"keyFile" flag:"tls-private-key-file" path:"file"`
}

// MetricsConfiguration describes the HTTP server for metrics and probes.
type MetricsConfiguration struct {
	// Address of /metrics, /healthz and /readyz, HOST:PORT. They use plain HTTP without
	// authentication, and contain no names of pods. With an empty HOST, akd listens on
	// all addresses. An empty value disables the server.
	Address string `json:"address" flag:"metrics-address"`
}

// LimitsConfiguration keeps one pod or namespace from using up the node: akd
// watches each ConfigMap and Secret that pods refer to, and requests each token and
// certificate. It refuses a pod that exceeds a limit per pod, and reports that on
// the pod, before it reads anything for it.
type LimitsConfiguration struct {
	// Maximum number of ConfigMaps and Secrets that the pods of the node refer to, each
	// counted once. akd needs up to 0.1 MiB of memory for each. A namespace gets no
	// more than are left for others: alone, it gets half of them. A pod for whose
	// objects there is no room waits until other pods have ended.
	References int32 `json:"references" flag:"max-references"`
	// Maximum number of ConfigMaps and Secrets to which one pod refers. At most half
	// of limits.references.
	ReferencesPerPod int32 `json:"referencesPerPod" flag:"max-references-per-pod"`
	// Maximum number of service account tokens that one pod mounts.
	TokensPerPod int32 `json:"tokensPerPod" flag:"max-tokens-per-pod"`
	// Maximum number of ClusterTrustBundle sources that one pod mounts.
	TrustBundlesPerPod int32 `json:"trustBundlesPerPod" flag:"max-trust-bundles-per-pod"`
	// Maximum number of certificates of its own that one pod mounts.
	CertificatesPerPod int32 `json:"certificatesPerPod" flag:"max-certificates-per-pod"`
	// Maximum number of pods that one mirrored PodDisruptionBudget keeps from being evicted.
	// A larger budget is cut to it, and an event on the budget says so. The policy that
	// install creates admits no larger one.
	UnevictablePerBudget int32 `json:"unevictablePerBudget" flag:"max-unevictable"`
}

// SyncConfiguration tunes how akd keeps the clusters in sync.
type SyncConfiguration struct {
	// Interval at which akd reconciles every pod, even without a change. It writes
	// nothing for pods that are in sync. At least 10s; 0s disables it.
	ResyncPeriod metav1.Duration `json:"resyncPeriod" flag:"resync-period"`
	// Number of pods that are reconciled concurrently.
	ConcurrentSyncs int32 `json:"concurrentSyncs" flag:"concurrent-syncs"`
	// How long akd keeps a remote namespace without pods while the local namespace
	// exists. One that holds PersistentVolumeClaims stays.
	UnusedNamespaceTTL metav1.Duration `json:"unusedNamespaceTTL" flag:"unused-namespace-ttl"`
	// How long the remote API server may not answer before the node becomes not
	// ready. At least 10s.
	RemoteGracePeriod metav1.Duration `json:"remoteGracePeriod" flag:"remote-grace-period"`
}

// LoggingConfiguration configures the log, which akd writes to standard error.
type LoggingConfiguration struct {
	// Log level. With info, akd logs what an operator acts on; with debug, every step.
	Level LogLevel `json:"level" flag:"log-level"`
	// Log format. With text, lines have the form key=value.
	Format LogFormat `json:"format" flag:"log-format"`
}

// Redacted returns a copy for /configz and logs, without values that may be secret:
// those of pods.env.
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

// ListenAddress returns the HOST:PORT of the kubelet API.
func (k KubeletAPIConfiguration) ListenAddress() string {
	return net.JoinHostPort(k.Address, strconv.Itoa(int(k.Port)))
}

// LocalIdentity is the identity of akd in the local cluster.
type LocalIdentity string

// The identities that akd can have.
const (
	LocalIdentityNode   LocalIdentity = "node"
	LocalIdentityClient LocalIdentity = "client"
)

// Values implements strictyaml.Enum.
func (LocalIdentity) Values() []string {
	return []string{string(LocalIdentityNode), string(LocalIdentityClient)}
}

// ServicesMode is how pods reach the Services of the local cluster.
type ServicesMode string

// The ways to reach Services.
const (
	ServicesNone   ServicesMode = "none"
	ServicesMirror ServicesMode = "mirror"
	ServicesShared ServicesMode = "shared"
)

// Values implements strictyaml.Enum.
func (ServicesMode) Values() []string {
	return []string{string(ServicesNone), string(ServicesMirror), string(ServicesShared)}
}

// Reached reports whether pods reach Services of the local cluster at their addresses.
func (m ServicesMode) Reached() bool { return m == ServicesMirror || m == ServicesShared }

// BudgetsMode is how the remote cluster learns of PodDisruptionBudgets.
type BudgetsMode string

// The ways to treat PodDisruptionBudgets.
const (
	BudgetsNone   BudgetsMode = "none"
	BudgetsMirror BudgetsMode = "mirror"
)

// Values implements strictyaml.Enum.
func (BudgetsMode) Values() []string { return []string{string(BudgetsNone), string(BudgetsMirror)} }

// StorageConfiguration says what becomes of the PersistentVolumeClaims of pods.
type StorageConfiguration struct {
	// Where the volumes of PersistentVolumeClaims are. With claims, akd provisions them in
	// the remote cluster, for the local StorageClasses whose provisioner is actual.vk:
	// each local claim has one remote claim. With none, pods with claims and generic
	// ephemeral volumes are refused. Claims need the rights and policies that kubectl
	// actual install --storage=claims creates.
	Mode StorageMode `json:"mode" flag:"storage"`
	// StorageClasses of the remote cluster that local ones can name. The policy that
	// install creates admits no other ones. Claims of other classes wait, and an event
	// says why.
	Classes []string `json:"classes"`
	// Run pods that share a claim with access mode ReadWriteOnce on one remote node, by a
	// required affinity. On one machine they share it; two machines cannot mount it.
	Colocate bool `json:"colocate"`
}

// StorageMode is where the volumes of PersistentVolumeClaims are.
type StorageMode string

// The ways to treat PersistentVolumeClaims.
const (
	StorageNone   StorageMode = "none"
	StorageClaims StorageMode = "claims"
)

// Values implements strictyaml.Enum.
func (StorageMode) Values() []string { return []string{string(StorageNone), string(StorageClaims)} }

// PodSecurityLevel is a level of the Pod Security Standards.
// https://kubernetes.io/docs/concepts/security/pod-security-standards/
type PodSecurityLevel string

// The levels, from the most to the least permissive.
const (
	PodSecurityPrivileged PodSecurityLevel = "privileged"
	PodSecurityBaseline   PodSecurityLevel = "baseline"
	PodSecurityRestricted PodSecurityLevel = "restricted"
)

// Values implements strictyaml.Enum.
func (PodSecurityLevel) Values() []string {
	return []string{string(PodSecurityPrivileged), string(PodSecurityBaseline), string(PodSecurityRestricted)}
}

// CertificateMode is the source of the serving certificate.
type CertificateMode string

// The sources of a serving certificate.
const (
	CertificateCSR        CertificateMode = "csr"
	CertificateSelfSigned CertificateMode = "selfSigned"
	CertificateFiles      CertificateMode = "files"
)

// Values implements strictyaml.Enum.
func (CertificateMode) Values() []string {
	return []string{string(CertificateCSR), string(CertificateSelfSigned), string(CertificateFiles)}
}

// LogLevel is how much is logged.
type LogLevel string

// The log levels.
const (
	LogLevelInfo  LogLevel = "info"
	LogLevelDebug LogLevel = "debug"
)

// Values implements strictyaml.Enum.
func (LogLevel) Values() []string { return []string{string(LogLevelInfo), string(LogLevelDebug)} }

// LogFormat is the form of a log line.
type LogFormat string

// The log formats.
const (
	LogFormatText LogFormat = "text"
	LogFormatJSON LogFormat = "json"
)

// Values implements strictyaml.Enum.
func (LogFormat) Values() []string { return []string{string(LogFormatText), string(LogFormatJSON)} }
