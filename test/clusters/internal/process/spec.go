package process

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// Marker is the environment variable that every process of a run carries. Its
// value is the run's identity, so a process is found even without its record.
const Marker = "ACTUAL_CLUSTERS_RUN"

// Spec describes one program and the environment that it runs in.
type Spec struct {
	// Name is unique in a run and names the record and the log.
	Name string `json:"name"`
	// Path is the program's file; Args are its arguments without the name.
	Path string   `json:"path"`
	Args []string `json:"args,omitempty"`
	// Env is the whole environment.
	Env   []string `json:"env,omitempty"`
	Enter Enter    `json:"enter"`
	// Files are inherited by the program as descriptors 3, 4, …
	Files []*os.File `json:"-"`
}

// Enter lists the namespaces and control groups that a process joins before it
// becomes the program. The zero value leaves it in those of its parent.
type Enter struct {
	// CgroupProcs are the cgroup.procs files that the process adds itself to.
	CgroupProcs []string `json:"cgroupProcs,omitempty"`
	// NetNS is the file of the network namespace to join.
	NetNS string `json:"netNS,omitempty"`
	// MountNS is the file of the mount namespace to join.
	MountNS string `json:"mountNS,omitempty"`
	// Private asks for a mount namespace of the process's own with these
	// mounts, made in order. It excludes MountNS.
	Private []Mount `json:"private,omitempty"`
}

// MountKind is the effect of a Mount.
type MountKind string

const (
	// Bind shows the folder or file Source at Target.
	Bind MountKind = "bind"
	// Overlay makes changes below Target land in Source instead.
	Overlay MountKind = "overlay"
	// Content shows a file with Source as its text at Target.
	Content MountKind = "content"
)

// Mount is one mount of a private mount namespace.
type Mount struct {
	Kind   MountKind `json:"kind"`
	Source string    `json:"source"`
	Target string    `json:"target"`
}

func writeSpec(path string, spec Spec) error {
	data, err := json.MarshalIndent(spec, "", "  ")
	if err != nil {
		return fmt.Errorf("encode process %s: %w", spec.Name, err)
	}
	return replaceFile(path, data)
}

func readSpec(path string) (Spec, error) {
	var spec Spec
	data, err := os.ReadFile(path)
	if err != nil {
		return spec, err
	}
	if err := json.Unmarshal(data, &spec); err != nil {
		return spec, fmt.Errorf("decode %s: %w", path, err)
	}
	return spec, nil
}

// replaceFile writes a file so that a reader, or a crash, sees all or nothing.
func replaceFile(path string, data []byte) error {
	temp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	_, err = temp.Write(data)
	if closeErr := temp.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return os.Rename(temp.Name(), path)
}
