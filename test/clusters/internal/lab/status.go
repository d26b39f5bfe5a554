package lab

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Status describes a run, for people and programs.
type Status struct {
	Dir string `json:"dir"`
	// Running means that Up has completed and all components are alive.
	Running   bool   `json:"running"`
	Simulated bool   `json:"simulated"`
	Notice    string `json:"notice,omitempty"`
	// AKDAddress is the address in the local cluster's network that is kept for
	// akd: port 10250 is free on it.
	AKDAddress string                   `json:"akdAddress,omitempty"`
	Link       *LinkStatus              `json:"link,omitempty"`
	Kubeconfig string                   `json:"kubeconfig,omitempty"`
	Clusters   map[string]ClusterStatus `json:"clusters,omitempty"`
	Components []ComponentStatus        `json:"components,omitempty"`
}

// LinkStatus is the state of the link between akd's side and the remote API
// server.
type LinkStatus struct {
	Address  string `json:"address"`
	Upstream string `json:"upstream"`
	Cut      bool   `json:"cut"`
	Latency  string `json:"latency"`
}

// ClusterStatus describes one cluster.
type ClusterStatus struct {
	Version string `json:"version"`
	Ready   bool   `json:"ready"`
	// Server is the URL on the machine, InNetworkServer that in a network namespace.
	Server          string `json:"server"`
	InNetworkServer string `json:"inNetworkServer"`
	Kubeconfig      string `json:"kubeconfig"`
	// Kubectl is the path of the cluster's own kubectl.
	Kubectl string `json:"kubectl"`
	// AKDKubeconfig is for akd, in the local cluster's network namespace.
	AKDKubeconfig    string       `json:"akdKubeconfig"`
	NetworkNamespace string       `json:"networkNamespace,omitempty"`
	Pods             string       `json:"podCIDR"`
	Services         string       `json:"serviceCIDR"`
	DNS              string       `json:"dns,omitempty"`
	Note             string       `json:"note,omitempty"`
	Nodes            []NodeStatus `json:"nodes"`
}

// NodeStatus describes one node.
type NodeStatus struct {
	Name    string `json:"name"`
	Address string `json:"address,omitempty"`
	Ready   bool   `json:"ready"`
}

// ComponentStatus describes one process.
type ComponentStatus struct {
	Name  string `json:"name"`
	PID   int    `json:"pid"`
	Alive bool   `json:"alive"`
	Log   string `json:"log"`
}

// Status reads the status of the run, or of an empty one if there is none.
func (l *Lab) Status(ctx context.Context) (Status, error) {
	status := Status{Dir: l.Dir}
	state, ok, err := l.Load()
	if err != nil || !ok {
		return status, err
	}
	status.Simulated = state.Plan.Simulated
	if status.Simulated {
		status.Notice = SimulatedNotice
	}
	status.AKDAddress = state.akdAddress().String()
	status.Kubeconfig = l.Kubeconfig("kubeconfig")
	status.Clusters = map[string]ClusterStatus{}
	status.Running = state.Ready
	records, err := l.table().All()
	if err != nil {
		return status, err
	}
	for _, record := range records {
		alive := record.Alive()
		component := ComponentStatus{Name: record.Name, PID: record.PID, Alive: alive, Log: l.table().Log(record.Name)}
		status.Components = append(status.Components, component)
		status.Running = status.Running && alive
	}
	for _, name := range []string{Local, Remote} {
		if status.Clusters[name], err = l.clusterStatus(ctx, state, name); err != nil {
			return status, err
		}
	}
	status.Link = l.linkStatus(ctx, state)
	return status, nil
}

func (l *Lab) linkStatus(ctx context.Context, state State) *LinkStatus {
	status := &LinkStatus{Address: state.linkAddress().String(), Latency: "unknown"}
	if remote, err := l.cluster(state, Remote); err == nil {
		status.Upstream = netip.AddrPortFrom(remote.Net.Address, uint16(remote.Net.Ports.API)).String()
	}
	if now, err := l.Link().State(ctx); err == nil {
		status.Cut, status.Latency = now.Cut, now.Latency.String()
	}
	return status
}

func (l *Lab) clusterStatus(ctx context.Context, state State, name string) (ClusterStatus, error) {
	c, err := l.cluster(state, name)
	if err != nil {
		return ClusterStatus{}, err
	}
	status := ClusterStatus{
		Version:         c.Version,
		Server:          fmt.Sprintf("https://127.0.0.1:%d", state.Clusters[name].Port),
		InNetworkServer: c.InNetwork(),
		Kubeconfig:      l.Kubeconfig(name),
		Kubectl:         state.Clusters[name].Programs["kubectl"],
		AKDKubeconfig:   l.Kubeconfig("akd-" + name),
		Pods:            c.Net.Pods.String(),
		Services:        c.Net.Services.String(),
		Nodes:           []NodeStatus{},
	}
	if !c.Simulated {
		status.NetworkNamespace = l.namespacePath(name)
		if status.DNS = c.DNS().String(); len(c.Nodes) == 0 {
			status.DNS, status.Note = "", "no real node: this cluster has no DNS and no kube-proxy"
		}
	}
	client, err := l.Client(name)
	if err != nil {
		return status, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	status.Ready = err == nil
	if err != nil {
		status.Note = err.Error()
		return status, nil
	}
	for i := range nodes.Items {
		node := &nodes.Items[i]
		ready, _ := nodeReady(node)
		entry := NodeStatus{Name: node.Name, Ready: ready}
		for _, address := range node.Status.Addresses {
			if address.Type == "InternalIP" {
				entry.Address = address.Address
			}
		}
		status.Nodes = append(status.Nodes, entry)
	}
	return status, nil
}
