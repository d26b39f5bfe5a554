package images

import (
	"fmt"
	"os"
	"regexp"
	"slices"

	"github.com/actual-kubelets/actual-kubelets/test/clusters/internal/build"
)

// Names under which every node has these images, whatever its version. None is
// tagged latest, which a kubelet pulls even if it has it; busybox and agnhost
// have that tag too, for imagePullPolicy: IfNotPresent.
const (
	PauseName   = "registry.k8s.io/pause:3.10.2"
	CoreDNSName = "registry.k8s.io/coredns/coredns:" + build.CoreDNSVersion
	BusyboxName = "docker.io/library/busybox:1.36"
	AgnhostName = "docker.io/library/agnhost:stable"
	// KubectlName is a client for pods that talk to an API server.
	KubectlName = "docker.io/library/kubectl:stable"
)

// registry returns the registry that Kubernetes' test/utils/image/manifest.go
// gives that name.
func registry(name string) string {
	if name == "GcRegistry" {
		return "registry.k8s.io"
	}
	return "registry.k8s.io/e2e-test-images"
}

var imageLine = regexp.MustCompile(
	`configs\[(\w+)\] = Config\{list\.(GcRegistry|PromoterE2eRegistry), "([^"]+)", "([^"]+)"\}`)

// testNames are the names that the end-to-end tests of one Kubernetes version
// give their images, by the identifiers in its test/utils/image/manifest.go.
type testNames map[string]string

func readTestNames(file string) (testNames, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the names of Kubernetes' test images: %w", err)
	}
	names := testNames{}
	for _, match := range imageLine.FindAllStringSubmatch(string(content), -1) {
		names[match[1]] = registry(match[2]) + "/" + match[3] + ":" + match[4]
	}
	for _, id := range []string{"Agnhost", "BusyBox", "Kitten", "Nautilus", "Nginx", "NonRoot", "Nonewprivs", "Pause"} {
		if names[id] == "" {
			return nil, fmt.Errorf("find the name of Kubernetes' test image %s in %s", id, file)
		}
	}
	return names, nil
}

// with returns our names and those of ids, each once.
func (n testNames) with(ids []string, ours ...string) []string {
	for _, id := range ids {
		if n[id] != "" {
			ours = append(ours, n[id])
		}
	}
	slices.Sort(ours)
	return slices.Compact(ours)
}
