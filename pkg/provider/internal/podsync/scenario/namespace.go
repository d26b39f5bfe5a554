package scenario

import (
	"errors"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clienttesting "k8s.io/client-go/testing"
)

// copies are the kinds of objects that akd copies for pods.
func copies() []string { return []string{"configmaps", "secrets", "services", "endpointslices"} }

// contents are the kinds that a namespace's end removes at once; its pods end first.
func contents() []string { return append(copies(), "poddisruptionbudgets", "rolebindings", "events") }

// end deletes a namespace, as the namespace controller does since Kubernetes 1.33: its pods
// go first, then what else is in it, then the namespace itself. Local namespaces have no
// object here: there, all goes at once.
// https://kep.k8s.io/5080
func (c *fakeServer) end(namespace string) error {
	found, err := c.storage.Get(resourceOf("namespaces"), "", namespace)
	if ended, is := found.(*corev1.Namespace); err == nil && is {
		if ended.DeletionTimestamp == nil {
			ended.DeletionTimestamp = new(in(0))
			ended.Status.Phase = corev1.NamespaceTerminating
		}
		if err := c.storage.Update(resourceOf("namespaces"), ended, ""); err != nil {
			return err
		}
	} else {
		for _, kind := range contents() {
			c.storage.removeAll(resourceOf(kind), namespace)
		}
	}
	for _, pod := range c.pods() {
		if pod.Namespace == namespace {
			if err := c.deletePod(namespace, pod.Name, nil); err != nil {
				return err
			}
		}
	}
	if c.schedules { // and has no object for the namespace
		for _, claim := range c.storage.in(namespace, resourceOf(claims)) {
			if err := c.deleteStored(resourceOf(claims), namespace, nameOf(claim)); err != nil {
				return err
			}
		}
	}
	c.finishNamespaces()
	return nil
}

// finishNamespaces removes the namespaces that have ended.
func (c *fakeServer) finishNamespaces() {
	for _, namespace := range c.storage.in(metav1.NamespaceAll, resourceOf("namespaces")) {
		meta, err := apimeta.Accessor(namespace)
		if err != nil || meta.GetDeletionTimestamp() == nil || len(meta.GetFinalizers()) > 0 ||
			len(c.storage.in(meta.GetName(), resourceOf("pods"))) > 0 {
			continue
		}
		for _, kind := range append(contents(), claims) { // which no pod uses any more
			c.storage.removeAll(resourceOf(kind), meta.GetName())
		}
		_ = c.storage.Delete(resourceOf("namespaces"), "", meta.GetName())
	}
}

// admitsInto returns an error if the namespace of a new object is not there, or ending.
func (c *fakeServer) admitsInto(action clienttesting.CreateActionImpl) error {
	name := action.GetNamespace()
	if !strings.HasPrefix(name, Node+"-") {
		return nil
	}
	if _, err := c.storage.Get(resourceOf("namespaces"), "", name); err != nil {
		return err
	}
	if c.isEnding(name) {
		err := apierrors.NewForbidden(action.GetResource().GroupResource(), nameOf(action.Object),
			errors.New("unable to create new content in namespace "+name+" because it is being terminated"))
		err.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause, Message: "it is ending"}}
		return err
	}
	return nil
}

func (c *fakeServer) isEnding(namespace string) bool {
	found, err := c.storage.Get(resourceOf("namespaces"), "", namespace)
	ending, is := found.(*corev1.Namespace)
	return err == nil && is && ending.DeletionTimestamp != nil
}
