package csi

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// node mounts volumes in the mount namespace of a kubelet, which it shares.
type node struct {
	csi.UnimplementedNodeServer
	volumes store
	name    string
}

func (n node) NodeGetInfo(context.Context, *csi.NodeGetInfoRequest) (*csi.NodeGetInfoResponse, error) {
	return &csi.NodeGetInfoResponse{
		NodeId:             n.name,
		AccessibleTopology: &csi.Topology{Segments: map[string]string{TopologyKey: n.name}},
	}, nil
}

func (node) NodeGetCapabilities(context.Context, *csi.NodeGetCapabilitiesRequest) (*csi.NodeGetCapabilitiesResponse, error) {
	resp := &csi.NodeGetCapabilitiesResponse{}
	for _, kind := range []csi.NodeServiceCapability_RPC_Type{
		csi.NodeServiceCapability_RPC_STAGE_UNSTAGE_VOLUME,
		csi.NodeServiceCapability_RPC_EXPAND_VOLUME,
		csi.NodeServiceCapability_RPC_SINGLE_NODE_MULTI_WRITER,
	} {
		resp.Capabilities = append(resp.Capabilities, &csi.NodeServiceCapability{
			Type: &csi.NodeServiceCapability_Rpc{Rpc: &csi.NodeServiceCapability_RPC{Type: kind}},
		})
	}
	return resp, nil
}

// NodeStageVolume mounts a folder at the staging path, or gives a file a loop
// device.
func (n node) NodeStageVolume(_ context.Context, req *csi.NodeStageVolumeRequest) (*csi.NodeStageVolumeResponse, error) {
	if req.GetVolumeId() == "" || req.GetStagingTargetPath() == "" {
		return nil, status.Error(codes.InvalidArgument, "no volume or no path is given")
	}
	v, err := n.find(req.GetVolumeId(), req.GetVolumeCapability())
	if err != nil {
		return nil, err
	}
	if v.Block {
		_, err := attach(n.volumes.data(v))
		return &csi.NodeStageVolumeResponse{}, err
	}
	if err := os.MkdirAll(req.GetStagingTargetPath(), 0o750); err != nil {
		return nil, err
	}
	return &csi.NodeStageVolumeResponse{}, bind(n.volumes.data(v), req.GetStagingTargetPath(), false)
}

// find returns the volume if it can be used here and in this way.
func (n node) find(id string, capability *csi.VolumeCapability) (volume, error) {
	block, err := checkCapabilities([]*csi.VolumeCapability{capability})
	if err != nil {
		return volume{}, err
	}
	v, err := n.volumes.get(id)
	switch {
	case err != nil:
		return v, err
	case v.Block != block:
		return v, status.Errorf(codes.InvalidArgument, "volume %s is of the other mode", id)
	case !slices.Contains(v.Attached, n.name):
		return v, status.Errorf(codes.FailedPrecondition, "volume %s is not attached to node %s", id, n.name)
	}
	return v, nil
}

// NodeUnstageVolume undoes NodeStageVolume. The volume's claim may be gone, and the
// volume with it.
func (n node) NodeUnstageVolume(_ context.Context, req *csi.NodeUnstageVolumeRequest) (*csi.NodeUnstageVolumeResponse, error) {
	if req.GetVolumeId() == "" || req.GetStagingTargetPath() == "" {
		return nil, status.Error(codes.InvalidArgument, "no volume or no path is given")
	}
	if err := unmount(req.GetStagingTargetPath()); err != nil {
		return nil, err
	}
	v, err := n.volumes.get(req.GetVolumeId())
	if status.Code(err) == codes.NotFound {
		return &csi.NodeUnstageVolumeResponse{}, nil
	}
	if err == nil && v.Block {
		err = detach(n.volumes.data(v))
	}
	return &csi.NodeUnstageVolumeResponse{}, err
}

// NodePublishVolume shows a volume to a pod: its folder, or its device.
func (n node) NodePublishVolume(_ context.Context, req *csi.NodePublishVolumeRequest) (*csi.NodePublishVolumeResponse, error) {
	target := req.GetTargetPath()
	if req.GetVolumeId() == "" || target == "" || req.GetStagingTargetPath() == "" {
		return nil, status.Error(codes.InvalidArgument, "no volume or no path is given")
	}
	v, err := n.find(req.GetVolumeId(), req.GetVolumeCapability())
	if err != nil {
		return nil, err
	}
	source := req.GetStagingTargetPath()
	if v.Block {
		if source, err = attach(n.volumes.data(v)); err != nil {
			return nil, err
		}
	}
	if req.GetVolumeCapability().GetAccessMode().GetMode() == csi.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER {
		if err := n.checkAlone(v, source, target); err != nil {
			return nil, err
		}
	}
	if err := makeTarget(target, v.Block); err != nil {
		return nil, err
	}
	return &csi.NodePublishVolumeResponse{}, bind(source, target, req.GetReadonly())
}

// checkAlone checks that no other pod uses the volume, for ReadWriteOncePod.
func (n node) checkAlone(v volume, source, target string) error {
	shown := filepath.Join(v.ID, filepath.Base(n.volumes.data(v)))
	if v.Block {
		shown = filepath.Base(source)
	}
	others, err := mountsOf(shown)
	if err != nil {
		return err
	}
	for _, other := range others {
		if other != target && other != source {
			return status.Errorf(codes.FailedPrecondition, "volume %s is in use at %s", v.ID, other)
		}
	}
	return nil
}

// makeTarget makes what a volume is mounted on: a folder, or a file for a device.
func makeTarget(target string, block bool) error {
	if !block {
		return os.MkdirAll(target, 0o750)
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o750); err != nil {
		return err
	}
	file, err := os.OpenFile(target, os.O_CREATE|os.O_RDONLY, 0o600)
	if err != nil {
		return err
	}
	return file.Close()
}

// NodeUnpublishVolume undoes NodePublishVolume.
func (node) NodeUnpublishVolume(_ context.Context, req *csi.NodeUnpublishVolumeRequest) (*csi.NodeUnpublishVolumeResponse, error) {
	if req.GetVolumeId() == "" || req.GetTargetPath() == "" {
		return nil, status.Error(codes.InvalidArgument, "no volume or no path is given")
	}
	if err := unmount(req.GetTargetPath()); err != nil {
		return nil, err
	}
	// Never RemoveAll: it would delete data if the path were still a mount.
	if err := os.Remove(req.GetTargetPath()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return &csi.NodeUnpublishVolumeResponse{}, nil
}

// NodeExpandVolume lets the node see the size that the controller has given.
func (n node) NodeExpandVolume(_ context.Context, req *csi.NodeExpandVolumeRequest) (*csi.NodeExpandVolumeResponse, error) {
	if req.GetVolumeId() == "" || req.GetVolumePath() == "" {
		return nil, status.Error(codes.InvalidArgument, "no volume or no path is given")
	}
	v, err := n.volumes.get(req.GetVolumeId())
	if err == nil && v.Block {
		err = resize(n.volumes.data(v))
	}
	if err != nil {
		return nil, err
	}
	return &csi.NodeExpandVolumeResponse{CapacityBytes: v.Size}, nil
}
