package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/actual-kubelets/actual-kubelets/test/clusters/internal/cluster"
	"github.com/actual-kubelets/actual-kubelets/test/clusters/internal/process"
)

// Plan is what the user wants.
type Plan struct {
	Simulated     bool   `json:"simulated"`
	LocalVersion  string `json:"localVersion"`
	RemoteVersion string `json:"remoteVersion"`
	LocalNodes    int    `json:"localNodes"`
	RemoteNodes   int    `json:"remoteNodes"`
	// LocalPort and RemotePort are the API servers' ports on 127.0.0.1; 0 picks a
	// free one.
	LocalPort  int `json:"localPort"`
	RemotePort int `json:"remotePort"`
	// LocalPath is whether the remote cluster has a StorageClass.
	LocalPath bool `json:"localPath"`
	// Audit is whether the API servers log who writes what.
	Audit bool `json:"audit"`
	// CSI is whether the remote cluster has a storage driver.
	CSI bool `json:"csi"`
}

func (p Plan) version(name string) string {
	if name == Local {
		return p.LocalVersion
	}
	return p.RemoteVersion
}

func (p Plan) nodes(name string) int {
	if name == Local {
		return p.LocalNodes
	}
	return p.RemoteNodes
}

func (p Plan) nodeNames() []string {
	var names []string
	for _, cluster := range []string{Local, Remote} {
		for i := range p.nodes(cluster) {
			names = append(names, nodeName(cluster, i+1))
		}
	}
	return names
}

func (p Plan) port(name string) int {
	if name == Local {
		return p.LocalPort
	}
	return p.RemotePort
}

// State is the stored state of a run. It is written before anything is started.
type State struct {
	Plan Plan `json:"plan"`
	// Boot is the machine's boot; a run does not survive the next one.
	Boot string `json:"boot"`
	// Ready is set once everything has worked.
	Ready    bool             `json:"ready"`
	LinkPort int              `json:"linkPort"`
	Clusters map[string]*Site `json:"clusters"`
	Images   Images           `json:"images"`
}

// Site is the stored state of one cluster.
type Site struct {
	// Port is the API server's on 127.0.0.1 of the machine.
	Port  int           `json:"port"`
	Ports cluster.Ports `json:"ports"`
	// Programs are the files of the cluster's version by name.
	Programs map[string]string `json:"programs"`
}

// Load returns the state of the run; ok is false when there is none.
func (l *Lab) Load() (state State, ok bool, err error) {
	data, err := os.ReadFile(l.path("state.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return State{}, false, nil
	}
	if errors.Is(err, syscall.ENOTDIR) {
		return State{}, false, mistakef("run folder %s is a file: choose another --dir", l.Dir)
	}
	if errors.Is(err, fs.ErrPermission) {
		return State{}, false, mistakef("%s belongs to another user: run this command as that user", l.Dir)
	}
	if err != nil {
		return State{}, false, err
	}
	if err := json.Unmarshal(data, &state); err != nil {
		return State{}, false, mistakef("%s is damaged (%v): run clusters down", l.path("state.json"), err)
	}
	return state, true, nil
}

func (l *Lab) save(state State) error {
	data, err := json.MarshalIndent(state, "", "  ")
	if err != nil {
		return err
	}
	temp := l.path("run", "state.json.new")
	if err := os.WriteFile(temp, data, 0o600); err != nil {
		return err
	}
	return os.Rename(temp, l.path("state.json"))
}

func bootID() string {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(data))
}

// newState chooses ports. The listeners that reserve them are closed again, so
// another program can take a port before it is used; the next Up repairs that.
func newState(plan Plan) (State, error) {
	state := State{Plan: plan, Boot: bootID(), Clusters: map[string]*Site{}}
	var held []net.Listener
	defer func() {
		for _, listener := range held {
			listener.Close()
		}
	}()
	take := func(port int) (int, error) {
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if errors.Is(err, syscall.EADDRINUSE) {
			return 0, mistakef("port %d is in use: choose another one, or 0 for any free port", port)
		}
		if errors.Is(err, syscall.EACCES) {
			return 0, mistakef("port %d is privileged: choose one above 1023, or 0 for any free port", port)
		}
		if err != nil {
			return 0, err
		}
		held = append(held, listener)
		return listener.Addr().(*net.TCPAddr).Port, nil //nolint:forcetypeassert // a TCP listener's
	}
	var err error
	if state.LinkPort, err = take(0); err != nil {
		return state, err
	}
	for _, name := range []string{Local, Remote} {
		site := &Site{Ports: cluster.StandardPorts()}
		if site.Port, err = take(plan.port(name)); err != nil {
			return state, err
		}
		if plan.Simulated {
			site.Ports.API = site.Port
			for _, port := range []*int{&site.Ports.Etcd, &site.Ports.EtcdPeer, &site.Ports.ControllerManager, &site.Ports.Scheduler} {
				if *port, err = take(0); err != nil {
					return state, err
				}
			}
		}
		state.Clusters[name] = site
	}
	if !plan.Simulated {
		state.LinkPort = state.Clusters[Remote].Ports.API
	}
	return state, nil
}

