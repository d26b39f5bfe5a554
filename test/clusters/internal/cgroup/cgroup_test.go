package cgroup

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestHierarchies(t *testing.T) {
	cases := map[string]struct {
		reason string
		files  []string
		want   []string
	}{
		"Version1": {
			reason: "each mounted controller is one hierarchy, other folders are none",
			files:  []string{"cpu/cgroup.procs", "pids/cgroup.procs", "other/readme"},
			want:   []string{"cpu", "pids"},
		},
		"Version2": {
			reason: "the root itself is the only hierarchy",
			files:  []string{"cgroup.controllers", "cgroup.procs", "user.slice/cgroup.procs"},
			want:   []string{"."},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			for _, file := range tc.files {
				path := filepath.Join(root, file)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, nil, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			got, err := Group{Root: root}.hierarchies()
			if err != nil {
				t.Fatal(err)
			}
			for i := range got {
				if got[i], err = filepath.Rel(root, got[i]); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestHierarchiesMissing(t *testing.T) {
	if _, err := (Group{Root: t.TempDir()}).hierarchies(); err == nil {
		t.Error("without a hierarchy: got no error")
	}
}

// Processes are found and killed by their control group alone.
func TestRemoveKills(t *testing.T) {
	group := Group{Root: "/sys/fs/cgroup", Name: fmt.Sprintf("ak-test-%d", os.Getpid())}
	if err := group.Make("system"); err != nil {
		t.Skipf("control groups are not ours to make: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	t.Cleanup(func() {
		if err := group.Remove(ctx); err != nil {
			t.Error(err)
		}
	})
	procs, err := group.Procs("system")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sleep", "100")
	if err := cmd.Start(); err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	if err := os.WriteFile(procs[0], []byte(strconv.Itoa(cmd.Process.Pid)), 0); err != nil {
		t.Fatal(err)
	}
	pids, err := group.PIDs("")
	if diff := cmp.Diff([]int{cmd.Process.Pid}, pids); err != nil || diff != "" {
		t.Fatalf("%v: -want +got:\n%s", err, diff)
	}
	if err := group.Empty(ctx, "other"); err != nil {
		t.Fatal(err)
	}
	if pids, err := group.PIDs("system"); err != nil || len(pids) != 1 {
		t.Fatalf("emptying another group left %v: %v", pids, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	if err := group.Remove(ctx); err != nil {
		t.Fatal(err)
	}
	<-ended
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		t.Errorf("the process ended as %v, want killed", cmd.ProcessState)
	}
	if folders, err := group.folders(""); err != nil || len(folders) != 0 {
		t.Errorf("folders remain: %v %v", folders, err)
	}
}
