package queue

// fairQueue orders the keys: pods and the objects that they refer to on one side,
// Services, EndpointSlices and PodDisruptionBudgets on the other. While both sides
// have keys, they alternate. Services arrive by the thousand when akd starts or a
// namespace opens. A pod then waits only for as many of them as there are pods
// ahead of it, and a budget does not wait for a thousand pods.
//
// It is not safe for concurrent use: the work queue locks it.
type fairQueue struct {
	pods, others fifo
	othersNext   bool
}

// Touch implements workqueue.Queue: a waiting key keeps its place.
func (*fairQueue) Touch(Key) {}

// Push implements workqueue.Queue.
func (q *fairQueue) Push(k Key) {
	if isOther(k.Kind) {
		q.others.push(k)
		return
	}
	q.pods.push(k)
}

// Len implements workqueue.Queue.
func (q *fairQueue) Len() int { return q.pods.len() + q.others.len() }

// Pop implements workqueue.Queue. It is never called on an empty queue.
func (q *fairQueue) Pop() Key {
	others := q.pods.len() == 0 || q.othersNext && q.others.len() > 0
	q.othersNext = !others
	if others {
		return q.others.pop()
	}
	return q.pods.pop()
}

func isOther(k Kind) bool { return k == Service || k == EndpointSlice || k == DisruptionBudget }

// fifo is a first-in, first-out queue. It discards popped keys once they are half
// of its slice.
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
