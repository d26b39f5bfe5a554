package kubeletapi

import "sync"

// streamLimiter limits the streams that are open at a time. No user may have all
// of them, so that one user's leak does not keep everyone else from a shell.
type streamLimiter struct {
	total, perUser int

	mu    sync.Mutex
	count int
	users map[string]int
}

func newStreamLimiter(total int) *streamLimiter {
	return &streamLimiter{total: total, perUser: max(1, total-total/4), users: map[string]int{}}
}

func (l *streamLimiter) open() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count
}

// acquire returns a function that releases the stream, or the limit that is
// reached.
func (l *streamLimiter) acquire(user string) (release func(), limit int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.count >= l.total:
		return nil, l.total
	case l.users[user] >= l.perUser:
		return nil, l.perUser
	}
	l.count++
	l.users[user]++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.count--
		if l.users[user]--; l.users[user] == 0 {
			delete(l.users, user)
		}
	}, 0
}
