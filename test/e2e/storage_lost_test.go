//go:build e2e

package e2e

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

// lost: an administrator of the remote cluster deletes a claim. Nothing takes its place (I4):
// pods wait, and are told why, until the claim is restored and adopted.
func (s stored) lost(t *testing.T) {
	namespace := s.Namespace(t, "stored-lost")
	s.Apply(t, namespace, env.ClaimOf(s.node, "data")+env.Mounting("db", "data", env.Started))
	s.WaitReady(t, namespace, "db")
	claim := s.Claim(namespace, "data")
	volume := claim.WaitBound(t)
	before, err := volume.RemoteClaim(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	// As long as the pod uses it, the claim only ends, and its data can be saved.
	s.Kubectl(t, "remote", "delete", "persistentvolumeclaim", volume.Name, "-n", volume.RemoteNamespace, "--wait=false")
	claim.WaitRemoteBound(t, corev1.ConditionFalse, "RemoteClaimEnding")
	s.wantLog(t, namespace, "db", "db")
	s.Kubectl(t, "local", "delete", "pod", "db", "-n", namespace)
	claim.WaitRemoteBound(t, corev1.ConditionFalse, "RemoteClaimLost")
	claim.WaitEvent(t, "RemoteClaimLost", "akd makes no empty one in its place")

	s.Apply(t, namespace, env.Mounting("db", "data", env.Started))
	refused(t, s.Pod(namespace, "db"), "RemoteClaimLost", "whose remote claim "+volume.RemoteNamespace+"/"+volume.Name+" is not there")
	if found := s.remoteClaims(t, namespace); len(found) > 0 {
		t.Errorf("in place of the lost claim there is %s", found[0].Name)
	}
	if found := s.Volume(t, volume.Name); found.UID != volume.UID || found.RemoteUID != volume.RemoteUID {
		t.Errorf("the local volume was %+v, now it is %+v", volume, found)
	}

	// The administrator restores the claim from a backup, which has another UID.
	restored := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: before.Name, Labels: before.Labels, Annotations: before.Annotations},
		Spec:       before.Spec,
	}
	restored.Spec.VolumeName = ""
	delete(restored.Annotations, "volume.kubernetes.io/selected-node")
	delete(restored.Annotations, "pv.kubernetes.io/bind-completed")
	delete(restored.Annotations, "pv.kubernetes.io/bound-by-controller")
	claims := s.Remote.CoreV1().PersistentVolumeClaims(volume.RemoteNamespace)
	if _, err := claims.Create(t.Context(), restored, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	s.MustActual(t, "volumes", "adopt", volume.Name, "--remote-context=remote")
	s.WaitReady(t, namespace, "db")
	claim.WaitRemoteBound(t, corev1.ConditionTrue, "Bound")
}
