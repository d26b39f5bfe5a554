package attacks

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// StorageClass is the class of claims that the policies admit.
const StorageClass = "standard"

// uid is that of a local claim.
const uid = "0e7d4c1a-5f6b-4c3d-9a8b-7c6d5e4f3a2b"

const (
	badClass      = "of the installed storage classes only"
	badClaim      = "without the name of a volume, a selector and other fields that it never sets"
	badClone      = "with the data of another claim of its own, or with none, only"
	badAnnotation = "may annotate a claim with its local claim and volume only"
	badOrigin     = "may label a claim with its origin only"
	badChange     = "may change the size of claims, and nothing else of their specification"
	badProtection = "may not change the finalizers and owners of claims"
)

// Claim returns the remote claim of a local one, as akd makes it.
func Claim(owner contract.Owner, local string) *corev1.PersistentVolumeClaim {
	return &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:   contract.RemoteNamespace(owner.Node, local),
			Name:        contract.VolumeName(uid),
			Labels:      owner.Labels(local, uid),
			Annotations: map[string]string{contract.AnnotationClaim: "data"},
		},
		Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: new(StorageClass),
			VolumeMode:       new(corev1.PersistentVolumeFilesystem),
			AccessModes:      []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:        request("1Gi"),
		},
	}
}

func request(size string) corev1.VolumeResourceRequirements {
	return corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(size)}}
}

// Claims returns attacks by claims of a tenant.
func Claims() map[string]Attack[*corev1.PersistentVolumeClaim] {
	all := map[string]Attack[*corev1.PersistentVolumeClaim]{
		"named as another's": {func(c *corev1.PersistentVolumeClaim) { c.Name = "data" }, "that are named pvc-UID"},
		"labelled for a controller": {
			func(c *corev1.PersistentVolumeClaim) { c.Labels["velero.io/exclude-from-backup"] = "true" }, badOrigin,
		},
	}
	for name, class := range map[string]string{"of the empty class": "", "of another class": "fast"} {
		all[name] = Attack[*corev1.PersistentVolumeClaim]{
			func(c *corev1.PersistentVolumeClaim) { c.Spec.StorageClassName = &class }, badClass,
		}
	}
	snapshots, claims := "snapshot.storage.k8s.io", ""
	for name, change := range map[string]func(*corev1.PersistentVolumeClaimSpec){
		"of a volume of its choice": func(s *corev1.PersistentVolumeClaimSpec) { s.VolumeName = "of-the-victim" },
		"that selects a volume": func(s *corev1.PersistentVolumeClaimSpec) {
			s.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"team": "victim"}}
		},
		"that selects any volume":  func(s *corev1.PersistentVolumeClaimSpec) { s.Selector = &metav1.LabelSelector{} },
		"of a class of attributes": func(s *corev1.PersistentVolumeClaimSpec) { s.VolumeAttributesClassName = new("gold") },
	} {
		all[name] = Attack[*corev1.PersistentVolumeClaim]{func(c *corev1.PersistentVolumeClaim) { change(&c.Spec) }, badClaim}
	}
	for name, change := range map[string]func(*corev1.PersistentVolumeClaimSpec){
		"that copies a snapshot": func(s *corev1.PersistentVolumeClaimSpec) {
			s.DataSource = &corev1.TypedLocalObjectReference{APIGroup: &snapshots, Kind: "VolumeSnapshot", Name: "mine"}
		},
		"that copies a claim": func(s *corev1.PersistentVolumeClaimSpec) {
			s.DataSource = &corev1.TypedLocalObjectReference{APIGroup: &claims, Kind: "PersistentVolumeClaim", Name: "others"}
		},
		"that is filled by a populator": func(s *corev1.PersistentVolumeClaimSpec) {
			s.DataSourceRef = &corev1.TypedObjectReference{APIGroup: new("example.com"), Kind: "Image", Name: "mine"}
		},
	} {
		all[name] = Attack[*corev1.PersistentVolumeClaim]{func(c *corev1.PersistentVolumeClaim) { change(&c.Spec) }, badClone}
	}
	for key, value := range map[string]string{
		"volume.beta.kubernetes.io/storage-class":       "fast",
		"volume.kubernetes.io/selected-node":            "control-plane",
		"volume.kubernetes.io/storage-provisioner":      "example.com/other",
		"volume.beta.kubernetes.io/storage-provisioner": "example.com/other",
		"pv.kubernetes.io/bind-completed":               "yes",
		"pv.kubernetes.io/bound-by-controller":          "yes",
		"example.com/any":                               "x",
		contract.AnnotationRemoteUID:                    "x",
	} {
		all["annotated with "+key] = Attack[*corev1.PersistentVolumeClaim]{
			func(c *corev1.PersistentVolumeClaim) { c.Annotations[key] = value }, badAnnotation,
		}
	}
	for name, change := range metadata() {
		all[name] = Attack[*corev1.PersistentVolumeClaim]{
			func(c *corev1.PersistentVolumeClaim) { change.Change(&c.ObjectMeta) }, change.Wants,
		}
	}
	return all
}

// Bound returns a claim as the remote cluster has left it: others have written to it.
func Bound(claim *corev1.PersistentVolumeClaim) *corev1.PersistentVolumeClaim {
	claim = claim.DeepCopy()
	claim.Finalizers = []string{"kubernetes.io/pvc-protection", "example.com/cloning"}
	claim.Labels["example.com/team"] = "storage"
	claim.Annotations["pv.kubernetes.io/bind-completed"] = "yes"
	claim.Annotations["volume.kubernetes.io/selected-node"] = "remote-1"
	claim.Spec.VolumeName = "pvc-of-the-remote-cluster"
	claim.Status.Phase = corev1.ClaimBound
	return claim
}

