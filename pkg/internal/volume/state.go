package volume

// The states that the metric akd_volumes and kubectl actual volumes call by the same words.
const (
	// StateBound is a volume whose remote claim has its storage.
	StateBound = "bound"
	// StateWaiting is one whose remote claim does not have it yet.
	StateWaiting = "waiting"
	// StateKept is one whose local claim is gone, and whose data is to be retained.
	StateKept = "kept"
	// StateLost is one whose remote claim is gone, or is another one.
	StateLost = "lost"
	// StateOrphan is a remote claim with data that no local volume leads to.
	StateOrphan = "orphan"
)
