package cluster

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strconv"

	"github.com/actual-kubelets/actual-kubelets/test/clusters/internal/process"
)

// InfraTaint is the key of the taint, and of the label, of the local cluster's
// real nodes: they carry the cluster's own DNS, not the users' pods.
const InfraTaint = "actual.vk/infra"

// Cluster is one Kubernetes cluster of a run.
type Cluster struct {
	// Name is "local" or "remote".
	Name string
	// Version is Kubernetes' version, without v.
	Version string
	// Dir is the cluster's folder, absolute.
	Dir string
	// Tool returns the file of a program by its name.
	Tool func(name string) string
	// BinDir holds the CNI plugins; RuntimeDirs are put on containerd's PATH.
	BinDir      string
	RuntimeDirs []string
	// Simulated means that the nodes are kwok's and everything is on loopback.
	Simulated bool
	// Driver is the program with the storage driver; empty for none.
	Driver string
	// AuditLog is the file in which the API server logs who writes what; empty for none.
	AuditLog string
	// LocalPath gives the cluster a StorageClass; see LocalPathProvisioner.
	LocalPath bool
	// Enter is where the control plane runs.
	Enter process.Enter
	// Cgroup is the run's control group name, without slash.
	Cgroup string
	Net    Network
	Nodes  []Node
	Images Images
}

// Images are the references that the cluster's own pods use.
type Images struct {
	Pause, CoreDNS, Busybox string
}

// Network holds the addresses of a cluster.
type Network struct {
	// Address is the API server's in the routed network, or 127.0.0.1.
	Address netip.Addr
	Ports   Ports
	// Pods and Services are disjoint from the other cluster's.
	Pods, Services netip.Prefix
	// Extra are further names and addresses of the API server.
	Extra []string
}

// Ports of the control plane. They are fixed if the cluster has a network
// namespace of its own; otherwise free ports are chosen.
type Ports struct {
	API               int `json:"api"`
	Etcd              int `json:"etcd"`
	EtcdPeer          int `json:"etcdPeer"`
	ControllerManager int `json:"controllerManager"`
	Scheduler         int `json:"scheduler"`
}

// StandardPorts are the ones that Kubernetes documents.
func StandardPorts() Ports {
	return Ports{
		API:               6443,
		Etcd:              2379,
		EtcdPeer:          2380,
		ControllerManager: 10257,
		Scheduler:         10259,
	}
}

// Node is one real node.
type Node struct {
	// Name is the Node object's; Index counts from 1 in the cluster.
	Name  string
	Index int
	// Address is the node's own, in the cluster's network namespace.
	Address netip.Addr
	// Dir is the node's folder, absolute.
	Dir string
	// Enter is where the node's programs run.
	Enter process.Enter
}

// InNetwork returns the API server's URL for those in the routed network.
func (c Cluster) InNetwork() string { return "https://" + c.serverAddress() }

func (c Cluster) serverAddress() string {
	return netip.AddrPortFrom(c.Net.Address, uint16(c.Net.Ports.API)).String()
}

// DNS is the virtual address of the cluster's DNS: the tenth, as is customary.
func (c Cluster) DNS() netip.Addr { return nth(c.Net.Services, 10) }

// nth returns the n-th address of prefix, for an n below 256 and an aligned one.
func nth(prefix netip.Prefix, n byte) netip.Addr {
	bytes := prefix.Masked().Addr().As4()
	bytes[3] += n
	return netip.AddrFrom4(bytes)
}

// Component returns the name of the process that runs program in the cluster.
func (c Cluster) Component(program string) string { return c.Name + "-" + program }

func (c Cluster) file(name string) string { return filepath.Join(c.Dir, name) }

func (c Cluster) pki(name string) string { return filepath.Join(c.Dir, "pki", name) }

func (c Cluster) spec(program string, args ...string) process.Spec {
	return process.Spec{
		Name:  c.Component(program),
		Path:  c.Tool(program),
		Args:  args,
		Env:   c.env(),
		Enter: c.Enter,
	}
}

// env is the environment of every component. The caller's own stays out: its
// proxies and kubeconfigs are not for the clusters.
func (c Cluster) env() []string {
	return []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + c.Dir}
}

func flag(name string, value any) string { return fmt.Sprintf("--%s=%v", name, value) }

func port(n int) string { return strconv.Itoa(n) }