// ClaimUpdates returns attacks by updates of a claim that Bound has returned.
func ClaimUpdates() map[string]Attack[*corev1.PersistentVolumeClaim] {
	all := map[string]Attack[*corev1.PersistentVolumeClaim]{
		"to take another volume": {func(c *corev1.PersistentVolumeClaim) { c.Spec.VolumeName = "of-the-victim" }, badChange},
		"to have no volume":      {func(c *corev1.PersistentVolumeClaim) { c.Spec.VolumeName = "" }, badChange},
		"to another class":       {func(c *corev1.PersistentVolumeClaim) { c.Spec.StorageClassName = new("fast") }, badChange},
		"to a class of attributes": {
			func(c *corev1.PersistentVolumeClaim) { c.Spec.VolumeAttributesClassName = new("gold") }, badChange,
		},
		"without protection": {func(c *corev1.PersistentVolumeClaim) { c.Finalizers = nil }, badProtection},
		"without the finalizer of others": {
			func(c *corev1.PersistentVolumeClaim) { c.Finalizers = c.Finalizers[:1] }, badProtection,
		},
		"without a label of others": {func(c *corev1.PersistentVolumeClaim) { delete(c.Labels, "example.com/team") }, badOrigin},
		"of another local claim":    {func(c *corev1.PersistentVolumeClaim) { c.Labels[contract.LabelUID] = "x" }, badOrigin},
		"to another node": {
			func(c *corev1.PersistentVolumeClaim) {
				c.Annotations["volume.kubernetes.io/selected-node"] = "control-plane"
			}, badAnnotation,
		},
		"without an annotation of others": {
			func(c *corev1.PersistentVolumeClaim) { delete(c.Annotations, "pv.kubernetes.io/bind-completed") }, badAnnotation,
		},
		"with another annotation": {func(c *corev1.PersistentVolumeClaim) { c.Annotations["example.com/any"] = "x" }, badAnnotation},
	}
	for name, change := range metadata() {
		all[name] = Attack[*corev1.PersistentVolumeClaim]{
			func(c *corev1.PersistentVolumeClaim) { change.Change(&c.ObjectMeta) }, "akd m", // by two policies, either of which is named
		}
	}
	return all
}

// LocalClaim returns a claim of the local cluster whose volume a node provisions.
func LocalClaim(node, namespace string) *corev1.PersistentVolumeClaim {
	return &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace,
			Name:      "data",
			UID:       types.UID(uid),
			Labels:    map[string]string{"app": "web"},
			Annotations: map[string]string{
				"volume.kubernetes.io/storage-provisioner": contract.StorageDriver,
				"volume.kubernetes.io/selected-node":       node,
			},
		},
		Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: new(StorageClass),
			AccessModes:      []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:        request("1Gi"),
		},
		Status: corev1.PersistentVolumeClaimStatus{
			Phase: corev1.ClaimPending,
			Conditions: []corev1.PersistentVolumeClaimCondition{
				{Type: corev1.PersistentVolumeClaimVolumeModifyingVolume, Status: corev1.ConditionTrue, Reason: "Others"},
			},
		},
	}
}

// ClaimStatuses returns attacks by the status of a claim that LocalClaim has returned.
func ClaimStatuses() map[string]Attack[*corev1.PersistentVolumeClaim] {
	const (
		fields     = "may change the capacity, the allocated resources and the conditions of claims only"
		conditions = "those conditions of claims only that say how a volume grows"
		meta       = "may not change the metadata of claims"
	)
	return map[string]Attack[*corev1.PersistentVolumeClaim]{
		"to be bound": {func(c *corev1.PersistentVolumeClaim) { c.Status.Phase = corev1.ClaimBound }, fields},
		"to be lost":  {func(c *corev1.PersistentVolumeClaim) { c.Status.Phase = corev1.ClaimLost }, fields},
		"to have access modes": {func(c *corev1.PersistentVolumeClaim) {
			c.Status.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany}
		}, fields},
		"to have a class of attributes": {
			func(c *corev1.PersistentVolumeClaim) { c.Status.CurrentVolumeAttributesClassName = new("gold") }, fields,
		},
		"with a condition of others": {func(c *corev1.PersistentVolumeClaim) {
			c.Status.Conditions = append(c.Status.Conditions,
				corev1.PersistentVolumeClaimCondition{Type: "example.com/Backed", Status: corev1.ConditionTrue})
		}, conditions},
		"with another condition of others": {
			func(c *corev1.PersistentVolumeClaim) { c.Status.Conditions[0].Status = corev1.ConditionFalse }, conditions,
		},
		"without a condition of others": {func(c *corev1.PersistentVolumeClaim) { c.Status.Conditions = nil }, conditions},
		"and a label":                   {func(c *corev1.PersistentVolumeClaim) { c.Labels["app"] = "db" }, meta},
		"and an annotation": {
			func(c *corev1.PersistentVolumeClaim) { c.Annotations["volume.kubernetes.io/selected-node"] = "local-1" }, meta,
		},
		"and a finalizer": {func(c *corev1.PersistentVolumeClaim) { c.Finalizers = append(c.Finalizers, "example.org/stays") }, meta},
		"and an owner": {func(c *corev1.PersistentVolumeClaim) {
			c.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "mine", UID: "mine"}}
		}, meta},
	}
}
