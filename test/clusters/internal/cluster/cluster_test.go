package cluster

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/actual-kubelets/actual-kubelets/test/clusters/internal/process"
)

func sample(t *testing.T, name string, nodes int) Cluster {
	t.Helper()
	c := Cluster{
		Name:        name,
		Version:     "1.37.1",
		Dir:         t.TempDir(),
		Tool:        func(program string) string { return "/programs/" + program },
		BinDir:      "/programs",
		RuntimeDirs: []string{"/programs"},
		Cgroup:      "ak-test",
		Images:      Images{Pause: "pause:1", CoreDNS: "coredns:1", Busybox: "busybox:1"},
		Net: Network{
			Address:  netip.MustParseAddr("172.18.2.1"),
			Ports:    StandardPorts(),
			Pods:     netip.MustParsePrefix("10.245.0.0/16"),
			Services: netip.MustParsePrefix("10.97.0.0/16"),
			Extra:    []string{"172.18.1.6"},
		},
	}
	for i := range nodes {
		node := Node{Name: name + "-1", Index: i + 1, Address: netip.MustParseAddr("172.18.2.11"), Enter: process.Enter{NetNS: "ns"}}
		node.Dir = filepath.Join(c.Dir, "nodes", node.Name)
		c.Nodes = append(c.Nodes, node)
	}
	return c
}

// Keys and kubeconfigs are for the owner only, and a second call keeps them:
// running components hold the first ones.
func TestFilesAreSecretAndStable(t *testing.T) {
	c := sample(t, "remote", 1)
	var first []byte
	for range 2 {
		if err := c.WritePKI(time.Now); err != nil {
			t.Fatal(err)
		}
		if err := c.WriteFiles(); err != nil {
			t.Fatal(err)
		}
		key, err := os.ReadFile(c.pki("ca.key"))
		if err != nil {
			t.Fatal(err)
		}
		if first != nil && !bytes.Equal(first, key) {
			t.Error("the second call made another authority")
		}
		first = key
	}
	err := filepath.WalkDir(c.Dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		secret := strings.HasSuffix(path, ".key") || strings.HasSuffix(path, ".kubeconfig")
		if err == nil && secret && info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, want 0600", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{
		c.file("admin.kubeconfig"), c.file("kube-proxy.yaml"),
		c.Nodes[0].file("kubelet.kubeconfig"), c.Nodes[0].file("kubelet.yaml"),
	} {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
}

// A second up must not end kube-proxy, which watches its configuration.
func TestFilesAreNotRewritten(t *testing.T) {
	c := sample(t, "remote", 1)
	path := c.file("kube-proxy.yaml")
	old := time.Unix(1000000, 0)
	if err := c.WritePKI(time.Now); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := c.WriteFiles(); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.ModTime().Before(old.Add(time.Second)) {
			return
		}
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	t.Error("the same content was written again")
}

func TestServerCertificateNames(t *testing.T) {
	c := sample(t, "remote", 0)
	if err := c.WritePKI(time.Now); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(c.pki("apiserver.crt"))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(data)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	hosts := map[string]string{
		"172.18.2.1":             "the network's address",
		"127.0.0.1":              "the machine's",
		"172.18.1.6":             "the link's",
		"10.97.0.1":              "the Service's",
		"kubernetes.default.svc": "the Service's name",
	}
	for host, reason := range hosts {
		if err := cert.VerifyHostname(host); err != nil {
			t.Errorf("%s: %v", reason, err)
		}
	}
}

func TestManifests(t *testing.T) {
	cases := map[string]struct {
		reason string
		name   string
		nodes  int
		want   []string
	}{
		"NoNodes": {
			reason: "without a node DNS would only stay Pending",
			name:   "local",
			want:   []string{"ClusterRoleBinding"},
		},
		"Nodes": {
			reason: "DNS needs rights, a configuration, pods and its address",
			name:   "remote", nodes: 1,
			want: []string{"ClusterRoleBinding", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "ConfigMap", "Deployment", "Service"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			data, err := sample(t, tc.name, tc.nodes).Manifests()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, kinds(t, data)); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// The storage driver of a node shares the mounts of its kubelet, and its classes are
// there only if it is.
func TestStorage(t *testing.T) {
	c := sample(t, "remote", 1)
	c.Driver = "/programs/clusters"
	data, err := c.Manifests()
	if err != nil {
		t.Fatal(err)
	}
	found := kinds(t, data)
	if diff := cmp.Diff([]string{"CSIDriver", "StorageClass", "StorageClass", "StorageClass"}, found[len(found)-4:]); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if diff := cmp.Diff(c.Kubelet(c.Nodes[0], 42).Enter, c.CSINode(c.Nodes[0], 42).Enter); diff != "" {
		t.Errorf("-kubelet +driver:\n%s", diff)
	}
	names := map[string]bool{}
	for _, spec := range append(c.CSIController(), c.CSINode(c.Nodes[0], 42)) {
		if spec.Path == "" || names[spec.Name] {
			t.Errorf("%s has the program %q, or a name that another one has", spec.Name, spec.Path)
		}
		names[spec.Name] = true
	}
}

func kinds(t *testing.T, data []byte) []string {
	t.Helper()
	var found []string
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(data), 4096)
	for {
		var object unstructured.Unstructured
		err := decoder.Decode(&object)
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, object.GetKind())
	}
}

// The local cluster's real nodes repel users' pods, and only those.
func TestOnlyLocalNodesAreTainted(t *testing.T) {
	for name, want := range map[string]bool{"local": true, "remote": false} {
		c := sample(t, name, 1)
		_, tainted := c.kubeletConfig(c.Nodes[0])["registerWithTaints"]
		if tainted != want {
			t.Errorf("%s: tainted %t, want %t", name, tainted, want)
		}
	}
}

// A kubelet enters the mount namespace that containerd made, and nothing else
// differs: they share pods' mounts, network and control group.
func TestNodeProgramsShareSurroundings(t *testing.T) {
	c := sample(t, "remote", 1)
	containerd, kubelet := c.Containerd(c.Nodes[0]).Enter, c.Kubelet(c.Nodes[0], 42).Enter
	if len(containerd.Private) == 0 || containerd.MountNS != "" {
		t.Errorf("containerd makes no mount namespace: %+v", containerd)
	}
	containerd.Private = nil
	containerd.MountNS = "/proc/42/ns/mnt"
	if diff := cmp.Diff(containerd, kubelet); diff != "" {
		t.Errorf("-containerd +kubelet:\n%s", diff)
	}
}

func TestAuditLogIsWrittenIfWanted(t *testing.T) {
	c := sample(t, "remote", 1)
	if args := strings.Join(c.APIServer().Args, " "); strings.Contains(args, "--audit-") {
		t.Errorf("nobody wants an audit log: %s", args)
	}
	c.AuditLog = "/logs/audit.log"
	args := strings.Join(c.APIServer().Args, " ")
	for _, want := range []string{"--audit-log-path=/logs/audit.log", "--audit-policy-file=" + c.file("audit-policy.yaml")} {
		if !strings.Contains(args, want) {
			t.Errorf("%s is not among the arguments: %s", want, args)
		}
	}
}

func TestSimulatedClusterHasNoEndpointOfItsOwn(t *testing.T) {
	c := sample(t, "remote", 0)
	c.Simulated = true
	args := strings.Join(c.APIServer().Args, " ")
	if !strings.Contains(args, "--endpoint-reconciler-type=none") {
		t.Errorf("an endpoint on loopback is invalid, but it is announced: %s", args)
	}
}
