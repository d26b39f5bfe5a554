package cluster

import (
	"github.com/actual-kubelets/actual-kubelets/test/clusters/internal/process"
)

const loopback = "127.0.0.1"

// ControlPlane returns the programs of the control plane after etcd and the API
// server, which must be ready first.
func (c Cluster) ControlPlane() []process.Spec {
	specs := []process.Spec{c.controllerManager(), c.scheduler()}
	if c.Simulated {
		specs = append(specs, c.kwok())
	}
	return specs
}

// Etcd returns the cluster's store. It does not wait for the disk: a run's data
// need not survive the machine.
func (c Cluster) Etcd() process.Spec {
	client := "https://" + loopback + ":" + port(c.Net.Ports.Etcd)
	peer := "http://" + loopback + ":" + port(c.Net.Ports.EtcdPeer)
	return c.spec("etcd",
		flag("name", c.Name),
		flag("data-dir", c.file("etcd")),
		flag("listen-client-urls", client),
		flag("advertise-client-urls", client),
		flag("listen-peer-urls", peer),
		flag("initial-advertise-peer-urls", peer),
		flag("initial-cluster", c.Name+"="+peer),
		flag("client-cert-auth", true),
		flag("trusted-ca-file", c.pki("etcd-ca.crt")),
		flag("cert-file", c.pki("etcd.crt")),
		flag("key-file", c.pki("etcd.key")),
		flag("unsafe-no-fsync", true),
		flag("snapshot-count", 10000),
		flag("auto-compaction-retention", "5m"),
		flag("quota-backend-bytes", int64(4)<<30),
		flag("log-level", "warn"),
	)
}

// APIServer returns the cluster's kube-apiserver.
func (c Cluster) APIServer() process.Spec {
	spec := c.spec("kube-apiserver",
		flag("etcd-servers", "https://"+loopback+":"+port(c.Net.Ports.Etcd)),
		flag("etcd-cafile", c.pki("etcd-ca.crt")),
		flag("etcd-certfile", c.pki("etcd-client.crt")),
		flag("etcd-keyfile", c.pki("etcd-client.key")),
		flag("bind-address", c.Net.Address),
		flag("advertise-address", c.Net.Address),
		flag("secure-port", c.Net.Ports.API),
		flag("service-cluster-ip-range", c.Net.Services),
		flag("tls-cert-file", c.pki("apiserver.crt")),
		flag("tls-private-key-file", c.pki("apiserver.key")),
		flag("client-ca-file", c.pki("ca.crt")),
		flag("kubelet-client-certificate", c.pki("apiserver-kubelet-client.crt")),
		flag("kubelet-client-key", c.pki("apiserver-kubelet-client.key")),
		// No kubelet-certificate-authority: akd shows a self-signed certificate
		// until its CSR is approved.
		flag("kubelet-preferred-address-types", "InternalIP"),
		flag("requestheader-client-ca-file", c.pki("front-proxy-ca.crt")),
		flag("requestheader-allowed-names", "front-proxy-client"),
		flag("requestheader-username-headers", "X-Remote-User"),
		flag("requestheader-group-headers", "X-Remote-Group"),
		flag("requestheader-extra-headers-prefix", "X-Remote-Extra-"),
		flag("proxy-client-cert-file", c.pki("front-proxy-client.crt")),
		flag("proxy-client-key-file", c.pki("front-proxy-client.key")),
		// Straight to the endpoints: a cluster without nodes has no kube-proxy,
		// and its webhooks may run in the other cluster.
		flag("enable-aggregator-routing", true),
		flag("authorization-mode", "Node,RBAC"),
		flag("enable-admission-plugins", "NodeRestriction"),
		flag("service-account-issuer", "https://kubernetes.default.svc.cluster.local"),
		flag("service-account-key-file", c.pki("sa.crt")),
		flag("service-account-signing-key-file", c.pki("sa.key")),
		flag("allow-privileged", true),
	)
	if c.AuditLog != "" {
		const most = 1000 // MB
		spec.Args = append(spec.Args,
			flag("audit-policy-file", c.file("audit-policy.yaml")), flag("audit-log-path", c.AuditLog), flag("audit-log-maxsize", most))
	}
	if c.Simulated {
		// An endpoint on loopback is invalid, and no pod runs that could use it.
		spec.Args = append(spec.Args, flag("endpoint-reconciler-type", "none"))
	}
	return spec
}

func (c Cluster) controllerManager() process.Spec {
	return c.spec("kube-controller-manager",
		append(c.clientFlags("controller-manager"),
			flag("secure-port", c.Net.Ports.ControllerManager),
			flag("root-ca-file", c.pki("ca.crt")),
			flag("service-account-private-key-file", c.pki("sa.key")),
			flag("use-service-account-credentials", true),
			flag("cluster-signing-cert-file", c.pki("ca.crt")),
			flag("cluster-signing-key-file", c.pki("ca.key")),
			flag("cluster-name", c.Name),
			// The default is a folder of the machine's, which it makes.
			flag("flex-volume-plugin-dir", c.file("volume-plugins")),
			flag("cluster-cidr", c.Net.Pods),
			flag("service-cluster-ip-range", c.Net.Services),
			// kwok gives its pods addresses of its own, and a thousand nodes
			// would use up the range.
			flag("allocate-node-cidrs", !c.Simulated),
			flag("node-cidr-mask-size", nodeMask),
		)...)
}

func (c Cluster) scheduler() process.Spec {
	return c.spec("kube-scheduler",
		append(c.clientFlags("scheduler"), flag("secure-port", c.Net.Ports.Scheduler))...)
}

// clientFlags are what the controller manager and the scheduler share. The
// rates are above the default so that a test measures akd rather than them.
func (c Cluster) clientFlags(user string) []string {
	kubeconfig := c.file(user + ".kubeconfig")
	return []string{
		flag("kubeconfig", kubeconfig),
		flag("authentication-kubeconfig", kubeconfig),
		flag("authorization-kubeconfig", kubeconfig),
		flag("bind-address", loopback),
		flag("leader-elect", false),
		flag("kube-api-qps", 500),
		flag("kube-api-burst", 1000),
	}
}

// kwok plays the nodes that carry its annotation, and the pods on them.
func (c Cluster) kwok() process.Spec {
	return c.spec("kwok",
		flag("kubeconfig", c.file("admin.kubeconfig")),
		flag("manage-all-nodes", false),
		flag("manage-nodes-with-annotation-selector", KwokAnnotation+"=fake"),
		flag("cidr", c.Net.Pods),
		flag("node-ip", loopback),
		flag("node-lease-duration-seconds", 40),
	)
}

// KwokAnnotation marks the nodes that kwok plays; its value is "fake".
const KwokAnnotation = "kwok.x-k8s.io/node"
