package policies_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/test/attacks"
)

// storing is a node that was installed with storage.
func storing(node string, classes ...string) manifests.Values {
	return manifests.Values{Node: node, Storage: manifests.Storage{Enabled: true, Classes: classes}}
}

// provisioning starts the plugin of a local cluster with nodes that were installed with
// storage.
func provisioning(t testing.TB, nodes ...string) *server {
	t.Helper()
	return start(t, provisioningContents(t, nodes...))
}

// provisioningContents are the objects of such a cluster.
func provisioningContents(t testing.TB, nodes ...string) map[string]runtime.Object {
	t.Helper()
	objects := map[string]runtime.Object{"shop": &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}}
	for _, node := range nodes {
		rendered, err := manifests.Local(storing(node, attacks.StorageClass))
		if err != nil {
			t.Fatal(err)
		}
		for _, object := range rendered {
			objects[object.GetKind()+"/"+object.GetNamespace()+"/"+object.GetName()] = typed(t, object)
		}
	}
	return objects
}

// A tenant's claims are new volumes of the installed classes: a claim without a class takes
// any free volume of the remote cluster.
func TestClaims(t *testing.T) {
	s := serve(t, storing(thief, attacks.StorageClass, "gold"), storing(victim, "fast"))
	innocent := attacks.Claim(owner(thief), "home")
	protected := innocent.DeepCopy()
	protected.Finalizers = []string{"kubernetes.io/pvc-protection"} // by admission
	expect(t, s.do(t, request{user: account(thief), object: protected}), "")
	clone := innocent.DeepCopy()
	clone.Spec.DataSource = &corev1.TypedLocalObjectReference{Kind: "PersistentVolumeClaim", Name: "pvc-1"}
	clone.Spec.DataSourceRef = &corev1.TypedObjectReference{Kind: "PersistentVolumeClaim", Name: "pvc-1"} // by the API server
	expect(t, s.do(t, request{user: account(thief), object: clone}), "")
	// A cluster with a default class gives it to such a claim before policies see it.
	classless := innocent.DeepCopy()
	classless.Spec.StorageClassName = nil
	expect(t, s.do(t, request{user: account(thief), object: classless}), "of the installed storage classes only")
	// Kubernetes drops the namespace as long as it has the feature as an alpha.
	clone.Spec.DataSourceRef.Namespace = new("victim")
	expect(t, s.do(t, request{user: account(thief), object: clone}), "with the data of another claim of its own, or with none, only")
	for name, attack := range attacks.Claims() {
		t.Run("create "+name, func(t *testing.T) {
			claim := innocent.DeepCopy()
			attack.Change(claim)
			expect(t, s.do(t, request{user: account(thief), object: claim}), attack.Wants)
			expect(t, s.do(t, request{user: "admin", object: claim}), "")
		})
	}
	for name, attack := range attacks.ClaimUpdates() {
		t.Run("update "+name, func(t *testing.T) {
			old := attacks.Bound(innocent)
			claim := old.DeepCopy()
			attack.Change(claim)
			expect(t, s.do(t, request{user: account(thief), object: claim, old: old}), attack.Wants)
			expect(t, s.do(t, request{user: "admin", object: claim, old: old}), "")
		})
	}
	for place, wants := range map[string]string{
		namespace(victim).Name: "own", "default": "beyond them its record alone", "kube-system": "beyond them its record alone",
	} {
		claim := innocent.DeepCopy()
		claim.Namespace = place
		expect(t, s.do(t, request{user: account(thief), object: claim}), wants)
	}
	expect(t, s.do(t, request{user: account(thief), object: innocent, old: innocent, subresource: "status"}), "may not write the status")
}

// What others have written to a claim stays, and does not keep akd from writing to it.
func TestClaimUpdates(t *testing.T) {
	s := serve(t, storing(thief, attacks.StorageClass))
	old := attacks.Bound(attacks.Claim(owner(thief), "home"))
	for name, change := range map[string]func(*corev1.PersistentVolumeClaim){
		"commit": func(c *corev1.PersistentVolumeClaim) { c.Annotations[contract.AnnotationVolume] = "uid-of-the-volume" },
		"grow": func(c *corev1.PersistentVolumeClaim) {
			c.Spec.Resources.Requests[corev1.ResourceStorage] = resource.MustParse("2Gi")
		},
		"nothing": func(*corev1.PersistentVolumeClaim) {},
	} {
		t.Run(name, func(t *testing.T) {
			claim := old.DeepCopy()
			change(claim)
			expect(t, s.do(t, request{user: account(thief), object: claim, old: old}), "")
		})
	}
	committed := old.DeepCopy()
	committed.Annotations[contract.AnnotationVolume] = "uid-of-another-volume"
	expect(t, s.do(t, request{user: account(thief), object: old, old: committed}), "") // adopted by another volume
	expect(t, s.do(t, request{user: account(thief), old: old}), "")
}

