package kubeletapi

import (
	"fmt"
	"sync"
)

// share is a part of the streams, for which there is a limit.
type share int

const (
	ofNode      share = iota // all streams
	ofPod                    // those to one pod
	ofNamespace              // those to the pods of one namespace
	ofUser                   // those of one caller of akd
	shares
)

// holder is for whom a stream counts.
type holder struct {
	user, namespace, pod string
}

// in is the name of the holder's share.
func (h holder) in(s share) string {
	switch s {
	case ofPod:
		return h.namespace + "/" + h.pod
	case ofNamespace:
		return h.namespace
	case ofUser:
		return h.user
	default:
		return ""
	}
}

// streamLimiter limits the streams that are open at a time. No user may have all of
// them, so that one user's leak does not keep everyone else from a shell. All users
// of kubectl are one user for akd, the local API server: therefore no namespace and
// no pod may have all of them either.
type streamLimiter struct {
	limits [shares]int

	mu     sync.Mutex
	counts [shares]map[string]int
}

func newStreamLimiter(total int) *streamLimiter {
	l := &streamLimiter{limits: [shares]int{
		ofNode:      total,
		ofUser:      max(1, total-total/4),
		ofNamespace: max(1, total/2),
		ofPod:       max(1, total/4),
	}}
	for s := range l.counts {
		l.counts[s] = map[string]int{}
	}
	return l
}

func (l *streamLimiter) open() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counts[ofNode][""]
}

// acquire returns a function that releases the stream, or the limit that is reached
// and its share.
func (l *streamLimiter) acquire(h holder) (release func(), limit int, reached share) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for s := range shares {
		if l.counts[s][h.in(s)] >= l.limits[s] {
			return nil, l.limits[s], s
		}
	}
	for s := range shares {
		l.counts[s][h.in(s)]++
	}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		for s := range shares {
			name := h.in(s)
			if l.counts[s][name]--; l.counts[s][name] == 0 {
				delete(l.counts[s], name)
			}
		}
	}, 0, 0
}

// whose describes the streams of a share in a message.
func (h holder) whose(s share) string {
	switch s {
	case ofPod:
		return fmt.Sprintf(" of pod %q", h.in(s))
	case ofNamespace:
		return fmt.Sprintf(" of namespace %q", h.namespace)
	case ofUser:
		return fmt.Sprintf(" of user %q", h.user)
	default:
		return ""
	}
}
