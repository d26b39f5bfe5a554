package translate

import (
	"encoding/pem"
	"fmt"
	"maps"
	"slices"
	"strings"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// Bundle is a file of trust anchors that a pod mounts: those of the
// ClusterTrustBundle with the given name, or of all bundles of a signer that the
// labels select.
type Bundle struct {
	Key      string // in the Secret of TokenSecretName
	Name     string
	Signer   string
	Labels   *metav1.LabelSelector `json:",omitempty"` // nil selects none
	Optional bool                  // if there is no such bundle, the file is empty
}

func bundle(key string, from *corev1.ClusterTrustBundleProjection) Bundle {
	b := Bundle{Key: key, Labels: from.LabelSelector, Optional: from.Optional != nil && *from.Optional}
	switch {
	case from.Name != nil:
		b.Name = *from.Name
	case from.SignerName != nil:
		b.Signer = *from.SignerName
	}
	return b
}

// HasBundles reports whether NeedsOf has Bundles.
func HasBundles(local *corev1.Pod) bool {
	for i := range local.Spec.Volumes {
		projected := local.Spec.Volumes[i].Projected
		if projected != nil && slices.ContainsFunc(projected.Sources, isBundle) {
			return true
		}
	}
	return false
}

func isBundle(source corev1.VolumeProjection) bool { return source.ClusterTrustBundle != nil }

// TrustAnchors returns the contents of the files of the wanted bundles by key, from
// all bundles of the local cluster. It leaves out the key of a required bundle that
// does not exist: the remote kubelet then waits for it, as a local kubelet does.
// Each certificate appears once. Programs must not rely on the order, which
// differs between kubelets; here it is stable, so that akd writes nothing if
// nothing changed.
// https://github.com/kubernetes/kubernetes/blob/v1.37.1/pkg/kubelet/clustertrustbundle/clustertrustbundle_manager.go
func TrustAnchors(wanted []Bundle, all []*certificatesv1.ClusterTrustBundle) (map[string]string, error) {
	files := map[string]string{}
	for i := range wanted {
		found, err := wanted[i].find(all)
		if err != nil {
			return nil, err
		}
		if len(found) > 0 || wanted[i].Optional {
			files[wanted[i].Key] = certificates(found)
		}
	}
	return files, nil
}

func (b *Bundle) find(all []*certificatesv1.ClusterTrustBundle) ([]*certificatesv1.ClusterTrustBundle, error) {
	selector, err := metav1.LabelSelectorAsSelector(b.Labels)
	if err != nil {
		return nil, fmt.Errorf("select trust bundles of signer %s: %w", b.Signer, err)
	}
	var found []*certificatesv1.ClusterTrustBundle
	for _, one := range all {
		named := b.Name != "" && one.Name == b.Name
		selected := b.Name == "" && one.Spec.SignerName == b.Signer && selector.Matches(labels.Set(one.Labels))
		if named || selected {
			found = append(found, one)
		}
	}
	return found, nil
}

func certificates(bundles []*certificatesv1.ClusterTrustBundle) string {
	seen := map[string]bool{}
	for _, one := range bundles {
		for block, rest := pem.Decode([]byte(one.Spec.TrustBundle)); block != nil; block, rest = pem.Decode(rest) {
			seen[string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: block.Bytes}))] = true
		}
	}
	return strings.Join(slices.Sorted(maps.Keys(seen)), "")
}
