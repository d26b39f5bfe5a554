package policies_test

import (
	"slices"
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/test/attacks"
)

// attempt is a request that must be refused with certain words.
type attempt struct {
	request
	wants string
}

// onClaims are attempts on remote claims.
func onClaims() (all []attempt) {
	innocent := attacks.Claim(owner(thief), "home")
	add := func(object, old *corev1.PersistentVolumeClaim, wants, subresource string) {
		r := request{user: account(thief), object: object, subresource: subresource}
		if old != nil {
			r.old = old
		}
		all = append(all, attempt{r, wants})
	}
	for _, attack := range attacks.Claims() {
		claim := innocent.DeepCopy()
		attack.Change(claim)
		add(claim, nil, attack.Wants, "")
	}
	for _, attack := range attacks.ClaimUpdates() {
		old := attacks.Bound(innocent)
		claim := old.DeepCopy()
		attack.Change(claim)
		add(claim, old, attack.Wants, "")
	}
	add(innocent, innocent, "may not write the status", "status")
	elsewhere := innocent.DeepCopy()
	elsewhere.Namespace = anothers().Name
	elsewhere.Labels[contract.LabelClusterUID] = anothers().Labels[contract.LabelClusterUID]
	add(elsewhere, nil, "in namespaces of its own node and local cluster only", "")
	return all
}

// anothers is a namespace of a node of the same name in another local cluster.
func anothers() *corev1.Namespace {
	made := namespace(thief)
	made.Name = contract.RemoteNamespace(thief, "another")
	made.Labels[contract.LabelClusterUID] = "another"
	return made
}

// onVolumes are attempts on local volumes.
func onVolumes() (all []attempt) {
	innocent := attacks.Volume(thief, "home")
	protected := innocent.DeepCopy()
	protected.Finalizers = append(protected.Finalizers, "kubernetes.io/pv-protection")
	for _, attack := range attacks.Volumes(thief, victim) {
		volume := innocent.DeepCopy()
		attack.Change(volume)
		all = append(all, attempt{request{user: account(thief), object: volume}, attack.Wants})
	}
	for _, attack := range attacks.VolumeUpdates() {
		volume := protected.DeepCopy()
		attack.Change(volume)
		all = append(all, attempt{request{user: account(thief), object: volume, old: protected}, attack.Wants})
	}
	bound := innocent.DeepCopy()
	bound.Status.Phase = corev1.VolumeBound
	return append(all,
		attempt{request{user: account(thief), old: bound}, "no volume that is bound to a claim"},
		attempt{request{user: account(thief), object: protected, old: protected, subresource: "status"}, "may not write the status"})
}

// onStatuses are attempts on the status of local claims.
func onStatuses() (all []attempt) {
	claim := attacks.LocalClaim(thief, "shop")
	for _, attack := range attacks.ClaimStatuses() {
		changed := claim.DeepCopy()
		attack.Change(changed)
		all = append(all, attempt{request{user: account(thief), object: changed, old: claim, subresource: "status"}, attack.Wants})
	}
	return append(all,
		attempt{request{user: account(thief), object: claim, old: claim}, "and nothing else of them"},
		attempt{request{user: account(victim), object: grown(claim), old: claim, subresource: "status"}, badStatus})
}

// Each rule of the policies of storage refuses something that no other rule does: without
// it, an attempt would succeed.
func TestEveryRuleOfStorage(t *testing.T) {
	remote := contents(t, storing(thief, attacks.StorageClass), storing(victim, "fast"))
	remote["another"] = anothers()
	local := provisioningContents(t, thief, victim)
	for policy, tc := range map[string]struct {
		objects  map[string]runtime.Object
		attempts []attempt
	}{
		contract.PolicyClaims:      {remote, onClaims()},
		contract.PolicyVolumes:     {local, onVolumes()},
		contract.PolicyClaimStatus: {local, onStatuses()},
	} {
		if succeeded := start(t, tc.objects).succeeding(t, tc.attempts); len(succeeded) > 0 {
			t.Fatalf("%s: not refused: %s", policy, strings.Join(succeeded, "; "))
		}
		for i, rule := range find(t, tc.objects, policy).Spec.Validations {
			t.Run(policy+"/"+rule.Message, func(t *testing.T) {
				without := map[string]runtime.Object{}
				for name, object := range tc.objects {
					without[name] = object.DeepCopyObject()
				}
				weaker := find(t, without, policy)
				weaker.Spec.Validations = slices.Delete(weaker.Spec.Validations, i, i+1)
				if len(start(t, without).succeeding(t, tc.attempts)) == 0 {
					t.Error("nothing tries this rule")
				}
			})
		}
	}
}

func find(t *testing.T, objects map[string]runtime.Object, name string) *admissionregistrationv1.ValidatingAdmissionPolicy {
	t.Helper()
	for _, object := range objects {
		if policy, ok := object.(*admissionregistrationv1.ValidatingAdmissionPolicy); ok && policy.Name == name {
			return policy
		}
	}
	t.Fatalf("there is no policy %s", name)
	return nil
}

// succeeding returns what attempts would have been refused with, and were not.
func (s *server) succeeding(t *testing.T, attempts []attempt) (wants []string) {
	t.Helper()
	for _, a := range attempts {
		if s.do(t, a.request) == nil {
			wants = append(wants, a.wants)
		}
	}
	return wants
}
