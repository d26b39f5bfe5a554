//go:build linux

package csi

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const mebibyte = 1 << 20

func newDriver(t *testing.T) (controller, map[string]node) {
	t.Helper()
	volumes := store{dir: filepath.Join(t.TempDir(), "volumes")}
	if err := volumes.prepare(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := Release(volumes.dir); err != nil {
			t.Error(err)
		}
	})
	return controller{volumes: volumes, nodes: []string{"a", "b"}},
		map[string]node{"a": {volumes: volumes, name: "a"}, "b": {volumes: volumes, name: "b"}}
}

func capability(block bool, mode csi.VolumeCapability_AccessMode_Mode) *csi.VolumeCapability {
	c := &csi.VolumeCapability{AccessMode: &csi.VolumeCapability_AccessMode{Mode: mode}}
	if block {
		c.AccessType = &csi.VolumeCapability_Block{Block: &csi.VolumeCapability_BlockVolume{}}
	} else {
		c.AccessType = &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{}}
	}
	return c
}

func create(t *testing.T, c controller, req *csi.CreateVolumeRequest) *csi.Volume {
	t.Helper()
	resp, err := c.CreateVolume(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	return resp.GetVolume()
}

const writer = csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER

func TestPlace(t *testing.T) {
	onA := map[string]string{TopologyKey: "a"}
	onB := map[string]string{TopologyKey: "b"}
	both := &csi.TopologyRequirement{
		Requisite: []*csi.Topology{{Segments: onA}, {Segments: onB}},
		Preferred: []*csi.Topology{{Segments: onB}, {Segments: onA}},
	}
	cases := map[string]struct {
		reason     string
		required   *csi.TopologyRequirement
		parameters map[string]string
		want       []*csi.Topology
		code       codes.Code
	}{
		"Preferred": {reason: "the scheduler's choice comes first", required: both, want: []*csi.Topology{{Segments: onB}}},
		"Anywhere":  {reason: "its class says so", required: both, parameters: map[string]string{AccessKey: AccessAnywhere}},
		"Unknown": {
			reason:   "another cluster's node",
			required: &csi.TopologyRequirement{Requisite: []*csi.Topology{{Segments: map[string]string{TopologyKey: "c"}}}},
			code:     codes.ResourceExhausted,
		},
		"Typo": {reason: "nobody would notice", parameters: map[string]string{"acces": AccessAnywhere}, code: codes.InvalidArgument},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c, _ := newDriver(t)
			resp, err := c.CreateVolume(t.Context(), &csi.CreateVolumeRequest{
				Name:                      "v",
				VolumeCapabilities:        []*csi.VolumeCapability{capability(false, writer)},
				Parameters:                tc.parameters,
				AccessibilityRequirements: tc.required,
			})
			if status.Code(err) != tc.code {
				t.Fatalf("%s: got %v, want code %s", tc.reason, err, tc.code)
			}
			got := resp.GetVolume().GetAccessibleTopology()
			if len(got) != len(tc.want) || len(got) > 0 && !cmp.Equal(got[0].GetSegments(), tc.want[0].GetSegments()) {
				t.Errorf("%s: got %v, want %v", tc.reason, got, tc.want)
			}
		})
	}
}

// A disk is attached to one node at a time, and deleted only when no node has it.
func TestAttach(t *testing.T) {
	c, nodes := newDriver(t)
	publish := func(id, node string, mode csi.VolumeCapability_AccessMode_Mode) codes.Code {
		_, err := c.ControllerPublishVolume(t.Context(), &csi.ControllerPublishVolumeRequest{
			VolumeId: id, NodeId: node, VolumeCapability: capability(false, mode),
		})
		return status.Code(err)
	}
	const shared = csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER
	for _, id := range []string{"one", "many"} {
		create(t, c, &csi.CreateVolumeRequest{Name: id, VolumeCapabilities: []*csi.VolumeCapability{capability(false, shared)}})
	}
	got := []codes.Code{
		publish("one", "a", writer), publish("one", "a", writer), publish("one", "b", writer),
		publish("many", "a", shared), publish("many", "b", shared),
	}
	if diff := cmp.Diff([]codes.Code{codes.OK, codes.OK, codes.FailedPrecondition, codes.OK, codes.OK}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	_, err := nodes["b"].NodeStageVolume(t.Context(), &csi.NodeStageVolumeRequest{
		VolumeId: "one", StagingTargetPath: t.TempDir(), VolumeCapability: capability(false, writer),
	})
	if status.Code(err) != codes.FailedPrecondition {
		t.Errorf("stage on a node to which it is not attached: %v", err)
	}
	if _, err := c.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: "one"}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("delete while attached: %v", err)
	}
	if _, err := c.ControllerUnpublishVolume(t.Context(), &csi.ControllerUnpublishVolumeRequest{VolumeId: "one", NodeId: "a"}); err != nil {
		t.Error(err)
	}
	if code := publish("one", "b", writer); code != codes.OK {
		t.Errorf("attach to another node afterwards: %s", code)
	}
}

