package storage

import (
	"context"
	"sync"
	"time"

	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/utils/clock"

	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/cluster"
)

// classKept is how long akd relies on what it has read of a remote class, which it may not
// watch.
const classKept = time.Minute

// remoteClasses remembers how remote classes bind.
type remoteClasses struct {
	cluster *cluster.Remote
	clock   clock.PassiveClock

	mu    sync.Mutex
	known map[string]remoteClass // by name
}

type remoteClass struct {
	late bool
	read time.Time
}

func newRemoteClasses(remote *cluster.Remote, clock clock.PassiveClock) *remoteClasses {
	return &remoteClasses{cluster: remote, clock: clock, known: map[string]remoteClass{}}
}

// bindLate reports whether a claim of a class gets its storage with the first pod.
func (r *remoteClasses) bindLate(ctx context.Context, name string) (bool, error) {
	r.mu.Lock()
	known, ok := r.known[name]
	r.mu.Unlock()
	if ok && r.clock.Since(known.read) < classKept {
		return known.late, nil
	}
	class, err := r.cluster.GetStorageClass(ctx, name)
	if err != nil {
		return false, err
	}
	known = remoteClass{
		late: class.VolumeBindingMode != nil && *class.VolumeBindingMode == storagev1.VolumeBindingWaitForFirstConsumer,
		read: r.clock.Now(),
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known[name] = known
	return known.late, nil
}
