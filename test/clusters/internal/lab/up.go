package lab

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/actual-kubelets/actual-kubelets/test/clusters/internal/certs"
	"github.com/actual-kubelets/actual-kubelets/test/clusters/internal/cluster"
	"github.com/actual-kubelets/actual-kubelets/test/clusters/internal/netns"
	"github.com/actual-kubelets/actual-kubelets/test/clusters/internal/process"
)

// stepTimeout bounds each step of Up once its programs run.
const stepTimeout = 3 * time.Minute

// Up brings the clusters of plan up, or repairs them, and returns when they are
// usable. Clusters that run already are left alone.
func (l *Lab) Up(ctx context.Context, plan Plan) error {
	if plan.Simulated {
		l.env.Report(SimulatedNotice)
	}
	unlock, err := l.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	// Does nothing unless the folder is empty, because Up stopped early.
	defer os.Remove(l.Dir)
	if err := l.checkFolder(); err != nil {
		return err
	}
	state, err := l.prepare(ctx, plan)
	if err != nil {
		return err
	}
	fresh, err := l.connect(ctx, state)
	if err != nil {
		return err
	}
	whole := !fresh && l.whole()
	if err := l.parallel(ctx, state, l.raise); err != nil {
		return err
	}
	if err := l.startLink(ctx, state); err != nil {
		return err
	}
	if !whole {
		if err := l.parallel(ctx, state, l.prove); err != nil {
			return err
		}
	}
	state.Ready = true
	return l.save(state)
}

// checkFolder rejects a folder that holds files of others.
func (l *Lab) checkFolder() error {
	for _, hidden := range []string{"/run/", "/var/lib/", "/var/log/"} {
		if Possible() && len(l.Dir) > len(hidden) && l.Dir[:len(hidden)] == hidden {
			return mistakef("run folder %s is hidden by the nodes' own %s: choose another --dir", l.Dir, hidden)
		}
	}
	found, err := os.ReadDir(l.Dir)
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, name := range entries {
		known[name] = true
	}
	for _, entry := range found {
		if !known[entry.Name()] {
			return mistakef("run folder %s holds %s, which no run has created: choose an empty --dir", l.Dir, entry.Name())
		}
	}
	return nil
}

// prepare returns the state of the run. It begins a new one if there is none to
// continue.
func (l *Lab) prepare(ctx context.Context, plan Plan) (State, error) {
	state, ok, err := l.Load()
	if err != nil {
		return State{}, err
	}
	if ok && state.Boot != bootID() {
		// Only files survived.
		if err := l.remove(ctx); err != nil {
			return State{}, err
		}
		ok = false
	}
	if ok && !samePlan(state.Plan, plan) {
		return State{}, mistakef("%s already runs %s: run clusters down first, or choose another --dir", l.Dir, state.Plan)
	}
	if !ok {
		if err := l.checkLimits(plan); err != nil {
			return State{}, err
		}
		if state, err = newState(plan); err != nil {
			return State{}, err
		}
		if err := l.equip(ctx, &state); err != nil {
			return State{}, err
		}
	}
	for _, dir := range []string{"run", "logs", Local, Remote} {
		if err := os.MkdirAll(l.path(dir), 0o700); err != nil {
			return State{}, err
		}
	}
	return state, l.save(state)
}

// samePlan compares plans; a wanted port of 0 equals any.
func samePlan(have, want Plan) bool {
	if want.LocalPort == 0 {
		want.LocalPort = have.LocalPort
	}
	if want.RemotePort == 0 {
		want.RemotePort = have.RemotePort
	}
	return have == want
}

func (p Plan) String() string {
	text := fmt.Sprintf("local %s with %d nodes and remote %s with %d nodes",
		p.LocalVersion, p.LocalNodes, p.RemoteVersion, p.RemoteNodes)
	if p.Audit {
		text += ", audited"
	}
	if p.CSI {
		text += ", with a storage driver"
	}
	if p.Simulated {
		text += " (" + SimulatedNotice + ")"
	}
	if p.LocalPath {
		text += ", with --local-path"
	}
	return text
}

