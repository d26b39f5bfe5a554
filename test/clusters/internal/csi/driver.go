package csi

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
	pluginregistration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

const (
	// Name is the driver's, in CSIDriver, StorageClass and CSINode.
	Name = "csi.clusters.invalid"
	// TopologyKey labels the nodes; its value is the node's name.
	TopologyKey = Name + "/node"
	// AccessKey is the parameter of a StorageClass that says where its volumes can
	// be used: AccessNode (the default) or AccessAnywhere.
	AccessKey = "access"
	// AccessNode is the node for which the volume was made.
	AccessNode = "node"
	// AccessAnywhere is every node.
	AccessAnywhere = "anywhere"
)

// version is reported by the driver. Nobody depends on it.
const version = "1"

// Options describe one process of the driver. It serves a node, the controller, or
// both.
type Options struct {
	// Volumes is the folder of the volumes, the same for all processes.
	Volumes string
	// Socket is where the driver listens.
	Socket string
	// Node is the name of the node that the process serves; empty for none.
	Node string
	// Registration is the socket at which the kubelet of Node asks for the driver;
	// empty for none.
	Registration string
	// Nodes are all nodes, for the controller; empty if the process is none.
	Nodes []string
	Log   *slog.Logger
}

// Run serves the driver until ctx ends.
func Run(ctx context.Context, o Options) error {
	// One request at a time is enough for a test, and then no two of them meet.
	var one sync.Mutex
	server := grpc.NewServer(grpc.UnaryInterceptor(func(
		ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler,
	) (any, error) {
		one.Lock()
		defer one.Unlock()
		resp, err := handler(ctx, req)
		if err != nil {
			o.Log.Warn("request failed", "method", info.FullMethod, "error", err)
			return nil, withCode(err)
		}
		o.Log.Info("request", "method", info.FullMethod)
		return resp, nil
	}))
	volumes := store{dir: o.Volumes}
	csi.RegisterIdentityServer(server, identity{controller: len(o.Nodes) > 0})
	if len(o.Nodes) > 0 {
		if err := volumes.prepare(); err != nil {
			return err
		}
		csi.RegisterControllerServer(server, controller{volumes: volumes, nodes: o.Nodes})
	}
	if o.Node != "" {
		csi.RegisterNodeServer(server, node{volumes: volumes, name: o.Node})
	}
	if o.Registration == "" {
		return serve(ctx, server, o.Socket)
	}
	registrar := grpc.NewServer()
	pluginregistration.RegisterRegistrationServer(registrar, registration{socket: o.Socket, log: o.Log})
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		defer cancel()
		ended <- serve(ctx, server, o.Socket)
	}()
	err := serve(ctx, registrar, o.Registration)
	cancel()
	return errors.Join(err, <-ended)
}

// withCode gives an error of the machine the code of one that a retry may fix.
func withCode(err error) error {
	if _, ok := status.FromError(err); ok {
		return err
	}
	return status.Error(codes.Internal, err.Error())
}

// serve listens at the socket until ctx ends. It replaces the socket of a process
// that was killed.
func serve(ctx context.Context, server *grpc.Server, socket string) error {
	if err := os.MkdirAll(filepath.Dir(socket), 0o750); err != nil {
		return fmt.Errorf("make folder of socket: %w", err)
	}
	if err := os.Remove(socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove old socket: %w", err)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", socket)
	if err != nil {
		return fmt.Errorf("listen at %s: %w", socket, err)
	}
	stop := context.AfterFunc(ctx, server.Stop)
	defer stop()
	if err := server.Serve(listener); err != nil {
		return fmt.Errorf("serve %s: %w", socket, err)
	}
	return nil
}

// identity says what the driver is.
type identity struct {
	csi.UnimplementedIdentityServer
	controller bool
}

func (identity) GetPluginInfo(context.Context, *csi.GetPluginInfoRequest) (*csi.GetPluginInfoResponse, error) {
	return &csi.GetPluginInfoResponse{Name: Name, VendorVersion: version}, nil
}

func (i identity) GetPluginCapabilities(
	context.Context, *csi.GetPluginCapabilitiesRequest,
) (*csi.GetPluginCapabilitiesResponse, error) {
	services := []csi.PluginCapability_Service_Type{csi.PluginCapability_Service_VOLUME_ACCESSIBILITY_CONSTRAINTS}
	if i.controller {
		services = append(services, csi.PluginCapability_Service_CONTROLLER_SERVICE)
	}
	resp := &csi.GetPluginCapabilitiesResponse{Capabilities: []*csi.PluginCapability{{
		Type: &csi.PluginCapability_VolumeExpansion_{
			VolumeExpansion: &csi.PluginCapability_VolumeExpansion{Type: csi.PluginCapability_VolumeExpansion_ONLINE},
		},
	}}}
	for _, service := range services {
		resp.Capabilities = append(resp.Capabilities, &csi.PluginCapability{
			Type: &csi.PluginCapability_Service_{Service: &csi.PluginCapability_Service{Type: service}},
		})
	}
	return resp, nil
}

func (identity) Probe(context.Context, *csi.ProbeRequest) (*csi.ProbeResponse, error) {
	return &csi.ProbeResponse{Ready: wrapperspb.Bool(true)}, nil
}

// registration answers the kubelet that has found the registration socket, in
// place of the CSI project's node-driver-registrar.
// https://kubernetes.io/docs/reference/node/ (device and CSI plugins)
type registration struct {
	pluginregistration.UnimplementedRegistrationServer
	socket string
	log    *slog.Logger
}

func (r registration) GetInfo(context.Context, *pluginregistration.InfoRequest) (*pluginregistration.PluginInfo, error) {
	return &pluginregistration.PluginInfo{
		Type:              pluginregistration.CSIPlugin,
		Name:              Name,
		Endpoint:          r.socket,
		SupportedVersions: []string{"1.0.0"},
	}, nil
}

func (r registration) NotifyRegistrationStatus(
	_ context.Context, result *pluginregistration.RegistrationStatus,
) (*pluginregistration.RegistrationStatusResponse, error) {
	r.log.Info("the kubelet has registered the driver", "registered", result.GetPluginRegistered(), "error", result.GetError())
	return &pluginregistration.RegistrationStatusResponse{}, nil
}
