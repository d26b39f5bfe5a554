package podsecret

import (
	certificatesv1 "k8s.io/api/certificates/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/cluster"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/store"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

// Bundles caches the local cluster's ClusterTrustBundles. It starts to watch
// them once the first pod mounts one.
type Bundles struct {
	*store.Lazy[*certificatesv1.ClusterTrustBundle]
}

// NewBundles calls changed whenever a bundle has changed, and once after the
// bundles have been read or akd has been forbidden to read them.
func NewBundles(local *cluster.Local, changed func()) *Bundles {
	return &Bundles{store.NewLazy(local.TrustBundles, store.Handlers[*certificatesv1.ClusterTrustBundle]{
		Changed: func(store.Change[*certificatesv1.ClusterTrustBundle]) { changed() },
		Ready:   changed,
	})}
}

// files returns the contents of the files of those bundles; false means that
// they have not been read yet.
func (b *Bundles) files(wanted []translate.Bundle) (map[string]string, bool, error) {
	if len(wanted) == 0 {
		return nil, true, nil
	}
	if !b.HasSynced() && b.Refusal() == nil {
		return nil, false, nil
	}
	files, err := translate.TrustAnchors(wanted, b.All())
	return files, true, err
}
