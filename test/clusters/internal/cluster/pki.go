package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/actual-kubelets/actual-kubelets/test/clusters/internal/certs"
)

// issue is one certificate of the cluster: its file, signed by whom, for whom.
type issue struct {
	file, authority string
	leaf            certs.Leaf
}

func (c Cluster) issues() []issue {
	server := append([]string{
		c.Net.Address.String(), loopback, nth(c.Net.Services, 1).String(), "localhost",
		"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
	}, c.Net.Extra...)
	list := []issue{
		{"apiserver", "ca", certs.Leaf{User: "kube-apiserver", Hosts: server}},
		{"apiserver-kubelet-client", "ca", certs.Leaf{User: kubeletClientUser}},
		{"admin", "ca", certs.Leaf{User: "kubernetes-admin", Groups: []string{"system:masters"}}},
		{"controller-manager", "ca", certs.Leaf{User: "system:kube-controller-manager"}},
		{"scheduler", "ca", certs.Leaf{User: "system:kube-scheduler"}},
		{"kube-proxy", "ca", certs.Leaf{User: "system:kube-proxy"}},
		{"front-proxy-client", "front-proxy-ca", certs.Leaf{User: "front-proxy-client"}},
		{"etcd", "etcd-ca", certs.Leaf{User: "etcd", Hosts: []string{loopback}}},
		{"etcd-client", "etcd-ca", certs.Leaf{User: "kube-apiserver"}},
	}
	if c.LocalPath {
		list = append(list, issue{LocalPathProgram, "ca", certs.Leaf{User: LocalPathProgram}})
	}
	for _, node := range c.Nodes {
		list = append(list,
			issue{node.Name, "ca", certs.Leaf{User: "system:node:" + node.Name, Groups: []string{"system:nodes"}}},
			issue{node.Name + "-server", "ca", certs.Leaf{
				User:   "system:node:" + node.Name,
				Groups: []string{"system:nodes"},
				Hosts:  []string{node.Name, node.Address.String()},
			}})
	}
	return list
}

// WritePKI makes the cluster's keys and certificates in its pki folder. It is
// all or nothing, and does nothing when they are there already.
func (c Cluster) WritePKI(now func() time.Time) error {
	if _, err := os.Stat(c.pki("")); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	temp, err := os.MkdirTemp(c.Dir, "pki-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	authorities := map[string]certs.Authority{}
	for _, name := range []string{"ca", "front-proxy-ca", "etcd-ca"} {
		authority, err := certs.NewAuthority(c.Name+"-"+name, now)
		if err != nil {
			return err
		}
		if err := authority.Write(temp, name); err != nil {
			return err
		}
		authorities[name] = authority
	}
	for _, issue := range c.issues() {
		pair, err := authorities[issue.authority].Issue(issue.leaf)
		if err != nil {
			return err
		}
		if err := pair.Write(temp, issue.file); err != nil {
			return err
		}
	}
	tokens, err := certs.NewSigningKey()
	if err != nil {
		return err
	}
	if err := tokens.Write(temp, "sa"); err != nil {
		return err
	}
	return os.Rename(temp, c.pki(""))
}

// Admin returns the administrator's access to the cluster at server, a host and
// port that the API server's certificate covers.
func (c Cluster) Admin(server string) (certs.Access, error) {
	return c.access("admin", server)
}

func (c Cluster) access(user, server string) (certs.Access, error) {
	authority, err := os.ReadFile(c.pki("ca.crt"))
	if err != nil {
		return certs.Access{}, err
	}
	pair, err := certs.Read(c.pki(""), user)
	if err != nil {
		return certs.Access{}, fmt.Errorf("read certificate of %s: %w", user, err)
	}
	return certs.Access{Context: c.Name, Server: "https://" + server, CA: authority, Client: pair}, nil
}

// writeKubeconfigs makes the kubeconfigs of the cluster's own components.
func (c Cluster) writeKubeconfigs() error {
	server := net.JoinHostPort(c.Net.Address.String(), port(c.Net.Ports.API))
	files := map[string]string{
		"admin":              c.file("admin.kubeconfig"),
		"controller-manager": c.file("controller-manager.kubeconfig"),
		"scheduler":          c.file("scheduler.kubeconfig"),
		"kube-proxy":         c.file("kube-proxy.kubeconfig"),
	}
	if c.LocalPath {
		files[LocalPathProgram] = c.file(LocalPathProgram + ".kubeconfig")
	}
	for _, node := range c.Nodes {
		files[node.Name] = filepath.Join(node.Dir, "kubelet.kubeconfig")
	}
	for user, path := range files {
		access, err := c.access(user, server)
		if err != nil {
			return err
		}
		if err := certs.WriteKubeconfig(path, access); err != nil {
			return err
		}
	}
	return nil
}
