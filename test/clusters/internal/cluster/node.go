package cluster

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/actual-kubelets/actual-kubelets/test/clusters/internal/process"
)

const (
	// nodeMask leaves a node twice as many pod addresses as maxPods: those of
	// terminating pods are not free yet when their successors start.
	nodeMask = 23
	maxPods  = 250

	kubeletClientUser = "kube-apiserver-kubelet-client"

	// RuntimeSocket is containerd's, inside the node's mount namespace.
	RuntimeSocket = "/run/containerd/containerd.sock"
)

// Containerd returns the node's container runtime. It makes the mount namespace
// in which all of the node runs, and which ends with its last process. The
// standard folders of containerd and the kubelet are the node's own in there.
func (c Cluster) Containerd(node Node) process.Spec {
	spec := c.nodeSpec(node, "containerd", "--config", node.file("containerd.toml"))
	spec.Env = []string{
		"PATH=" + strings.Join(append(c.RuntimeDirs, "/usr/sbin", "/usr/bin", "/sbin", "/bin"), ":"),
		"HOME=" + node.Dir,
		"TMPDIR=/var/lib/containerd/tmp",
	}
	spec.Enter.Private = []process.Mount{
		// Programs make further folders below these two; the overlays keep them
		// from reaching the machine.
		{Kind: process.Overlay, Source: node.file("overlay-run"), Target: "/run"},
		{Kind: process.Overlay, Source: node.file("overlay-lib"), Target: "/var/lib"},
		{Kind: process.Bind, Source: node.file("containerd"), Target: "/var/lib/containerd"},
		{Kind: process.Bind, Source: node.file("kubelet"), Target: "/var/lib/kubelet"},
		{Kind: process.Bind, Source: node.file("log"), Target: "/var/log"},
		{Kind: process.Bind, Source: node.file("local-path"), Target: localPathDir},
		// A missing image then fails at once: nothing listens there, and the
		// name of no registry resolves.
		{Kind: process.Content, Source: "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n", Target: "/etc/resolv.conf"},
		// The kubelet sets these for the whole machine unless it finds them set.
		{Kind: process.Content, Source: "1\n", Target: "/proc/sys/vm/overcommit_memory"},
		{Kind: process.Content, Source: "0\n", Target: "/proc/sys/vm/panic_on_oom"},
		{Kind: process.Content, Source: "10\n", Target: "/proc/sys/kernel/panic"},
		{Kind: process.Content, Source: "1\n", Target: "/proc/sys/kernel/panic_on_oops"},
		{Kind: process.Content, Source: "1000000\n", Target: "/proc/sys/kernel/keys/root_maxkeys"},
		{Kind: process.Content, Source: "25000000\n", Target: "/proc/sys/kernel/keys/root_maxbytes"},
	}
	return spec
}

// Ctr returns a containerd client command for the node whose containerd is pid.
func (c Cluster) Ctr(node Node, pid int, args ...string) process.Spec {
	spec := c.inNode(node, "ctr", pid, append([]string{"--address", RuntimeSocket, "--namespace", "k8s.io"}, args...)...)
	spec.Name += "-client"
	return spec
}

// Kubelet returns the node's kubelet, in the mount namespace of the containerd
// that is pid: the two share the pods' mounts.
func (c Cluster) Kubelet(node Node, pid int) process.Spec {
	return c.inNode(node, "kubelet", pid,
		flag("config", node.file("kubelet.yaml")),
		flag("kubeconfig", node.file("kubelet.kubeconfig")),
		flag("root-dir", "/var/lib/kubelet"),
		flag("hostname-override", node.Name),
		flag("node-ip", node.Address),
		flag("node-labels", c.nodeLabels()),
	)
}

// KubeProxy returns the proxy of the cluster's network namespace, which its
// nodes share. It runs on the first of them.
func (c Cluster) KubeProxy(node Node, pid int) process.Spec {
	spec := c.inNode(node, "kube-proxy", pid, flag("config", c.file("kube-proxy.yaml")))
	spec.Name = c.Component("kube-proxy")
	// It serves all nodes and outlives the first one's restart.
	spec.Enter.CgroupProcs = c.Enter.CgroupProcs
	return spec
}

