package lab

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/actual-kubelets/actual-kubelets/test/clusters/internal/cluster"
	"github.com/actual-kubelets/actual-kubelets/test/clusters/internal/link"
	"github.com/actual-kubelets/actual-kubelets/test/clusters/internal/process"
)

// Running returns the state of a run that Up has completed.
func (l *Lab) Running() (State, error) {
	state, ok, err := l.Load()
	if err != nil {
		return State{}, err
	}
	if !ok {
		return State{}, mistakef("no clusters run in %s: run clusters up, or give their --dir", l.Dir)
	}
	if !state.Ready {
		return State{}, mistakef("the clusters in %s are not ready: run clusters up", l.Dir)
	}
	return state, nil
}

// Link returns the control of the link between akd's side and the remote API
// server.
func (l *Lab) Link() link.Control { return link.Control{Socket: l.linkSocket()} }

// SetLink changes the link of a run.
func (l *Lab) SetLink(ctx context.Context, state link.State) error {
	if _, err := l.Running(); err != nil {
		return err
	}
	if err := l.died("link"); err != nil {
		return err
	}
	return l.Link().Set(ctx, state)
}

// Exec replaces this process with the command, in the network namespace of the
// cluster called name. Down kills it.
func (l *Lab) Exec(name string, command []string) error {
	state, err := l.Running()
	if err != nil {
		return err
	}
	path, err := exec.LookPath(command[0])
	if err != nil {
		return mistakef("%v: give a program on PATH or a path to one", err)
	}
	spec := process.Spec{Name: "exec", Path: path, Args: command[1:]}
	if !state.Plan.Simulated {
		if !Possible() {
			return mistakef("network namespaces need root: run clusters exec as root")
		}
		if spec.Enter, err = l.enter(name, execGroup); err != nil {
			return err
		}
	}
	if err := os.Setenv(process.Marker, l.id); err != nil {
		return err
	}
	return process.Exec(spec)
}

// Kubectl replaces this process with the cluster's own kubectl.
func (l *Lab) Kubectl(name string, args []string) error {
	state, err := l.Running()
	if err != nil {
		return err
	}
	// By default its cache would stay in the user's home folder.
	err = errors.Join(os.Setenv("KUBECONFIG", l.Kubeconfig(name)), os.Setenv("KUBECACHEDIR", l.path("run", "kubectl")))
	if err != nil {
		return err
	}
	return process.Exec(process.Spec{Name: "kubectl", Path: state.Clusters[name].Programs["kubectl"], Args: args})
}

// LoadImage imports the image archive on all nodes of the clusters.
func (l *Lab) LoadImage(ctx context.Context, archive string, clusters ...string) error {
	state, err := l.Running()
	if err != nil {
		return err
	}
	if state.Plan.Simulated {
		return mistakef("%s: run clusters up with real nodes to load an image", SimulatedNotice)
	}
	if err := checkArchive(archive); err != nil {
		return err
	}
	for _, name := range clusters {
		c, err := l.cluster(state, name)
		if err != nil {
			return err
		}
		err = eachNode(c, func(node cluster.Node) error {
			l.env.Report("%s: importing %s", node.Name, filepath.Base(archive))
			return l.importImage(ctx, c, node, archive)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// checkArchive checks that the file is an image, because containerd's error for
// anything else is hard to understand.
func checkArchive(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return mistakef("cannot read the image file: %v: build or save it first", err)
	}
	defer file.Close()
	for archive := tar.NewReader(file); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return mistakef("image file %s has neither manifest.json nor index.json: make it with docker save, or as an OCI layout", path)
		}
		if err != nil {
			return mistakef("image file %s is not a plain tar archive (%v): make it with docker save, or as an OCI layout", path, err)
		}
		if name := filepath.Clean(header.Name); name == "manifest.json" || name == "index.json" {
			return nil
		}
	}
}

// Log returns the path of a component's log.
func (l *Lab) Log(component string) (string, error) {
	if _, ok, err := l.Load(); err != nil || !ok {
		return "", errors.Join(err, mistakef("no clusters run in %s: run clusters up, or give their --dir", l.Dir))
	}
	names, err := l.logNames()
	if err != nil {
		return "", err
	}
	if !slices.Contains(names, component) {
		return "", mistakef("unknown component %q: give one of %v", component, names)
	}
	return l.table().Log(component), nil
}

func (l *Lab) logNames() ([]string, error) {
	records, err := l.table().All()
	var names []string
	for _, record := range records {
		names = append(names, record.Name)
	}
	return names, err
}
