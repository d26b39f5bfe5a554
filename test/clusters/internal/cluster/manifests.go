package cluster

import (
	"bytes"
	_ "embed"
	"fmt"
	"text/template"
)

//go:embed manifests.yaml
var manifests string

//go:embed audit-policy.yaml
var auditPolicy []byte

// Manifests returns, as YAML documents, the objects that make the cluster
// usable: rights for the API server at kubelets, DNS where a node can run it, and
// the classes of the storage driver where there is one.
func (c Cluster) Manifests() ([]byte, error) {
	text := manifests
	if c.LocalPath {
		text += localPathManifests
	}
	parsed, err := template.New("manifests").Parse(text)
	if err != nil {
		return nil, fmt.Errorf("parse manifests: %w", err)
	}
	var out bytes.Buffer
	err = parsed.Execute(&out, map[string]any{
		"KubeletClient": kubeletClientUser,
		"DNS":           len(c.Nodes) > 0 && !c.Simulated,
		"DNSAddress":    c.DNS().String(),
		"DNSImage":      c.Images.CoreDNS,
		"Infra":         InfraTaint,
		"OnInfra":       c.Name == "local",
		"LocalPathDir":  localPathDir,
		"HelperImage":   c.Images.Busybox,
	})
	if err != nil {
		return nil, fmt.Errorf("render manifests: %w", err)
	}
	storage, err := c.csiManifests()
	return append(out.Bytes(), storage...), err
}