func (n Node) file(name string) string { return filepath.Join(n.Dir, name) }

// Component returns the name of the process that runs program on the node.
func (n Node) Component(program string) string { return n.Name + "-" + program }

func (c Cluster) nodeSpec(node Node, program string, args ...string) process.Spec {
	spec := c.spec(program, args...)
	spec.Name = node.Component(program)
	spec.Enter = node.Enter
	return spec
}

func (c Cluster) inNode(node Node, program string, pid int, args ...string) process.Spec {
	spec := c.nodeSpec(node, program, args...)
	spec.Enter.MountNS = fmt.Sprintf("/proc/%d/ns/mnt", pid)
	return spec
}

func (c Cluster) nodeLabels() string {
	if c.Name == "local" {
		return InfraTaint + "=true"
	}
	return ""
}

// WriteFiles makes the configuration of all components, and the folders that
// they expect. It may be called again.
func (c Cluster) WriteFiles() error {
	for _, node := range c.Nodes {
		if err := c.writeNode(node); err != nil {
			return fmt.Errorf("write files of node %s: %w", node.Name, err)
		}
	}
	if len(c.Nodes) > 0 {
		if err := writeYAML(c.file("kube-proxy.yaml"), c.kubeProxyConfig()); err != nil {
			return err
		}
	}
	if c.AuditLog != "" {
		if err := update(c.file("audit-policy.yaml"), auditPolicy); err != nil {
			return err
		}
	}
	return c.writeKubeconfigs()
}

func (c Cluster) writeNode(node Node) error {
	for _, dir := range []string{"containerd/tmp", "kubelet", "log", "local-path", "cni", "cni-state"} {
		if err := os.MkdirAll(node.file(dir), 0o755); err != nil {
			return err
		}
	}
	return errors.Join(
		update(node.file("containerd.toml"), []byte(c.containerdConfig(node))),
		update(node.file("resolv.conf"), []byte("nameserver 127.0.0.1\n")),
		writeYAML(node.file("kubelet.yaml"), c.kubeletConfig(node)),
	)
}

func writeYAML(path string, value any) error {
	data, err := yaml.Marshal(value)
	if err != nil {
		return fmt.Errorf("encode %s: %w", path, err)
	}
	return update(path, data)
}

// update writes the file only if its content changes: kube-proxy exits when its
// configuration is written, even with the same content.
func update(path string, data []byte) error {
	have, err := os.ReadFile(path)
	if err == nil && bytes.Equal(have, data) {
		return nil
	}
	return os.WriteFile(path, data, 0o600)
}

func (c Cluster) containerdConfig(node Node) string {
	return fmt.Sprintf(`version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
# Network policies, devices and tracing of the machine are none of a test
# node's business, and their plugins make folders outside our own.
disabled_plugins = ["io.containerd.nri.v1.nri", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing"]

[grpc]
  address = %[1]q

[plugins.'io.containerd.internal.v1.opt']
  path = "/var/lib/containerd/opt"

[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = %[2]q

[plugins.'io.containerd.cri.v1.runtime']
  # A machine that is a sandbox itself lacks CAP_SYS_RESOURCE.
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
  BinaryName = %[3]q
  SystemdCgroup = false

[plugins.'io.containerd.cri.v1.runtime'.cni]
  bin_dirs = [%[4]q]
  conf_dir = %[5]q
`, RuntimeSocket, c.Images.Pause, c.Tool("runc"), c.BinDir, node.file("cni"))
}

