package podsync

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/utils/clock"
)

const (
	// The second pod of an owner fails two seconds after the first. The longest wait
	// decides how soon pods start again once the cause has gone.
	slowdownFirst   = 2 * time.Second
	slowdownLongest = 30 * time.Second

	// messageSlowed tells the owner of a pod that would fail why it does not fail yet.
	messageSlowed = "Other pods of the same owner have failed for this reason: akd tries again before it fails this pod, too."
)

// slowdown delays the failures of pods that have one owner and fail for the same
// reason before they start. A controller replaces a failed pod at once, and would
// create hundreds of them in a minute.
type slowdown struct {
	backoff *flowcontrol.Backoff
	clock   clock.PassiveClock
}

func newSlowdown(clock clock.PassiveClock) *slowdown {
	return &slowdown{backoff: flowcontrol.NewBackOff(slowdownFirst, slowdownLongest), clock: clock}
}

// wait returns how long the pod must wait before it fails, or 0.
func (s *slowdown) wait(pod *corev1.Pod, reason string) time.Duration {
	id, slowed := s.id(pod, reason)
	if !slowed || !s.backoff.IsInBackOffSinceUpdate(id, s.clock.Now()) {
		return 0
	}
	return s.backoff.Get(id)
}

// failed notes that the pod has failed.
func (s *slowdown) failed(pod *corev1.Pod, reason string) {
	if id, slowed := s.id(pod, reason); slowed {
		s.backoff.Next(id, s.clock.Now())
	}
}

// prune forgets owners whose pods have not failed for some time.
func (s *slowdown) prune() { s.backoff.GC() }

// id identifies the owner and the reason. A pod that has started ends when it ends, and
// one without a controller is not replaced.
func (s *slowdown) id(pod *corev1.Pod, reason string) (id string, slowed bool) {
	owner := metav1.GetControllerOfNoCopy(pod)
	if owner == nil || pod.Status.StartTime != nil {
		return "", false
	}
	return string(owner.UID) + " " + reason, true
}
