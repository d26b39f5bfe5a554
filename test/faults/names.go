package faults

// node is the name of the node that akd serves.
const node = "faults"

// streamed is the local namespace of the pod to which streams are open.
const streamed = "faults-streams"

// churned are the local namespaces that change. The streams' own does not.
func churned() []string { return []string{"faults-a", "faults-b"} }

// namespaces are the local ones with pods.
func namespaces() []string { return append(churned(), streamed) }
