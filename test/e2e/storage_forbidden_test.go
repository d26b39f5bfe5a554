//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"slices"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

// The local namespaces of TestStorageDriver while claims are forbidden. The remote one of the
// second is deleted then.
const (
	deniedNamespace = "driven-denied"
	goneNamespace   = "driven-gone"
)

// forbidden: the remote cluster takes akd's rights to claims away while there are claims in
// all states, and an administrator deletes one of the namespaces. What akd does not see is
// unknown: nothing is deleted for it, and nothing is told to be lost. With the rights,
// everything goes on (I9).
func (s stored) forbidden(t *testing.T, akd *env.AKD) {
	s.Namespace(t, deniedNamespace)
	s.Namespace(t, goneNamespace)
	volumes := s.inAllStates(t)
	s.boundAgain(t)
	allow := s.forbidClaims(t)
	akd.Stop(t, syscall.SIGKILL)
	akd.Start(t) // the next one knows only what it is told
	akd.WaitReady(t)
	s.Claim(deniedNamespace, "used").WaitEvent(t, "RemoteClaimUnknown", "is forbidden")
	s.act(t)
	s.Claim(deniedNamespace, "new").WaitEvent(t, "ProvisioningFailed", "is forbidden")
	s.Claim(goneNamespace, "gone").WaitEvent(t, "RemoteClaimUnknown", "is forbidden")
	s.wantUnknown(t, volumes)
	s.Kubectl(t, "remote", "delete", "namespace", s.remote(goneNamespace), "--timeout=3m")
	delete(volumes, "gone")
	delete(volumes, "released")
	other := s.Namespace(t, "driven-other")
	s.Apply(t, other, env.Web(s.node, 1))
	s.WaitRollout(t, other, "deployment/web") // akd has gone on
	s.wantUnknown(t, volumes)
	allow()
	s.wantGoneOn(t, volumes)
}

// inAllStates returns volumes by their states, which are the names of their claims.
func (s stored) inAllStates(t *testing.T) map[string]env.Volume {
	t.Helper()
	claims := ""
	for name, class := range map[string]string{
		"used": s.node, "idle": s.node, "growing": s.node, "ended": s.node, "lost": s.node, "kept": drivenRetain, "orphan": drivenRetain,
	} {
		claims += smallClaim(class, name) + env.Mounting(name, name, env.Started)
	}
	claims += smallClaim(s.node, "waiting", "1Mi", "2Ti") + env.Mounting("waiting", "waiting", env.Started) // no disk is so large
	s.Apply(t, deniedNamespace, claims)
	s.Apply(t, goneNamespace, smallClaim(s.node, "gone")+env.Mounting("gone", "gone", env.Started)+
		smallClaim(s.node, "released")+env.Mounting("released", "released", env.Started))
	s.WaitReady(t, deniedNamespace, "used", "idle", "growing", "ended", "lost", "kept", "orphan")
	s.WaitReady(t, goneNamespace, "gone", "released")
	volumes := map[string]env.Volume{}
	for _, name := range []string{"used", "idle", "growing", "ended", "lost", "kept", "orphan", "waiting"} {
		volumes[name] = s.Claim(deniedNamespace, name).WaitBound(t)
	}
	for _, name := range []string{"gone", "released"} {
		volumes[name] = s.Claim(goneNamespace, name).WaitBound(t)
	}
	s.Kubectl(t, "local", "delete", "pod", "idle", "ended", "lost", "kept", "orphan", "-n", deniedNamespace)
	s.Kubectl(t, "local", "delete", "pod", "released", "-n", goneNamespace)
	s.Kubectl(t, "local", "delete", "persistentvolumeclaim", "kept", "orphan", "-n", deniedNamespace)
	volumes["orphan"].WaitPhase(t, corev1.VolumeReleased)
	volumes["kept"].WaitPhase(t, corev1.VolumeReleased)
	s.Kubectl(t, "local", "delete", "persistentvolume", volumes["orphan"].Name, "--timeout=3m")
	s.Kubectl(t, "remote", "delete", "persistentvolumeclaim", volumes["lost"].Name, "-n", volumes["lost"].RemoteNamespace)
	s.Claim(deniedNamespace, "lost").WaitRemoteBound(t, corev1.ConditionFalse, "RemoteClaimLost")
	return volumes
}

// boundAgain: somebody deletes the RoleBinding alone by which akd has the rights. akd may
// bind the role again, and does so when it is refused something.
func (s stored) boundAgain(t *testing.T) {
	t.Helper()
	s.Kubectl(t, "remote", "delete", "rolebinding", contract.TenantStorageRole, "-n", s.remote(deniedNamespace))
	s.Apply(t, deniedNamespace, smallClaim(s.node, "soon")+env.Mounting("soon", "soon", env.Started))
	s.WaitReady(t, deniedNamespace, "soon")
	s.Kubectl(t, "remote", "get", "rolebinding", contract.TenantStorageRole, "-n", s.remote(deniedNamespace))
}

