package csi

import (
	"context"
	"slices"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	// unit is what sizes are multiples of; a loop device wants 512.
	unit = 1 << 20
	// most is the size of the largest volume: a claim of more shows how a cluster
	// tells of an error.
	most = 1 << 40
)

// controller makes and deletes volumes and says who may use them.
type controller struct {
	csi.UnimplementedControllerServer
	volumes store
	nodes   []string
}

func (controller) ControllerGetCapabilities(
	context.Context, *csi.ControllerGetCapabilitiesRequest,
) (*csi.ControllerGetCapabilitiesResponse, error) {
	resp := &csi.ControllerGetCapabilitiesResponse{}
	for _, kind := range []csi.ControllerServiceCapability_RPC_Type{
		csi.ControllerServiceCapability_RPC_CREATE_DELETE_VOLUME,
		csi.ControllerServiceCapability_RPC_PUBLISH_UNPUBLISH_VOLUME,
		csi.ControllerServiceCapability_RPC_CLONE_VOLUME,
		csi.ControllerServiceCapability_RPC_EXPAND_VOLUME,
		csi.ControllerServiceCapability_RPC_SINGLE_NODE_MULTI_WRITER,
	} {
		resp.Capabilities = append(resp.Capabilities, &csi.ControllerServiceCapability{
			Type: &csi.ControllerServiceCapability_Rpc{Rpc: &csi.ControllerServiceCapability_RPC{Type: kind}},
		})
	}
	return resp, nil
}

// CreateVolume makes a volume whose ID is the name, which Kubernetes never uses
// twice: pvc-<UID of the claim>.
func (c controller) CreateVolume(_ context.Context, req *csi.CreateVolumeRequest) (*csi.CreateVolumeResponse, error) {
	wanted, err := c.wanted(req)
	if err != nil {
		return nil, err
	}
	v, err := c.volumes.get(wanted.ID)
	if status.Code(err) == codes.NotFound {
		if err := c.checkSource(wanted); err != nil {
			return nil, err
		}
		v, err = wanted, c.volumes.create(wanted)
	}
	if err != nil {
		return nil, err
	}
	limit := req.GetCapacityRange().GetLimitBytes()
	if v.Block != wanted.Block || v.Source != wanted.Source || v.Size < wanted.Size || limit > 0 && v.Size > limit {
		return nil, status.Errorf(codes.AlreadyExists, "volume %s exists, but is another one", v.ID)
	}
	resp := &csi.CreateVolumeResponse{Volume: &csi.Volume{
		VolumeId:      v.ID,
		CapacityBytes: v.Size,
		ContentSource: req.GetVolumeContentSource(),
	}}
	if v.Node != "" {
		resp.Volume.AccessibleTopology = []*csi.Topology{{Segments: map[string]string{TopologyKey: v.Node}}}
	}
	return resp, nil
}

// wanted is the volume that a request describes.
func (c controller) wanted(req *csi.CreateVolumeRequest) (volume, error) {
	v := volume{ID: req.GetName(), Source: req.GetVolumeContentSource().GetVolume().GetVolumeId()}
	if !usable(v.ID) {
		return v, status.Errorf(codes.InvalidArgument, "%q cannot be a volume's name", v.ID)
	}
	var err error
	if v.Block, err = checkCapabilities(req.GetVolumeCapabilities()); err != nil {
		return v, err
	}
	if req.GetVolumeContentSource().GetSnapshot() != nil {
		return v, status.Error(codes.InvalidArgument, "there are no snapshots")
	}
	if v.Size, err = size(req.GetCapacityRange()); err != nil {
		return v, err
	}
	anywhere := false
	for key, value := range req.GetParameters() {
		switch {
		case key != AccessKey || value != AccessAnywhere && value != AccessNode:
			return v, status.Errorf(codes.InvalidArgument, "unknown parameter %s=%q: give %s=%s or %s=%s",
				key, value, AccessKey, AccessNode, AccessKey, AccessAnywhere)
		case value == AccessAnywhere:
			anywhere = true
		}
	}
	if !anywhere {
		v.Node, err = c.place(req.GetAccessibilityRequirements())
	}
	return v, err
}