// Addresses in the routed network. Each run has the same: namespaces keep them
// apart.
//
//	172.18.1.0/24  local:  .1 API server  .5 akd  .6 link  .11… nodes
//	172.18.2.0/24  remote: .1 API server                   .11… nodes
func address(name string, host byte) netip.Addr {
	if name == Local {
		return netip.AddrFrom4([4]byte{172, 18, 1, host})
	}
	return netip.AddrFrom4([4]byte{172, 18, 2, host})
}

const (
	apiHost   = 1
	akdHost   = 5
	linkHost  = 6
	firstNode = 11
	// MaxNodes is the highest number of real nodes in a cluster, by its addresses.
	MaxNodes = 100
	// MaxSimulatedNodes is the number of nodes that kwok simulates reliably.
	MaxSimulatedNodes = 5000
)

func podRange(name string) netip.Prefix {
	if name == Local {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 244, 0, 0}), 16)
	}
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 245, 0, 0}), 16)
}

func serviceRange(name string) netip.Prefix {
	if name == Local {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 96, 0, 0}), 16)
	}
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 97, 0, 0}), 16)
}

// linkAddress is that of the remote API server on akd's side of the link.
func (s State) linkAddress() netip.AddrPort {
	if s.Plan.Simulated {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(s.LinkPort))
	}
	return netip.AddrPortFrom(address(Local, linkHost), uint16(s.LinkPort))
}

// akdAddress is the address that akd can bind in the local namespace, port
// 10250 included.
func (s State) akdAddress() netip.Addr {
	if s.Plan.Simulated {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return address(Local, akdHost)
}

// cluster describes the cluster called name.
func (l *Lab) cluster(state State, name string) (cluster.Cluster, error) {
	site := state.Clusters[name]
	c := cluster.Cluster{
		Name:      name,
		Version:   state.Plan.version(name),
		Dir:       l.path(name),
		Tool:      func(program string) string { return site.Programs[program] },
		Simulated: state.Plan.Simulated,
		Cgroup:    l.id,
		Images:    cluster.Images{Pause: state.Images.Pause, CoreDNS: state.Images.CoreDNS, Busybox: state.Images.Busybox},
		LocalPath: state.Plan.LocalPath && name == Remote,
		Net: cluster.Network{
			Address:  netip.AddrFrom4([4]byte{127, 0, 0, 1}),
			Ports:    site.Ports,
			Pods:     podRange(name),
			Services: serviceRange(name),
		},
	}
	if state.Plan.Audit {
		c.AuditLog = l.path("logs", name+"-audit.log")
	}
	if c.Simulated {
		return c, nil
	}
	if state.Plan.CSI && name == Remote {
		c.Driver = l.env.Self
	}
	c.Net.Address = address(name, apiHost)
	c.Net.Extra = []string{address(Local, linkHost).String()}
	c.BinDir = filepath.Dir(c.Tool("bridge"))
	c.RuntimeDirs = []string{filepath.Dir(c.Tool("containerd-shim-runc-v2")), filepath.Dir(c.Tool("runc"))}
	var err error
	if c.Enter, err = l.enter(name, systemGroup); err != nil {
		return c, err
	}
	for i := range state.Plan.nodes(name) {
		node := cluster.Node{
			Name:    nodeName(name, i+1),
			Index:   i + 1,
			Address: address(name, byte(firstNode+i)),
		}
		if node.Enter, err = l.enter(name, nodeGroup(node.Name)); err != nil {
			return c, err
		}
		node.Dir = l.path(name, "nodes", node.Name)
		c.Nodes = append(c.Nodes, node)
	}
	return c, nil
}

// Control groups of a run. A node has two: its pods' has its name.
const (
	systemGroup = "system"
	execGroup   = "exec"
)

// nodeGroup is where a node's own programs are.
func nodeGroup(node string) string { return node + "-" + systemGroup }

func nodeName(clusterName string, index int) string { return fmt.Sprintf("%s-%d", clusterName, index) }

// enter describes a process's way into a cluster's network and a control group.
func (l *Lab) enter(clusterName, group string) (process.Enter, error) {
	procs, err := l.group().Procs(group)
	return process.Enter{NetNS: l.namespacePath(clusterName), CgroupProcs: procs}, err
}
