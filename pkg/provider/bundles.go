package provider

import (
	certificatesv1 "k8s.io/api/certificates/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

// bundles are the local cluster's ClusterTrustBundles. They are watched from
// when the first pod mounts one.
type bundles struct {
	*lazy[*certificatesv1.ClusterTrustBundle]
}

// newBundles calls changed when any of them has changed, and once when they
// have been read, or are known to be none that akd may read.
func newBundles(local *localCluster, changed func()) *bundles {
	return &bundles{newLazy(local.trustBundles, handlers[*certificatesv1.ClusterTrustBundle]{
		Changed: func(change[*certificatesv1.ClusterTrustBundle]) { changed() },
		Ready:   changed,
	})}
}

// files returns the contents of those bundles' files; false means that they are
// not known yet.
func (b *bundles) files(wanted []translate.Bundle) (map[string]string, bool, error) {
	if len(wanted) == 0 {
		return nil, true, nil
	}
	if !b.hasSynced() && b.refusal() == nil {
		return nil, false, nil
	}
	files, err := translate.TrustAnchors(wanted, b.all())
	return files, true, err
}
