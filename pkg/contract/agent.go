package contract

// UserAgent is how both clusters know akd: in requests, as the manager of fields
// and as the source of events.
const UserAgent = "akd"

// ReasonScheduled is the reason of the one remote event about a pod that is not
// repeated on the local pod: the local scheduler has said it of the local pod,
// and the local pod's annotations say where the remote pod runs.
const ReasonScheduled = "Scheduled"