// place chooses the node that the scheduler has chosen, which is the first one
// preferred; without requirements any node can use the volume.
func (c controller) place(required *csi.TopologyRequirement) (string, error) {
	if required == nil {
		return "", nil
	}
	for _, topology := range slices.Concat(required.GetPreferred(), required.GetRequisite()) {
		if node := topology.GetSegments()[TopologyKey]; slices.Contains(c.nodes, node) {
			return node, nil
		}
	}
	return "", status.Errorf(codes.ResourceExhausted, "none of the nodes %v is among those that are required", c.nodes)
}

// size is the smallest possible one in the range.
func size(wanted *csi.CapacityRange) (int64, error) {
	required := max(wanted.GetRequiredBytes(), 1)
	if required > most {
		return 0, status.Errorf(codes.OutOfRange, "%d bytes are wanted, and a volume has at most %d", required, int64(most))
	}
	rounded := (required + unit - 1) / unit * unit
	if limit := wanted.GetLimitBytes(); limit > 0 && rounded > limit {
		return 0, status.Errorf(codes.OutOfRange, "no multiple of %d bytes is at least %d and at most %d", unit, required, limit)
	}
	return rounded, nil
}

// checkSource checks that a volume can be copied. Without a source it can.
func (c controller) checkSource(v volume) error {
	if v.Source == "" {
		return nil
	}
	source, err := c.volumes.get(v.Source)
	if err != nil {
		return err
	}
	if source.Block != v.Block {
		return status.Errorf(codes.InvalidArgument, "volume %s is of the other mode", v.Source)
	}
	if source.Size > v.Size {
		return status.Errorf(codes.OutOfRange, "volume %s has %d bytes, more than the %d of its copy", v.Source, source.Size, v.Size)
	}
	return nil
}

// checkCapabilities checks what a volume is wanted for, and reports whether it is a
// block volume.
func checkCapabilities(capabilities []*csi.VolumeCapability) (block bool, err error) {
	if len(capabilities) == 0 {
		return false, status.Error(codes.InvalidArgument, "no capability is given")
	}
	for i, capability := range capabilities {
		isBlock := capability.GetBlock() != nil
		if i > 0 && isBlock != block || !isBlock && capability.GetMount() == nil {
			return false, status.Error(codes.InvalidArgument, "a volume is either mounted or a block device")
		}
		block = isBlock
		if capability.GetAccessMode().GetMode() == csi.VolumeCapability_AccessMode_UNKNOWN {
			return false, status.Error(codes.InvalidArgument, "no access mode is given")
		}
		if mount := capability.GetMount(); mount.GetFsType() != "" || len(mount.GetMountFlags()) > 0 {
			return false, status.Error(codes.InvalidArgument, "a folder has no file system of its own, and no mount options")
		}
	}
	return block, nil
}

// DeleteVolume deletes a volume that no node may use.
func (c controller) DeleteVolume(_ context.Context, req *csi.DeleteVolumeRequest) (*csi.DeleteVolumeResponse, error) {
	if req.GetVolumeId() == "" {
		return nil, status.Error(codes.InvalidArgument, "no volume is given")
	}
	v, err := c.volumes.get(req.GetVolumeId())
	if status.Code(err) == codes.NotFound {
		return &csi.DeleteVolumeResponse{}, nil
	}
	if err != nil {
		return nil, err
	}
	if len(v.Attached) > 0 {
		return nil, status.Errorf(codes.FailedPrecondition, "volume %s is attached to %v", v.ID, v.Attached)
	}
	return &csi.DeleteVolumeResponse{}, c.volumes.remove(v)
}

