package cluster

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The provisioner runs as a user of its own, with what its own manifests grant.
func TestLocalPath(t *testing.T) {
	c := sample(t, "remote", 1)
	c.LocalPath = true
	data, err := c.Manifests()
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"ClusterRoleBinding", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "ConfigMap", "Deployment", "Service",
		"StorageClass", "Namespace", "ConfigMap", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding",
	}
	if diff := cmp.Diff(want, kinds(t, data)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for _, text := range []string{localPathDir, c.Images.Busybox} {
		if !strings.Contains(string(data), text) {
			t.Errorf("the manifests do not name %s", text)
		}
	}
	if err := errors.Join(c.WritePKI(time.Now), c.WriteFiles()); err != nil {
		t.Fatal(err)
	}
	kubeconfig, _ := strings.CutPrefix(c.LocalPathProvisioner().Args[1], "--kubeconfig=")
	if _, err := os.Stat(kubeconfig); err != nil {
		t.Error(err)
	}
}
