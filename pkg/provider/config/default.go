package config

import (
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Default returns the default configuration. It has no node name.
func Default() *Configuration {
	return &Configuration{
		APIVersion:        APIVersion,
		Kind:              Kind,
		Local:             LocalConfiguration{Identity: LocalIdentityNode},
		Node:              NodeConfiguration{ClusterDomain: "cluster.local"},
		Services:          ServicesNone,
		DisruptionBudgets: BudgetsNone,
		Storage:           StorageConfiguration{Mode: StorageNone, Colocate: true},
		Pods:              PodsConfiguration{PodSecurity: PodSecurityBaseline},
		KubeletAPI: KubeletAPIConfiguration{
			Port:           10250,
			Certificate:    CertificateConfiguration{Mode: CertificateCSR, Signer: certificatesv1.KubeletServingSignerName},
			MaxConnections: 4096,
			MaxStreams:     1024,
		},
		// No pod that anybody wrote comes near these. A Secret, which holds what a pod
		// mounts, has room for about 900 tokens.
		Limits: LimitsConfiguration{
			References:           5000,
			ReferencesPerPod:     256,
			TokensPerPod:         100,
			TrustBundlesPerPod:   250,
			CertificatesPerPod:   20,
			UnevictablePerBudget: 10,
		},
		Metrics: MetricsConfiguration{Address: ":10254"},
		Sync: SyncConfiguration{
			ResyncPeriod:       metav1.Duration{Duration: 10 * time.Minute},
			ConcurrentSyncs:    16,
			UnusedNamespaceTTL: metav1.Duration{Duration: 5 * time.Minute},
			// The former default of --node-monitor-grace-period in
			// kube-controller-manager: a lost node is lost after the same time.
			RemoteGracePeriod: metav1.Duration{Duration: 40 * time.Second},
		},
		Logging: LoggingConfiguration{Level: LogLevelInfo, Format: LogFormatText},
	}
}