func (c Cluster) kubeletConfig(node Node) map[string]any {
	config := map[string]any{
		"apiVersion":  "kubelet.config.k8s.io/v1beta1",
		"kind":        "KubeletConfiguration",
		"address":     node.Address.String(),
		"port":        10250,
		"healthzPort": 10247 - node.Index,
		"authentication": map[string]any{
			"anonymous": map[string]any{"enabled": false},
			"webhook":   map[string]any{"enabled": true},
			"x509":      map[string]any{"clientCAFile": c.pki("ca.crt")},
		},
		"authorization": map[string]any{"mode": "Webhook"},
		"tlsCertFile":   c.pki(node.Name + "-server.crt"),

		"tlsPrivateKeyFile":        c.pki(node.Name + "-server.key"),
		"clusterDNS":               []string{c.DNS().String()},
		"clusterDomain":            "cluster.local",
		"resolvConf":               node.file("resolv.conf"),
		"containerRuntimeEndpoint": "unix://" + RuntimeSocket,
		"volumePluginDir":          "/var/lib/kubelet/volume-plugins",
		// The machine may be of any kind: cgroup v1, swap, few rights.
		"cgroupDriver":           "cgroupfs",
		"cgroupRoot":             "/" + c.Cgroup + "/" + node.Name,
		"failCgroupV1":           false,
		"failSwapOn":             false,
		"enforceNodeAllocatable": []string{},
		"oomScoreAdj":            0,
		// The machine's disk may be full for other reasons, and images cannot be
		// pulled again.
		"evictionHard": map[string]string{
			"memory.available":   "0%",
			"nodefs.available":   "0%",
			"nodefs.inodesFree":  "0%",
			"imagefs.available":  "0%",
			"imagefs.inodesFree": "0%",
		},
		// Mounted ConfigMaps and Secrets follow their source at the next sync. The
		// default is a minute, for which tests need not wait.
		"syncFrequency":               "5s",
		"imageGCHighThresholdPercent": 100,
		"imageGCLowThresholdPercent":  99,
		"registryPullQPS":             0,
		"serializeImagePulls":         false,
		"maxPods":                     maxPods,
	}
	if c.Name == "local" {
		config["registerWithTaints"] = []map[string]string{{"key": InfraTaint, "value": "true", "effect": "NoSchedule"}}
	}
	return config
}

func (c Cluster) kubeProxyConfig() map[string]any {
	return map[string]any{
		"apiVersion":         "kubeproxy.config.k8s.io/v1alpha1",
		"kind":               "KubeProxyConfiguration",
		"mode":               "iptables",
		"clusterCIDR":        c.Net.Pods.String(),
		"hostnameOverride":   c.Nodes[0].Name,
		"clientConnection":   map[string]any{"kubeconfig": c.file("kube-proxy.kubeconfig")},
		"metricsBindAddress": loopback + ":10249",
		// The connection table's size belongs to the machine.
		"conntrack": map[string]any{"maxPerCore": 0, "min": 0},
		"iptables":  map[string]any{"minSyncPeriod": "100ms"},
	}
}

// WriteCNI configures the node's pod network, which makes the node Ready. The
// controller manager decides on pods, so it comes last.
func (c Cluster) WriteCNI(node Node, pods netip.Prefix) error {
	config := map[string]any{
		"cniVersion": "1.0.0",
		"name":       "pods",
		"plugins": []any{
			map[string]any{
				"type":        "bridge",
				"bridge":      fmt.Sprintf("pods%d", node.Index),
				"isGateway":   true,
				"hairpinMode": true,
				"ipam": map[string]any{
					"type":    "host-local",
					"dataDir": node.file("cni-state"),
					"ranges":  []any{[]any{map[string]any{"subnet": pods.String()}}},
					"routes":  []any{map[string]any{"dst": "0.0.0.0/0"}},
				},
			},
			map[string]any{"type": "portmap", "capabilities": map[string]any{"portMappings": true}},
		},
	}
	data, err := json.MarshalIndent(config, "", "  ")
	if err != nil {
		return err
	}
	// containerd watches the folder and must see a whole file. It ignores files
	// that are moved in from another folder, but not a rename within this one.
	path, temp := filepath.Join(node.file("cni"), "10-pods.conflist"), filepath.Join(node.file("cni"), "pods.new")
	if have, err := os.ReadFile(path); err == nil && bytes.Equal(have, data) {
		return nil
	}
	if err := os.WriteFile(temp, data, 0o600); err != nil {
		return err
	}
	return os.Rename(temp, path)
}
