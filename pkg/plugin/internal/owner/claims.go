package owner

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/failure"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
)

// Claims are the objects in a remote cluster that have the name or the label of a
// node.
type Claims struct {
	// Owner is who asked.
	Owner contract.Owner
	// Own are the owner's. Foreign are another local cluster's, or do not say whose
	// they are. The node's ServiceAccount comes first.
	Own, Foreign []*unstructured.Unstructured
	// Commands are those that the hints of a refusal name.
	Commands kubeclient.Commands
}

// add sorts an object by its label.
func (c *Claims) add(object *unstructured.Unstructured) {
	if Owns(c.Owner, object) {
		c.Own = append(c.Own, object)
	} else {
		c.Foreign = append(c.Foreign, object)
	}
}

// Owns reports whether an object's labels name a node of a local cluster.
func Owns(owner contract.Owner, object *unstructured.Unstructured) bool {
	labels := object.GetLabels()
	return labels[contract.LabelNodeName] == owner.Node && labels[contract.LabelClusterUID] == string(owner.ClusterUID)
}

// ClusterOf is the UID of the local cluster that an object belongs to, or empty if
// its label does not say.
func ClusterOf(object *unstructured.Unstructured) types.UID {
	return types.UID(object.GetLabels()[contract.LabelClusterUID])
}

// Refusal returns an error that says whose the foreign objects are, or nil if there
// are none. Its hint is what helps whichever command was refused.
func (c *Claims) Refusal() error {
	if len(c.Foreign) == 0 {
		return nil
	}
	first := c.Foreign[0]
	found := kubeclient.Title(first)
	if more := len(c.Foreign) - 1; more > 0 {
		found += fmt.Sprintf(" and %d more", more)
	}
	created := first.GetCreationTimestamp().UTC().Format(time.RFC3339)
	if ClusterOf(first) == "" {
		err := fmt.Errorf("the name %s is taken in the remote cluster, and no label %s says by which local cluster: %s, created at %s",
			c.Owner.Node, contract.LabelClusterUID, found, created)
		return failure.Hintf(err, "choose another node name; or, if nobody needs these objects, delete them: %s", c.list())
	}
	at := ""
	if server := first.GetAnnotations()[contract.AnnotationLocalServer]; server != "" {
		at = ", whose API server is " + server
	}
	err := fmt.Errorf("node %s belongs to another local cluster in the remote one: to that with UID %s%s, according to %s, created at %s; "+
		"this local cluster has UID %s", c.Owner.Node, ClusterOf(first), at, found, created, c.Owner.ClusterUID)
	return failure.Hintf(err, "name the right local cluster with --context, or choose another node name")
}

// RefusalWithoutOwn is Refusal for commands that touch only what belongs to the
// owner: foreign objects are a reason only if the owner has none.
func (c *Claims) RefusalWithoutOwn() error {
	if len(c.Own) > 0 {
		return nil
	}
	return c.Refusal()
}

// list is a command that lists what has the node's label.
func (c *Claims) list() string {
	return c.Commands.Kubectl(kubeclient.Remote,
		"get", "serviceaccounts,configmaps,clusterroles,namespaces", "-A", "-l", contract.LabelNodeName+"="+c.Owner.Node)
}
