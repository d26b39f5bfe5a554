package cluster

import (
	"bytes"
	_ "embed"
	"fmt"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/actual-kubelets/actual-kubelets/test/clusters/internal/csi"
	"github.com/actual-kubelets/actual-kubelets/test/clusters/internal/process"
)

//go:embed csi.yaml
var csiYAML string

// DriverCommand is the hidden command of the program Driver.
const DriverCommand = "csi-driver"

// Sockets of the driver in a node's mount namespace, where kubelets look for them.
// https://kubernetes-csi.github.io/docs/deploying.html
const (
	nodeSocket         = "/var/lib/kubelet/plugins/" + csi.Name + "/csi.sock"
	registrationSocket = "/var/lib/kubelet/plugins_registry/" + csi.Name + "-reg.sock"
)

// VolumesDir is the folder of the driver's volumes.
func (c Cluster) VolumesDir() string { return filepath.Join(c.Dir, "csi", "volumes") }

// CSINode returns the storage driver of a node, which shares the mounts of its
// kubelet.
func (c Cluster) CSINode(node Node, pid int) process.Spec {
	spec := c.inNode(node, DriverCommand, pid, DriverCommand,
		flag("volumes", c.VolumesDir()),
		flag("socket", nodeSocket),
		flag("node", node.Name),
		flag("registration", registrationSocket))
	spec.Path = c.Driver
	return spec
}

// CSIController returns the storage driver's controller, and the programs that call
// it for the cluster. They are those of every CSI driver.
func (c Cluster) CSIController() []process.Spec {
	socket := filepath.Join(c.Dir, "csi", "csi.sock")
	names := make([]string, 0, len(c.Nodes))
	for _, node := range c.Nodes {
		names = append(names, node.Name)
	}
	controller := c.spec(DriverCommand, DriverCommand,
		flag("volumes", c.VolumesDir()),
		flag("socket", socket),
		flag("nodes", strings.Join(names, ",")))
	controller.Path = c.Driver
	sidecar := func(program string, args ...string) process.Spec {
		return c.spec(program, append(args,
			flag("csi-address", socket),
			flag("kubeconfig", c.file("admin.kubeconfig")),
			flag("kube-api-qps", 500),
			flag("kube-api-burst", 1000))...)
	}
	return []process.Spec{
		controller,
		// The timeouts are for copies of volumes on a busy machine.
		sidecar("csi-provisioner", flag("timeout", "2m")),
		sidecar("csi-attacher", flag("timeout", "2m")),
		sidecar("csi-resizer", flag("timeout", "2m")),
	}
}

// csiManifests returns the objects of the storage driver, or nothing without one.
func (c Cluster) csiManifests() ([]byte, error) {
	if c.Driver == "" {
		return nil, nil
	}
	parsed, err := template.New("csi").Parse(csiYAML)
	if err != nil {
		return nil, fmt.Errorf("parse manifests of the storage driver: %w", err)
	}
	var out bytes.Buffer
	err = parsed.Execute(&out, map[string]any{"Name": csi.Name, "Access": csi.AccessKey, "Anywhere": csi.AccessAnywhere})
	if err != nil {
		return nil, fmt.Errorf("render manifests of the storage driver: %w", err)
	}
	return out.Bytes(), nil
}
