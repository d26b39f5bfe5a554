package cluster

import (
	_ "embed"

	"github.com/actual-kubelets/actual-kubelets/test/clusters/internal/process"
)

const (
	// LocalPathProgram is rancher/local-path-provisioner: a volume is a folder of the
	// node on which its first pod runs.
	// https://github.com/rancher/local-path-provisioner
	LocalPathProgram = "local-path-provisioner"

	// localPathDir has the volumes, inside the node's mount namespace.
	localPathDir = "/var/lib/local-path"
	// localPathWorkers is how many volumes are made or removed at once, each by a
	// helper pod that takes a second or two.
	localPathWorkers = 8
)

//go:embed localpath.yaml
var localPathManifests string

// LocalPathProvisioner returns the provisioner of the cluster's StorageClass. It reads
// its configuration from Manifests when it starts.
func (c Cluster) LocalPathProvisioner() process.Spec {
	return c.spec(LocalPathProgram, "start",
		flag("kubeconfig", c.file(LocalPathProgram+".kubeconfig")),
		flag("helper-image", c.Images.Busybox),
		flag("service-account-name", "default"),
		flag("worker-threads", localPathWorkers),
		// Tests take nodes and API servers away for as long as they like: never give up.
		flag("provisioning-retry-count", 0),
		flag("deletion-retry-count", 0),
	)
}
