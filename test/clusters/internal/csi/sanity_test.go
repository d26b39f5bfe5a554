//go:build linux

package csi

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/kubernetes-csi/csi-test/v5/pkg/sanity"
)

// alone is the argument of a test program in a mount namespace of its own.
const alone = "-csi-alone"

// TestMain takes the argument off, because ginkgo's flags do not know it.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == alone {
		inNamespace = true
		os.Args = append(os.Args[:1], os.Args[2:]...)
	}
	os.Exit(m.Run())
}

var inNamespace bool

// privately runs the test again in a mount namespace of its own, in which it
// returns true. Whatever happens there, the machine keeps no mount.
func privately(t *testing.T) bool {
	t.Helper()
	if inNamespace {
		return true
	}
	if os.Geteuid() != 0 {
		t.Skip("mounts and loop devices need root")
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", alone, "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	if err := cmd.Run(); err != nil {
		t.Errorf("in a mount namespace of its own: %v", err)
	}
	return false
}

// The tests of the CSI project that every driver has to pass.
// https://github.com/kubernetes-csi/csi-test/tree/master/pkg/sanity
func TestSanityOfFolders(t *testing.T) {
	if privately(t) {
		testSanity(t, "mount")
	}
}

func TestSanityOfDevices(t *testing.T) {
	if privately(t) {
		testSanity(t, "block")
	}
}

func testSanity(t *testing.T, access string) {
	t.Helper()
	dir := t.TempDir()
	volumes := filepath.Join(dir, "volumes")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- Run(ctx, Options{
			Volumes: volumes,
			Socket:  filepath.Join(dir, "csi.sock"),
			Node:    "node-1",
			Nodes:   []string{"node-1", "node-2"},
			Log:     slog.New(slog.NewTextHandler(t.Output(), nil)),
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ended, Release(volumes)); err != nil {
			t.Error(err)
		}
	})
	config := sanity.NewTestConfig()
	config.Address = "unix:" + filepath.Join(dir, "csi.sock")
	config.TargetPath, config.StagingPath = filepath.Join(dir, "target"), filepath.Join(dir, "staging")
	config.TestVolumeAccessType = access
	sanity.Test(t, config)
	left, err := os.ReadDir(volumes)
	if err != nil || len(left) > 0 {
		t.Errorf("volumes are left: %v %v", left, err)
	}
}
