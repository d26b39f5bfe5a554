//go:build e2e

package env

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// Claim is one PersistentVolumeClaim of the local cluster.
type Claim struct {
	*Env
	Namespace, Name string
}

// Claim is the one of that name, which need not exist yet.
func (e *Env) Claim(namespace, name string) Claim {
	return Claim{Env: e, Namespace: namespace, Name: name}
}

// Eventually waits until the claim is as wanted.
func (c Claim) Eventually(t testing.TB, what string, wanted func(*corev1.PersistentVolumeClaim) error) {
	t.Helper()
	Eventually(t, "claim "+c.Name+" "+what, func(ctx context.Context) error {
		found, err := c.Local.CoreV1().PersistentVolumeClaims(c.Namespace).Get(ctx, c.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		return wanted(found)
	})
}

// WaitBound waits until the claim is bound, and returns its volume.
func (c Claim) WaitBound(t testing.TB) Volume {
	t.Helper()
	var name string
	c.Eventually(t, "is bound", func(claim *corev1.PersistentVolumeClaim) error {
		if name = claim.Spec.VolumeName; claim.Status.Phase != corev1.ClaimBound {
			return fmt.Errorf("it is %s", claim.Status.Phase)
		}
		return nil
	})
	return c.Volume(t, name)
}

// WaitGone waits until the claim does not exist.
func (c Claim) WaitGone(t testing.TB) {
	t.Helper()
	c.Kubectl(t, "local", "wait", "--for=delete", "persistentvolumeclaim/"+c.Name, "-n", c.Namespace, "--timeout="+Timeout.String())
}

// WaitRemoteBound waits for the condition that reports about the remote claim.
func (c Claim) WaitRemoteBound(t testing.TB, status corev1.ConditionStatus, reason string) {
	t.Helper()
	c.Eventually(t, fmt.Sprintf("has RemoteBound=%s %s", status, reason), func(claim *corev1.PersistentVolumeClaim) error {
		for _, condition := range claim.Status.Conditions {
			if condition.Type != contract.ConditionRemoteBound {
				continue
			}
			if condition.Status != status || condition.Reason != reason {
				return fmt.Errorf("it is %s, %s: %s", condition.Status, condition.Reason, condition.Message)
			}
			return nil
		}
		return errors.New("no condition yet")
	})
}

// WaitEvent waits for an event of the claim with that reason whose message contains the text.
func (c Claim) WaitEvent(t testing.TB, reason, text string) {
	t.Helper()
	Eventually(t, fmt.Sprintf("claim %s has the event %s with %q", c.Name, reason, text), func(ctx context.Context) error {
		list, err := c.Local.CoreV1().Events(c.Namespace).List(ctx, metav1.ListOptions{
			FieldSelector: "involvedObject.kind=PersistentVolumeClaim,involvedObject.name=" + c.Name,
		})
		if err != nil {
			return err
		}
		var others []string
		for _, event := range list.Items {
			if event.Reason == reason && strings.Contains(event.Message, text) {
				return nil
			}
			others = append(others, event.Reason+": "+event.Message)
		}
		return fmt.Errorf("only %q", others)
	})
}

// Volume is a PersistentVolume of the local cluster and the remote claim that it is tied to,
// as they were when the test met them.
type Volume struct {
	*Env
	// Name is that of the volume and of the remote claim.
	Name string
	// UID is the volume's.
	UID types.UID
	// RemoteNamespace and RemoteUID are the remote claim's.
	RemoteNamespace string
	RemoteUID       types.UID
}

// Volume gets the local volume of that name.
func (e *Env) Volume(t testing.TB, name string) Volume {
	t.Helper()
	found, err := e.Local.CoreV1().PersistentVolumes().Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if found.Spec.CSI == nil || found.Spec.CSI.Driver != contract.StorageDriver {
		t.Fatalf("volume %s is not AK's: %+v", name, found.Spec.PersistentVolumeSource)
	}
	namespace, claim, ok := contract.ParseVolumeHandle(found.Spec.CSI.VolumeHandle)
	if !ok || claim != name {
		t.Fatalf("volume %s has the handle %q", name, found.Spec.CSI.VolumeHandle)
	}
	return Volume{
		Env:             e,
		Name:            name,
		UID:             found.UID,
		RemoteNamespace: namespace,
		RemoteUID:       types.UID(found.Spec.CSI.VolumeAttributes[contract.AttributeRemoteUID]),
	}
}

// RemoteClaim returns the remote claim. Another one of its name is an error.
func (v Volume) RemoteClaim(ctx context.Context) (*corev1.PersistentVolumeClaim, error) {
	found, err := v.Remote.CoreV1().PersistentVolumeClaims(v.RemoteNamespace).Get(ctx, v.Name, metav1.GetOptions{})
	if err == nil && found.UID != v.RemoteUID {
		err = fmt.Errorf("remote claim %s has UID %s, not %s", v.Name, found.UID, v.RemoteUID)
	}
	return found, err
}

// Remains fails the test unless the remote claim is there and nobody has deleted it.
func (v Volume) Remains(t testing.TB) {
	t.Helper()
	if found, err := v.RemoteClaim(t.Context()); err != nil {
		t.Errorf("remote claim of volume %s: %v", v.Name, err)
	} else if found.DeletionTimestamp != nil {
		t.Errorf("remote claim %s is being deleted", v.Name)
	}
}

// WaitPhase waits until the local volume has a phase.
func (v Volume) WaitPhase(t testing.TB, phase corev1.PersistentVolumePhase) {
	t.Helper()
	v.Kubectl(t, "local", "wait", "--for=jsonpath={.status.phase}="+string(phase), "persistentvolume/"+v.Name, "--timeout="+Timeout.String())
}

// WaitDeleted waits until neither the local volume nor the remote claim exists.
func (v Volume) WaitDeleted(t testing.TB) {
	t.Helper()
	Eventually(t, "volume "+v.Name+" is deleted on both sides", func(ctx context.Context) error {
		_, err := v.Local.CoreV1().PersistentVolumes().Get(ctx, v.Name, metav1.GetOptions{})
		if !apierrors.IsNotFound(err) {
			return fmt.Errorf("the local volume: %w", err)
		}
		_, err = v.Remote.CoreV1().PersistentVolumeClaims(v.RemoteNamespace).Get(ctx, v.Name, metav1.GetOptions{})
		if !apierrors.IsNotFound(err) {
			return fmt.Errorf("the remote claim: %w", err)
		}
		return nil
	})
}

// Folder is where the remote cluster has the data, on this machine.
func (v Volume) Folder(t testing.TB) string {
	t.Helper()
	claim, err := v.RemoteClaim(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	found, err := v.Remote.CoreV1().PersistentVolumes().Get(t.Context(), claim.Spec.VolumeName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	node := found.Annotations["local.path.provisioner/selected-node"]
	return filepath.Join(v.Dir, "remote", "nodes", node, "local-path", filepath.Base(found.Spec.HostPath.Path))
}