// ControllerPublishVolume lets a node use a volume.
func (c controller) ControllerPublishVolume(
	_ context.Context, req *csi.ControllerPublishVolumeRequest,
) (*csi.ControllerPublishVolumeResponse, error) {
	node := req.GetNodeId()
	if req.GetVolumeId() == "" || node == "" {
		return nil, status.Error(codes.InvalidArgument, "no volume or no node is given")
	}
	if _, err := checkCapabilities([]*csi.VolumeCapability{req.GetVolumeCapability()}); err != nil {
		return nil, err
	}
	v, err := c.volumes.get(req.GetVolumeId())
	if err != nil {
		return nil, err
	}
	if !slices.Contains(c.nodes, node) {
		return nil, status.Errorf(codes.NotFound, "there is no node %q", node)
	}
	if v.Node != "" && v.Node != node {
		return nil, status.Errorf(codes.FailedPrecondition, "volume %s is on node %s", v.ID, v.Node)
	}
	if !severalNodes(req.GetVolumeCapability()) && v.attachedElsewhere(node) {
		return nil, status.Errorf(codes.FailedPrecondition, "volume %s is attached to %v", v.ID, v.Attached)
	}
	if !slices.Contains(v.Attached, node) {
		v.Attached = append(v.Attached, node)
		if err := c.volumes.update(v); err != nil {
			return nil, err
		}
	}
	return &csi.ControllerPublishVolumeResponse{}, nil
}

// severalNodes reports whether the access mode is one of several nodes.
func severalNodes(capability *csi.VolumeCapability) bool {
	switch capability.GetAccessMode().GetMode() {
	case csi.VolumeCapability_AccessMode_MULTI_NODE_READER_ONLY,
		csi.VolumeCapability_AccessMode_MULTI_NODE_SINGLE_WRITER,
		csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER:
		return true
	default:
		return false
	}
}

// ControllerUnpublishVolume forbids a node, or all if none is given, to use a
// volume.
func (c controller) ControllerUnpublishVolume(
	_ context.Context, req *csi.ControllerUnpublishVolumeRequest,
) (*csi.ControllerUnpublishVolumeResponse, error) {
	if req.GetVolumeId() == "" {
		return nil, status.Error(codes.InvalidArgument, "no volume is given")
	}
	v, err := c.volumes.get(req.GetVolumeId())
	if status.Code(err) == codes.NotFound {
		return &csi.ControllerUnpublishVolumeResponse{}, nil
	}
	if err != nil {
		return nil, err
	}
	v.Attached = slices.DeleteFunc(v.Attached, func(node string) bool { return req.GetNodeId() == "" || node == req.GetNodeId() })
	return &csi.ControllerUnpublishVolumeResponse{}, c.volumes.update(v)
}

// ValidateVolumeCapabilities confirms what a volume can be used for.
func (c controller) ValidateVolumeCapabilities(
	_ context.Context, req *csi.ValidateVolumeCapabilitiesRequest,
) (*csi.ValidateVolumeCapabilitiesResponse, error) {
	if req.GetVolumeId() == "" {
		return nil, status.Error(codes.InvalidArgument, "no volume is given")
	}
	block, err := checkCapabilities(req.GetVolumeCapabilities())
	if err != nil {
		return nil, err
	}
	v, err := c.volumes.get(req.GetVolumeId())
	if err != nil {
		return nil, err
	}
	if v.Block != block {
		return &csi.ValidateVolumeCapabilitiesResponse{Message: "the volume is of the other mode"}, nil
	}
	return &csi.ValidateVolumeCapabilitiesResponse{Confirmed: &csi.ValidateVolumeCapabilitiesResponse_Confirmed{
		VolumeContext:      req.GetVolumeContext(),
		VolumeCapabilities: req.GetVolumeCapabilities(),
		Parameters:         req.GetParameters(),
	}}, nil
}

// ControllerExpandVolume makes a volume larger. Its node shows the new size when
// the kubelet asks for it.
func (c controller) ControllerExpandVolume(
	_ context.Context, req *csi.ControllerExpandVolumeRequest,
) (*csi.ControllerExpandVolumeResponse, error) {
	if req.GetVolumeId() == "" || req.GetCapacityRange() == nil {
		return nil, status.Error(codes.InvalidArgument, "no volume or no size is given")
	}
	wanted, err := size(req.GetCapacityRange())
	if err != nil {
		return nil, err
	}
	v, err := c.volumes.get(req.GetVolumeId())
	if err != nil {
		return nil, err
	}
	if v.Size < wanted {
		v.Size = wanted
		if v.Block {
			if err := grow(c.volumes.data(v), v.Size); err != nil {
				return nil, err
			}
		}
		if err := c.volumes.update(v); err != nil {
			return nil, err
		}
	}
	return &csi.ControllerExpandVolumeResponse{CapacityBytes: v.Size, NodeExpansionRequired: true}, nil
}