func (l *Lab) equip(ctx context.Context, state *State) error {
	for _, name := range []string{Local, Remote} {
		programs, err := l.env.Toolchain.Programs(ctx, state.Plan.version(name), state.Plan.Simulated)
		if err != nil {
			return fmt.Errorf("get programs of Kubernetes %s: %w", state.Plan.version(name), err)
		}
		state.Clusters[name].Programs = programs
	}
	if state.Plan.Simulated {
		return nil
	}
	if state.Plan.CSI {
		sidecars, err := l.env.Toolchain.Sidecars(ctx)
		if err != nil {
			return fmt.Errorf("get the programs beside the storage driver: %w", err)
		}
		maps.Copy(state.Clusters[Remote].Programs, sidecars)
	}
	images, err := l.env.Toolchain.Images(ctx, state.Clusters[Remote].Programs)
	if err != nil {
		return fmt.Errorf("get images: %w", err)
	}
	state.Images = images
	if !state.Plan.LocalPath {
		return nil
	}
	program, err := l.env.Toolchain.LocalPath(ctx)
	if err != nil {
		return fmt.Errorf("get the provisioner of volumes: %w", err)
	}
	state.Clusters[Remote].Programs[cluster.LocalPathProgram] = program
	return nil
}

// connect makes the control groups and namespaces of the clusters. It reports
// whether they are new.
func (l *Lab) connect(ctx context.Context, state State) (fresh bool, err error) {
	whole := state.Plan.Simulated || netns.Exists(l.namespace(Local)) && netns.Exists(l.namespace(Remote))
	if state.Ready && whole {
		return false, l.makeGroups(state)
	}
	// Incomplete namespaces look like complete ones, and a process may run that
	// was not recorded: end them all. The data stays.
	if err := l.endProcesses(ctx); err != nil {
		return true, err
	}
	if state.Plan.Simulated {
		return true, nil
	}
	if err := netns.Delete(l.id + "-"); err != nil {
		return true, err
	}
	if err := netns.Create(l.side(state, Local), l.side(state, Remote)); err != nil {
		return true, err
	}
	return true, l.makeGroups(state)
}

func (l *Lab) makeGroups(state State) error {
	if state.Plan.Simulated {
		return nil
	}
	groups := []string{systemGroup, execGroup}
	for _, node := range state.Plan.nodeNames() {
		groups = append(groups, node, nodeGroup(node))
	}
	for _, sub := range groups {
		if err := l.group().Make(sub); err != nil {
			return err
		}
	}
	return nil
}

func (l *Lab) side(state State, name string) netns.Side {
	side := netns.Side{Name: l.namespace(name), Pods: podRange(name), Services: serviceRange(name)}
	hosts := []byte{apiHost}
	if name == Local {
		hosts = append(hosts, akdHost, linkHost)
	}
	for i := range state.Plan.nodes(name) {
		hosts = append(hosts, byte(firstNode+i))
	}
	for _, host := range hosts {
		side.Addresses = append(side.Addresses, netip.PrefixFrom(address(name, host), 24))
	}
	return side
}

// parallel runs step for both clusters and returns the first failure.
func (l *Lab) parallel(ctx context.Context, state State, step func(context.Context, State, cluster.Cluster) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var group sync.WaitGroup
	errs := make(chan error, 2)
	for _, name := range []string{Local, Remote} {
		group.Go(func() {
			c, err := l.cluster(state, name)
			if err == nil {
				err = step(ctx, state, c)
			}
			if err != nil {
				errs <- fmt.Errorf("%s cluster: %w", name, err)
				cancel()
			}
		})
	}
	group.Wait()
	close(errs)
	return <-errs
}

// raise starts one cluster's programs.
func (l *Lab) raise(ctx context.Context, state State, c cluster.Cluster) error {
	if err := c.WritePKI(l.env.Now); err != nil {
		return err
	}
	if err := c.WriteFiles(); err != nil {
		return err
	}
	for _, spec := range []process.Spec{c.Etcd(), c.APIServer()} {
		if err := l.ensure(spec); err != nil {
			return err
		}
	}
	if err := l.forward(state, c); err != nil {
		return err
	}
	if err := l.writeAccess(state, c); err != nil {
		return err
	}
	var nodes sync.WaitGroup
	var nodesErr error
	nodes.Go(func() { nodesErr = l.startRuntimes(ctx, state, c) })
	err := l.startControllers(ctx, c)
	nodes.Wait()
	if err := errors.Join(err, nodesErr); err != nil {
		return err
	}
	if err := l.startNodes(ctx, state, c); err != nil {
		return err
	}
	return l.startStorage(ctx, c)
}

