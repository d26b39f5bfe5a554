package contract

// UserAgent identifies akd to both clusters: in requests, as the field manager
// and as the source of events.
const UserAgent = "akd"

// ApproverUserAgent identifies the approver of akd's certificates to the local cluster.
const ApproverUserAgent = "akd-approver"

// ReasonScheduled is the reason of the only remote pod event that akd does not
// repeat on the local pod. The local scheduler has already reported it for the
// local pod, and the annotations of the local pod name the node of the remote
// pod.
const ReasonScheduled = "Scheduled"
