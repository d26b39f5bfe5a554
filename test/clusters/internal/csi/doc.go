// Package csi is a storage driver for the clusters: volumes are folders, or files
// behind loop devices, in the run folder of one machine.
//
// It owns the folder of the volumes, the loop devices of the files in it, and the
// mounts that kubelets ask for. It knows no API server: the sidecars of the
// Kubernetes CSI project call its controller, and kubelets call its nodes, as with
// any other driver. https://github.com/container-storage-interface/spec
//
//	csi-provisioner ─┐
//	csi-attacher ────┼─► controller ──► DIR/ID/volume.json, data/ or disk
//	csi-resizer ─────┘                       ▲ bind mounts, loop devices
//	kubelet ─────────────► a node of each ───┘
//
// A volume stays on the node that it is made for, unless its class says that it is
// reachable from anywhere. It is never attached to two nodes at once if its access
// mode does not allow it. The size of a folder is written down, but nothing holds
// its content to it; a file has that size.
package csi