func (l *Lab) startControllers(ctx context.Context, c cluster.Cluster) error {
	if err := l.waitAPI(ctx, c); err != nil {
		return err
	}
	for _, spec := range c.ControlPlane() {
		if err := l.ensure(spec); err != nil {
			return err
		}
	}
	if err := l.applyManifests(ctx, c); err != nil || !c.LocalPath {
		return err
	}
	return l.ensure(c.LocalPathProvisioner())
}

// whole reports whether every program that was started still runs.
func (l *Lab) whole() bool {
	records, err := l.table().All()
	for _, record := range records {
		if !record.Alive() {
			return false
		}
	}
	return err == nil
}

// ensure starts the program unless it runs.
func (l *Lab) ensure(spec process.Spec) error {
	if record, ok := l.table().Find(spec.Name); ok && record.Alive() {
		return nil
	}
	l.env.Report("starting %s", spec.Name)
	if spec.Path == "" {
		return fmt.Errorf("start %s: its program was not built", spec.Name)
	}
	_, err := l.table().Start(spec)
	return err
}

// forward makes the API server of a cluster in a namespace reachable from the
// machine. A program inside inherits the listener, which is made outside.
func (l *Lab) forward(state State, c cluster.Cluster) error {
	name := c.Component("forward")
	if record, ok := l.table().Find(name); c.Simulated || ok && record.Alive() {
		return nil
	}
	site := state.Clusters[c.Name]
	listener, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(site.Port))
	if err != nil {
		return mistakef("port %d on 127.0.0.1, of the %s API server, is in use: free it, or run clusters down and up", site.Port, c.Name)
	}
	defer listener.Close()
	file, err := listener.(*net.TCPListener).File() //nolint:forcetypeassert // a TCP listener is one
	if err != nil {
		return err
	}
	defer file.Close()
	target := netip.AddrPortFrom(c.Net.Address, uint16(c.Net.Ports.API))
	_, err = l.table().Start(process.Spec{
		Name:  name,
		Path:  l.env.Self,
		Args:  []string{"forward", target.String()},
		Enter: c.Enter,
		Files: []*os.File{file},
	})
	return err
}

// startLink starts the proxy between akd's side and the remote API server.
func (l *Lab) startLink(ctx context.Context, state State) error {
	c, err := l.cluster(state, Local)
	if err != nil {
		return err
	}
	remote, err := l.cluster(state, Remote)
	if err != nil {
		return err
	}
	target := netip.AddrPortFrom(remote.Net.Address, uint16(remote.Net.Ports.API))
	err = l.ensure(process.Spec{
		Name: "link", Path: l.env.Self,
		Args:  []string{"link-proxy", state.linkAddress().String(), target.String(), l.linkSocket()},
		Enter: c.Enter,
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	err = poll(ctx, "the link", func(ctx context.Context) (bool, error) {
		_, err := l.Link().State(ctx)
		return err == nil, errors.Join(err, l.died("link"))
	})
	return l.blame("link", err)
}

func (l *Lab) linkSocket() string { return l.path("run", "link.sock") }

// writeAccess writes the kubeconfigs for users of the run.
func (l *Lab) writeAccess(state State, c cluster.Cluster) error {
	machine := net.JoinHostPort("127.0.0.1", strconv.Itoa(state.Clusters[c.Name].Port))
	inside := netip.AddrPortFrom(c.Net.Address, uint16(c.Net.Ports.API)).String()
	if c.Name == Remote {
		inside = state.linkAddress().String()
	}
	for name, server := range map[string]string{c.Name: machine, "akd-" + c.Name: inside} {
		access, err := c.Admin(server)
		if err != nil {
			return err
		}
		if err := certs.WriteKubeconfig(l.Kubeconfig(name), access); err != nil {
			return err
		}
	}
	return l.mergeAccess(state)
}

// mergeAccess writes the kubeconfig with both contexts, once both are known.
func (l *Lab) mergeAccess(state State) error {
	var accesses []certs.Access
	for _, name := range []string{Local, Remote} {
		c, err := l.cluster(state, name)
		if err != nil {
			return err
		}
		access, err := c.Admin(net.JoinHostPort("127.0.0.1", strconv.Itoa(state.Clusters[name].Port)))
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		accesses = append(accesses, access)
	}
	return certs.WriteKubeconfig(l.Kubeconfig("kubeconfig"), accesses...)
}

// died returns an error with the end of the log if a component has ended.
func (l *Lab) died(names ...string) error {
	for _, name := range names {
		if record, ok := l.table().Find(name); ok && !record.Alive() {
			return l.blame(name, errors.New("it has ended"))
		}
	}
	return nil
}