// A copy has the content, and no more to do with its source.
func TestCopy(t *testing.T) {
	c, _ := newDriver(t)
	folder := []*csi.VolumeCapability{capability(false, writer)}
	create(t, c, &csi.CreateVolumeRequest{Name: "source", VolumeCapabilities: folder})
	file := func(id string) string { return filepath.Join(c.volumes.dir, id, "data", "file") }
	if err := os.WriteFile(file("source"), []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	create(t, c, &csi.CreateVolumeRequest{Name: "copy", VolumeCapabilities: folder, VolumeContentSource: &csi.VolumeContentSource{
		Type: &csi.VolumeContentSource_Volume{Volume: &csi.VolumeContentSource_VolumeSource{VolumeId: "source"}},
	}})
	if _, err := c.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: "source"}); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(file("copy"))
	if err != nil || string(content) != "content" {
		t.Errorf("the copy holds %q %v", content, err)
	}
}

// A device grows while it is in use, and a copy of it may be larger from the
// beginning.
func TestDevice(t *testing.T) {
	if !privately(t) {
		return
	}
	c, nodes := newDriver(t)
	device := []*csi.VolumeCapability{capability(true, writer)}
	create(t, c, &csi.CreateVolumeRequest{
		Name: "v", VolumeCapabilities: device, CapacityRange: &csi.CapacityRange{RequiredBytes: mebibyte},
	})
	target := filepath.Join(t.TempDir(), "target")
	use(t, c, nodes["a"], "v", target)
	if got := deviceSize(t, target); got != mebibyte {
		t.Errorf("the device has %d bytes", got)
	}
	for range 2 { // a request that is repeated changes nothing
		if _, err := c.ControllerExpandVolume(t.Context(), &csi.ControllerExpandVolumeRequest{
			VolumeId: "v", CapacityRange: &csi.CapacityRange{RequiredBytes: 3*mebibyte - 1},
		}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := nodes["a"].NodeExpandVolume(t.Context(), &csi.NodeExpandVolumeRequest{VolumeId: "v", VolumePath: target}); err != nil {
		t.Fatal(err)
	}
	if got := deviceSize(t, target); got != 3*mebibyte {
		t.Errorf("the grown device has %d bytes", got)
	}
	if err := os.WriteFile(target, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	unix.Sync()
	create(t, c, &csi.CreateVolumeRequest{
		Name: "copy", VolumeCapabilities: device, CapacityRange: &csi.CapacityRange{RequiredBytes: 5 * mebibyte},
		VolumeContentSource: &csi.VolumeContentSource{
			Type: &csi.VolumeContentSource_Volume{Volume: &csi.VolumeContentSource_VolumeSource{VolumeId: "v"}},
		},
	})
	info, err := os.Stat(c.volumes.data(volume{ID: "copy", Block: true}))
	if err != nil || info.Size() != 5*mebibyte {
		t.Errorf("the copy: %v %v", info, err)
	}
}

// Devices are found and released even if the mount namespace in which they were
// used is gone, and a kubelet's own devices on top of them.
func TestRelease(t *testing.T) {
	if !privately(t) {
		return
	}
	c, _ := newDriver(t)
	create(t, c, &csi.CreateVolumeRequest{Name: "v", VolumeCapabilities: []*csi.VolumeCapability{capability(true, writer)}})
	disk := c.volumes.data(volume{ID: "v", Block: true})
	lower, err := attach(disk)
	if err != nil {
		t.Fatal(err)
	}
	upper, err := attachFreeTo(lower)
	if err != nil {
		t.Fatal(err)
	}
	if err := Release(c.volumes.dir); err != nil {
		t.Fatal(err)
	}
	all, err := loops()
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range all {
		if one.path == lower || one.path == upper {
			t.Errorf("%s is still in use", one.path)
		}
	}
}

func attachFreeTo(path string) (string, error) {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer file.Close()
	return attachFree(file)
}

// use attaches, stages and publishes a block volume.
func use(t *testing.T, c controller, n node, id, target string) {
	t.Helper()
	device, staging := capability(true, writer), t.TempDir()
	ctx := context.WithoutCancel(t.Context())
	if _, err := c.ControllerPublishVolume(ctx, &csi.ControllerPublishVolumeRequest{
		VolumeId: id, NodeId: n.name, VolumeCapability: device,
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := n.NodeStageVolume(ctx, &csi.NodeStageVolumeRequest{
		VolumeId: id, StagingTargetPath: staging, VolumeCapability: device,
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := n.NodePublishVolume(ctx, &csi.NodePublishVolumeRequest{
		VolumeId: id, StagingTargetPath: staging, TargetPath: target, VolumeCapability: device,
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := n.NodeUnpublishVolume(ctx, &csi.NodeUnpublishVolumeRequest{VolumeId: id, TargetPath: target}); err != nil {
			t.Error(err)
		}
		if _, err := n.NodeUnstageVolume(ctx, &csi.NodeUnstageVolumeRequest{VolumeId: id, StagingTargetPath: staging}); err != nil {
			t.Error(err)
		}
	})
}

func deviceSize(t *testing.T, path string) int64 {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	size, err := file.Seek(0, 2)
	if err != nil {
		t.Fatal(err)
	}
	return size
}
