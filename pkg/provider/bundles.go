package provider

import (
	"context"
	"sync"

	certificatesv1 "k8s.io/api/certificates/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

// bundles are the local cluster's ClusterTrustBundles. They are watched from
// when the first pod mounts one: most clusters have none, and older ones do not
// even know them.
type bundles struct {
	source  func() source
	objects *objects[*certificatesv1.ClusterTrustBundle]

	run     context.Context // what the watch lives in
	watches sync.WaitGroup
	once    sync.Once
}

// newBundles calls changed when any of them has changed, and once when they
// have been read, or are known to be none that akd may read.
func newBundles(source func() source, changed func()) *bundles {
	return &bundles{source: source, objects: newObjects(func(change[*certificatesv1.ClusterTrustBundle]) { changed() }, changed)}
}

// start sets what the watch lives in; use may be called from then on.
func (b *bundles) start(ctx context.Context) { b.run = ctx }

// use starts the watch.
func (b *bundles) use() {
	b.once.Do(func() { b.watches.Go(func() { b.objects.run(b.run, b.source()) }) })
}

// wait returns when the watch has ended.
func (b *bundles) wait() { b.watches.Wait() }

// files returns the contents of those bundles' files; false means that they are
// not known yet.
func (b *bundles) files(wanted []translate.Bundle) (map[string]string, bool, error) {
	if len(wanted) == 0 {
		return nil, true, nil
	}
	if !b.objects.hasSynced() && b.objects.refusal() == nil {
		return nil, false, nil
	}
	files, err := translate.TrustAnchors(wanted, b.objects.all())
	return files, true, err
}

// trustBundles selects all of them, as a kubelet does.
func (c *localCluster) trustBundles() source {
	return selection("local clustertrustbundles", c.client, c.client.CertificatesV1().ClusterTrustBundles(), everything)
}