// A node that is not installed with storage any more may have rights left in its
// namespaces, and claims in them whose volumes must go on.
func TestClaimsNotInstalled(t *testing.T) {
	objects := contents(t, storing(thief, attacks.StorageClass))
	settings, is := objects["ServiceAccount/"+thief].(*corev1.ServiceAccount)
	if !is {
		t.Fatal("the node has no ServiceAccount")
	}
	delete(settings.Annotations, contract.SettingStorageClasses)
	s := start(t, objects)
	claim := attacks.Claim(owner(thief), "home")
	expect(t, s.do(t, request{user: account(thief), object: claim}), "storage classes only: \"\"")
	expect(t, s.do(t, request{user: account(thief), object: claim, old: claim}), "")
	expect(t, s.do(t, request{user: account(thief), object: mounting("pvc-0e7d4c1a")}), "with these kinds of volumes only")
}

// mounting is a pod with a claim.
func mounting(claim string) *corev1.Pod {
	pod := attacks.Pod(owner(thief), "home", "web")
	pod.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{
		PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim},
	}}}
	return admitted(pod)
}

// Pods mount the claims that akd makes, and no other ones; the remote cluster makes none for
// them.
func TestPodsWithClaims(t *testing.T) {
	s := serve(t, storing(thief, attacks.StorageClass))
	expect(t, s.do(t, request{user: account(thief), object: mounting("pvc-0e7d4c1a")}), "")
	for name, attack := range attacks.Pods() {
		t.Run(name, func(t *testing.T) {
			pod := mounting("pvc-0e7d4c1a")
			attack.Change(pod)
			expect(t, s.do(t, request{user: account(thief), object: pod}), attack.Wants)
		})
	}
	expect(t, s.do(t, request{user: account(thief), object: mounting("backup")}), "persistentVolumeClaim of a claim pvc-UID")
}

// A volume is root on real nodes if it is a directory of theirs, and opens Secrets to nodes.
// akd may make those of its node only, which no machine can mount.
func TestVolumes(t *testing.T) {
	s := provisioning(t, thief, victim)
	innocent := attacks.Volume(thief, "home")
	protected := innocent.DeepCopy()
	protected.Finalizers = append(protected.Finalizers, "kubernetes.io/pv-protection") // by admission
	for _, volume := range []*corev1.PersistentVolume{innocent, protected, block(innocent)} {
		expect(t, s.do(t, request{user: account(thief), object: volume}), "")
	}
	for name, attack := range attacks.Volumes(thief, victim) {
		t.Run("create "+name, func(t *testing.T) {
			volume := innocent.DeepCopy()
			attack.Change(volume)
			expect(t, s.do(t, request{user: account(thief), object: volume}), attack.Wants)
			expect(t, s.do(t, request{user: "external-provisioner", object: volume}), "")
		})
	}
	for name, attack := range attacks.VolumeUpdates() {
		t.Run("update "+name, func(t *testing.T) {
			volume := protected.DeepCopy()
			attack.Change(volume)
			expect(t, s.do(t, request{user: account(thief), object: volume, old: protected}), attack.Wants)
			expect(t, s.do(t, request{user: "pv-controller", object: volume, old: protected}), "")
		})
	}
	// An update can take no volume over, or give it away.
	for name, attack := range attacks.Volumes(thief, victim) {
		t.Run("update to one "+name, func(t *testing.T) {
			volume := protected.DeepCopy()
			attack.Change(volume)
			expect(t, s.do(t, request{user: account(thief), object: volume, old: protected}), "akd may")
			if attack.Wants != badVolume {
				return
			}
			expect(t, s.do(t, request{user: account(thief), object: protected, old: volume}), badVolume)
			volume.Status.Phase = corev1.VolumeReleased
			expect(t, s.do(t, request{user: account(thief), old: volume}), badVolume)
		})
	}
	expect(t, s.do(t, request{user: account(thief), object: protected, old: protected, subresource: "status"}), "may not write the status")
}

const badVolume = "may write volumes of its own node only"

func block(volume *corev1.PersistentVolume) *corev1.PersistentVolume {
	volume = volume.DeepCopy()
	volume.Spec.VolumeMode = new(corev1.PersistentVolumeBlock)
	return volume
}

