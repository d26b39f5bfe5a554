package csi

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// store is the folder of the volumes, each in a folder that is named after it. The
// controller writes it, and the nodes read it.
type store struct{ dir string }

// volume is what volume.json says.
type volume struct {
	ID string `json:"id"`
	// Size is in bytes.
	Size  int64 `json:"size"`
	Block bool  `json:"block,omitempty"`
	// Node is the only node that can use the volume; empty for any.
	Node string `json:"node,omitempty"`
	// Source is the volume that this one was copied from; empty for none.
	Source string `json:"source,omitempty"`
	// Attached are the nodes that may use the volume now.
	Attached []string `json:"attached,omitempty"`
}

// unfinished is the beginning of the names of folders that are being made or
// removed. No ID begins with a dot.
const unfinished = ".unfinished-"

// usable are names that can be a folder's.
func usable(id string) bool {
	const form = `^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`
	return regexp.MustCompile(form).MatchString(id)
}

// prepare makes the folder, and removes what an interrupted controller has left.
func (s store) prepare() error {
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return fmt.Errorf("make the folder of volumes: %w", err)
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return fmt.Errorf("read the folder of volumes: %w", err)
	}
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), unfinished) {
			continue
		}
		if err := os.RemoveAll(filepath.Join(s.dir, entry.Name())); err != nil {
			return fmt.Errorf("remove an unfinished volume: %w", err)
		}
	}
	return nil
}

// data is the content of a volume: a folder, or a file if it is a block volume.
func (s store) data(v volume) string {
	if v.Block {
		return filepath.Join(s.dir, v.ID, "disk")
	}
	return filepath.Join(s.dir, v.ID, "data")
}

// get returns a volume. The error has the code NotFound if there is none.
func (s store) get(id string) (volume, error) {
	var v volume
	if !usable(id) {
		return v, status.Errorf(codes.NotFound, "there is no volume %q", id)
	}
	content, err := os.ReadFile(filepath.Join(s.dir, id, "volume.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return v, status.Errorf(codes.NotFound, "there is no volume %q", id)
	}
	if err != nil {
		return v, fmt.Errorf("read volume: %w", err)
	}
	if err := json.Unmarshal(content, &v); err != nil {
		return v, fmt.Errorf("read volume %s: %w", id, err)
	}
	return v, nil
}

// create makes a volume whole or not at all. It is empty, or has the content of
// its source.
func (s store) create(v volume) error {
	temp, err := os.MkdirTemp(s.dir, unfinished)
	if err != nil {
		return fmt.Errorf("make volume: %w", err)
	}
	defer os.RemoveAll(temp)
	if err := os.Chmod(temp, 0o755); err != nil { //nolint:gosec // pods of any user look through it
		return fmt.Errorf("make volume: %w", err)
	}
	data := filepath.Join(temp, filepath.Base(s.data(v)))
	if err := s.fill(v, data); err != nil {
		return fmt.Errorf("make volume %s: %w", v.ID, err)
	}
	if err := write(temp, v); err != nil {
		return err
	}
	if err := os.Rename(temp, filepath.Join(s.dir, v.ID)); err != nil {
		return fmt.Errorf("make volume: %w", err)
	}
	return nil
}

// fill makes the content of the volume at the path data.
func (s store) fill(v volume, data string) error {
	if v.Source != "" {
		source, err := s.get(v.Source)
		if err != nil {
			return err
		}
		// Holes stay holes; owners, links and times stay what they are.
		out, err := exec.Command("cp", "--archive", "--sparse=always", s.data(source), data).CombinedOutput()
		if err != nil {
			return fmt.Errorf("copy %s: %w: %s", v.Source, err, out)
		}
	} else if !v.Block {
		return os.Mkdir(data, 0o755)
	}
	if !v.Block {
		return nil
	}
	return grow(data, v.Size)
}

// grow makes the file have size bytes; it is never cut.
func grow(path string, size int64) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || info.Size() >= size {
		return err
	}
	return file.Truncate(size)
}

// update writes the description of an existing volume.
func (s store) update(v volume) error { return write(filepath.Join(s.dir, v.ID), v) }

// write writes volume.json, which a reader finds old or new, and nothing between.
func write(dir string, v volume) error {
	content, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode volume %s: %w", v.ID, err)
	}
	temp := filepath.Join(dir, "volume.json.new")
	if err := os.WriteFile(temp, content, 0o600); err != nil {
		return fmt.Errorf("write volume: %w", err)
	}
	return os.Rename(temp, filepath.Join(dir, "volume.json"))
}

// remove deletes a volume and the loop devices of its file. No other volume of that
// name has been made meanwhile: the driver serves one request at a time.
func (s store) remove(v volume) error {
	if v.Block {
		if err := detach(s.data(v)); err != nil {
			return err
		}
	}
	temp, err := os.MkdirTemp(s.dir, unfinished)
	if err != nil {
		return fmt.Errorf("delete volume: %w", err)
	}
	if err := os.Rename(filepath.Join(s.dir, v.ID), filepath.Join(temp, v.ID)); err != nil {
		return fmt.Errorf("delete volume: %w", err)
	}
	if err := os.RemoveAll(temp); err != nil {
		return fmt.Errorf("delete volume: %w", err)
	}
	return nil
}

// attachedElsewhere reports whether another node may use the volume.
func (v volume) attachedElsewhere(node string) bool {
	return slices.ContainsFunc(v.Attached, func(other string) bool { return other != node })
}
