package scenario

import (
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// controllers are what acts on the claims and volumes of a cluster besides akd: each does
// at most one thing to an object at a time, a moment after something has changed.
type controllers struct {
	acts []func()

	mu     sync.Mutex
	due    bool
	halted bool
}

// controllerLag is how long controllers take to notice a change.
const controllerLag = 50 * time.Millisecond

// notice sees a change of an object, or that anything may have changed.
func (c *controllers) notice(object runtime.Object) {
	switch object := object.(type) {
	case nil, *corev1.PersistentVolumeClaim, *corev1.PersistentVolume, *storagev1.StorageClass:
	case *corev1.Pod:
		if len(claimsOf(object)) == 0 {
			return
		}
	default:
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.due && !c.halted {
		c.due = true
		time.AfterFunc(controllerLag, c.act)
	}
}

func (c *controllers) act() {
	c.mu.Lock()
	halted := c.halted
	c.due = false
	c.mu.Unlock()
	if halted {
		return
	}
	for _, act := range c.acts {
		act()
	}
}

func (c *controllers) isHalted() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.halted
}

// halt stops all controllers, as the end of their process does, or lets them go on.
func (c *controllers) halt(halted bool) {
	c.mu.Lock()
	c.halted = halted
	c.mu.Unlock()
	if !halted {
		c.notice(nil)
	}
}