// forbidClaims takes the rights to claims away from all nodes, until the returned function is
// called.
func (s stored) forbidClaims(t *testing.T) (allow func()) {
	t.Helper()
	set := func(role string, change func([]rbacv1.PolicyRule) []rbacv1.PolicyRule) {
		found, err := s.Remote.RbacV1().ClusterRoles().Get(t.Context(), role, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		found.Rules = change(found.Rules)
		if _, err := s.Remote.RbacV1().ClusterRoles().Update(t.Context(), found, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	former := map[string][]rbacv1.PolicyRule{}
	for _, role := range []string{contract.TenantRole, contract.TenantStorageRole} {
		set(role, func(rules []rbacv1.PolicyRule) []rbacv1.PolicyRule {
			former[role] = slices.Clone(rules)
			return slices.DeleteFunc(rules, func(rule rbacv1.PolicyRule) bool {
				return slices.Contains(rule.Resources, "persistentvolumeclaims")
			})
		})
	}
	return func() {
		for role, rules := range former {
			set(role, func([]rbacv1.PolicyRule) []rbacv1.PolicyRule { return rules })
		}
	}
}

// act does what akd would follow if it could.
func (s stored) act(t *testing.T) {
	t.Helper()
	s.Kubectl(t, "local", "delete", "persistentvolumeclaim", "ended", "-n", deniedNamespace)
	s.Kubectl(t, "local", "delete", "persistentvolumeclaim", "released", "-n", goneNamespace)
	s.resize(t, deniedNamespace, "growing", "5Mi")
	s.Apply(t, deniedNamespace, smallClaim(s.node, "new")+env.Mounting("new", "new", env.Started)+
		env.Mounting("late", "idle", env.Started))
}

// wantUnknown checks that every remote claim is there, that no local volume has gone, and that
// akd takes none for lost.
func (s stored) wantUnknown(t *testing.T, volumes map[string]env.Volume) {
	t.Helper()
	for state, volume := range volumes {
		if state != "lost" {
			volume.Remains(t)
		}
		found, err := s.Local.CoreV1().PersistentVolumes().Get(t.Context(), volume.Name, metav1.GetOptions{})
		switch {
		case state == "orphan" && apierrors.IsNotFound(err):
		case err != nil || found.UID != volume.UID || found.DeletionTimestamp != nil:
			t.Errorf("the volume that is %s: %v, deleted at %v", state, err, found.DeletionTimestamp)
		}
	}
	for _, name := range []string{"used", "idle", "growing"} {
		s.Claim(deniedNamespace, name).WaitRemoteBound(t, corev1.ConditionTrue, "Bound")
	}
	s.wantLog(t, deniedNamespace, "used", "used")
	if lost := s.Metric(t, env.FirstMetrics, `akd_volumes{state="lost"}`); lost != "" && lost != "0" {
		t.Errorf("%s volumes are counted as lost", lost)
	}
	refused(t, s.Pod(deniedNamespace, "late"), "RemoteForbidden", "persistentvolumeclaims")
}

// wantGoneOn waits until everything has happened that was held up.
func (s stored) wantGoneOn(t *testing.T, volumes map[string]env.Volume) {
	t.Helper()
	volumes["ended"].WaitDeleted(t)
	s.waitCapacity(t, deniedNamespace, "growing", "5Mi")
	s.WaitReady(t, deniedNamespace, "new", "late")
	s.wantLog(t, deniedNamespace, "late", "idle", "late")
	for state, volume := range volumes {
		switch state {
		case "used", "idle", "growing":
			s.wantState(t, volume, "bound")
		case "kept", "orphan", "waiting":
			s.wantState(t, volume, state)
		}
	}
	s.Claim(deniedNamespace, "lost").WaitRemoteBound(t, corev1.ConditionFalse, "RemoteClaimLost")

	// With its namespace, the claims of the other one are gone: the remote cluster itself says
	// so. A released volume has ended, and a bound one is lost.
	s.Claim(goneNamespace, "gone").WaitRemoteBound(t, corev1.ConditionFalse, "RemoteClaimLost")
	env.Eventually(t, "the released volume has gone", func(ctx context.Context) error {
		list, err := s.Local.CoreV1().PersistentVolumes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for i := range list.Items {
			if ref := list.Items[i].Spec.ClaimRef; ref != nil && ref.Namespace == goneNamespace && ref.Name == "released" {
				return fmt.Errorf("volume %s is %s", list.Items[i].Name, list.Items[i].Status.Phase)
			}
		}
		return nil
	})
	s.Apply(t, goneNamespace, env.Mounting("again", "gone", env.Started))
	refused(t, s.Pod(goneNamespace, "again"), "RemoteClaimLost", "is not there")
	if found := s.remoteClaims(t, goneNamespace); len(found) > 0 {
		t.Errorf("in place of the lost claims there is %s", found[0].Name)
	}
}