// The life of a volume: Kubernetes and people write to it, it grows, is released, and goes.
func TestVolumeLife(t *testing.T) {
	s := provisioning(t, thief)
	volume := attacks.Volume(thief, "home")
	volume.Finalizers = append(volume.Finalizers, "kubernetes.io/pv-protection", "example.com/backup")
	volume.Annotations["pv.kubernetes.io/bound-by-controller"] = "yes"
	volume.Annotations[contract.AnnotationAdoptedUID] = "a-person's-word"
	volume.Labels["example.com/team"] = "storage"
	volume.Spec.StorageClassName = "renamed"
	grown := volume.DeepCopy()
	grown.Spec.Capacity[corev1.ResourceStorage] = resource.MustParse("2Gi")
	let := volume.DeepCopy()
	let.Finalizers = let.Finalizers[1:]
	expect(t, s.do(t, request{user: account(thief), object: grown, old: volume}), "")
	expect(t, s.do(t, request{user: account(thief), object: let, old: volume}), "")
	expect(t, s.do(t, request{user: account(thief), object: volume, old: let}), "") // imported without it
	for phase, wants := range map[corev1.PersistentVolumePhase]string{
		corev1.VolumeReleased:  "",
		corev1.VolumeFailed:    "",
		corev1.VolumePending:   "",
		corev1.VolumeAvailable: "",
		"":                     "",
		corev1.VolumeBound:     "no volume that is bound to a claim",
	} {
		old := volume.DeepCopy()
		old.Status.Phase = phase
		expect(t, s.do(t, request{user: account(thief), old: old}), wants)
		expect(t, s.do(t, request{user: account(victim), old: old}), badVolume)
		expect(t, s.do(t, request{user: "admin", old: old}), "")
	}
	odd := volume.DeepCopy()
	odd.Spec.Capacity["pods"] = resource.MustParse("1")
	expect(t, s.do(t, request{user: account(thief), object: odd, old: volume}), "may change the capacity")
}

// akd says how large a claim is and how it grows. Who binds it is Kubernetes.
func TestClaimStatus(t *testing.T) {
	s := provisioning(t, thief, victim)
	claim := attacks.LocalClaim(thief, "shop")
	bound := claim.DeepCopy()
	bound.Status.Phase, bound.Spec.VolumeName = corev1.ClaimBound, "pvc-1"
	bound.Status.AccessModes = bound.Spec.AccessModes
	for _, old := range []*corev1.PersistentVolumeClaim{claim, bound, withoutStatus(claim)} {
		expect(t, s.do(t, request{user: account(thief), object: grown(old), old: old, subresource: "status"}), "")
		expect(t, s.do(t, request{user: account(thief), object: old, old: grown(old), subresource: "status"}), "")
		expect(t, s.do(t, request{user: account(victim), object: grown(old), old: old, subresource: "status"}), badStatus)
	}
	for name, attack := range attacks.ClaimStatuses() {
		t.Run(name, func(t *testing.T) {
			changed := claim.DeepCopy()
			attack.Change(changed)
			expect(t, s.do(t, request{user: account(thief), object: changed, old: claim, subresource: "status"}), attack.Wants)
			expect(t, s.do(t, request{user: "kubelet", object: changed, old: claim, subresource: "status"}), "")
		})
	}
	for name, annotations := range map[string]map[string]string{
		"of another provisioner": {"volume.kubernetes.io/storage-provisioner": "csi.example.com"},
		"of a real node": {
			"volume.kubernetes.io/storage-provisioner": contract.StorageDriver, "volume.kubernetes.io/selected-node": "local-1",
		},
		"of nobody": nil,
	} {
		t.Run(name, func(t *testing.T) {
			old := claim.DeepCopy()
			old.Annotations = annotations
			expect(t, s.do(t, request{user: account(thief), object: grown(old), old: old, subresource: "status"}), badStatus)
		})
	}
	immediate := claim.DeepCopy() // its class does not wait for a pod
	delete(immediate.Annotations, "volume.kubernetes.io/selected-node")
	expect(t, s.do(t, request{user: account(thief), object: grown(immediate), old: immediate, subresource: "status"}), "")
	const nothingElse = "the status of claims, and nothing else"
	expect(t, s.do(t, request{user: account(thief), object: grown(claim), old: claim}), nothingElse)
	expect(t, s.do(t, request{user: account(thief), object: claim}), nothingElse)
	expect(t, s.do(t, request{user: account(thief), old: claim}), nothingElse)
}

const badStatus = "only whose volume is provisioned by actual.vk on its own node"

func withoutStatus(claim *corev1.PersistentVolumeClaim) *corev1.PersistentVolumeClaim {
	claim = claim.DeepCopy()
	claim.Status = corev1.PersistentVolumeClaimStatus{}
	return claim
}

// grown returns the claim with all that akd writes.
func grown(claim *corev1.PersistentVolumeClaim) *corev1.PersistentVolumeClaim {
	claim = claim.DeepCopy()
	size := corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("2Gi")}
	claim.Status.Capacity, claim.Status.AllocatedResources = size, size
	claim.Status.AllocatedResourceStatuses = map[corev1.ResourceName]corev1.ClaimResourceStatus{
		corev1.ResourceStorage: corev1.PersistentVolumeClaimNodeResizePending,
	}
	for _, kind := range []corev1.PersistentVolumeClaimConditionType{
		corev1.PersistentVolumeClaimResizing, corev1.PersistentVolumeClaimFileSystemResizePending,
		corev1.PersistentVolumeClaimControllerResizeError, corev1.PersistentVolumeClaimNodeResizeError, contract.ConditionRemoteBound,
	} {
		claim.Status.Conditions = append(claim.Status.Conditions, corev1.PersistentVolumeClaimCondition{Type: kind, Status: corev1.ConditionTrue})
	}
	return claim
}
