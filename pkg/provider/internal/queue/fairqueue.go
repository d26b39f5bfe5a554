package queue

// fairQueue is the order in which keys are taken: pods and what they refer to on one
// side, Services and EndpointSlices on the other, taking turns while both wait.
// Services come by the thousand, when akd starts or a namespace opens: a pod
// then waits for as many of them as there are pods before it, and not for all.
//
// It is not safe for concurrent use: the work queue locks it.
type fairQueue struct {
	pods, services fifo
	servicesNext   bool
}

// Touch implements workqueue.Queue: who waits keeps its place.
func (*fairQueue) Touch(Key) {}

// Push implements workqueue.Queue.
func (q *fairQueue) Push(k Key) {
	if isService(k.Kind) {
		q.services.push(k)
		return
	}
	q.pods.push(k)
}

// Len implements workqueue.Queue.
func (q *fairQueue) Len() int { return q.pods.len() + q.services.len() }

// Pop implements workqueue.Queue. It is not called when nobody waits.
func (q *fairQueue) Pop() Key {
	services := q.pods.len() == 0 || q.servicesNext && q.services.len() > 0
	q.servicesNext = !services
	if services {
		return q.services.pop()
	}
	return q.pods.pop()
}

func isService(k Kind) bool { return k == Service || k == EndpointSlice }

// fifo is a queue. What has been taken is let go of when half of it is.
type fifo struct {
	keys  []Key
	taken int
}

func (f *fifo) len() int { return len(f.keys) - f.taken }

func (f *fifo) push(k Key) { f.keys = append(f.keys, k) }

func (f *fifo) pop() Key {
	k := f.keys[f.taken]
	f.taken++
	if 2*f.taken >= len(f.keys) {
		left := copy(f.keys, f.keys[f.taken:])
		f.keys, f.taken = f.keys[:left], 0
	}
	return k
}
