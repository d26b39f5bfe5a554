package attacks

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

const (
	badNode       = "may write volumes of its own node only"
	badSource     = "only without another source, mount options and other fields that it never sets"
	badSecret     = "only without Secrets and with its own attributes"
	badAffinity   = "with a node affinity that is exactly its own node"
	badClaimRef   = "only for one claim, after whose UID they are named"
	badVolumeMeta = "may label volumes with its node only, and annotate them as provisioned by actual.vk only"
	badStay       = "may give volumes no owner, and no finalizer but actual.vk/remote-claim"
	badCapacity   = "may change the capacity of volumes, and nothing else"
	badVolumeEdit = "may change the finalizer actual.vk/remote-claim of volumes, and nothing else of their metadata"
)

// Volume returns the local volume of a claim in the local namespace, as the node's akd
// makes it.
func Volume(node, namespace string) *corev1.PersistentVolume {
	name := contract.VolumeName(uid)
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{
			Name:        name,
			Labels:      map[string]string{contract.LabelNodeName: node},
			Annotations: map[string]string{"pv.kubernetes.io/provisioned-by": contract.StorageDriver},
			Finalizers:  []string{contract.FinalizerRemoteClaim},
		},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")},
			AccessModes:                   []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimDelete,
			StorageClassName:              StorageClass,
			VolumeMode:                    new(corev1.PersistentVolumeFilesystem),
			ClaimRef: &corev1.ObjectReference{
				APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: namespace, Name: "data", UID: uid,
			},
			NodeAffinity: on(corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{isNode(node)}}),
			PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{
				Driver:       contract.StorageDriver,
				VolumeHandle: contract.VolumeHandle(contract.RemoteNamespace(node, namespace), name),
				VolumeAttributes: map[string]string{
					contract.AttributeRemoteUID: "of-the-remote-claim", contract.AttributeRemoteClusterUID: "of-the-remote-cluster",
				},
			}},
		},
	}
}

func on(terms ...corev1.NodeSelectorTerm) *corev1.VolumeNodeAffinity {
	return &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: terms}}
}

func isNode(nodes ...string) corev1.NodeSelectorRequirement {
	return corev1.NodeSelectorRequirement{Key: contract.LabelNodeName, Operator: corev1.NodeSelectorOpIn, Values: nodes}
}

// Volumes returns attacks by volumes that the akd of a node makes. The victim is another
// node.
func Volumes(node, victim string) map[string]Attack[*corev1.PersistentVolume] {
	all := map[string]Attack[*corev1.PersistentVolume]{
		"of another driver": {func(v *corev1.PersistentVolume) { v.Spec.CSI.Driver = "csi.example.com" }, badNode},
		"of another node": {func(v *corev1.PersistentVolume) {
			v.Spec.CSI.VolumeHandle = contract.VolumeHandle(contract.RemoteNamespace(victim, "home"), v.Name)
		}, badNode},
		"of no node":          {func(v *corev1.PersistentVolume) { v.Spec.CSI.VolumeHandle = "kube-system/" + v.Name }, badNode},
		"of no claim":         {func(v *corev1.PersistentVolume) { v.Spec.CSI.VolumeHandle = node + "-0123456789abcdef" }, badNode},
		"labelled as another": {func(v *corev1.PersistentVolume) { v.Labels[contract.LabelNodeName] = victim }, badNode},
		"without a label":     {func(v *corev1.PersistentVolume) { v.Labels = nil }, badNode},
		"of another remote claim": {
			func(v *corev1.PersistentVolume) { v.Spec.CSI.VolumeHandle += "0" }, "that are named as their remote claim",
		},
		"labelled with a zone":  {func(v *corev1.PersistentVolume) { v.Labels[corev1.LabelTopologyZone] = "a" }, badVolumeMeta},
		"with a finalizer":      {func(v *corev1.PersistentVolume) { v.Finalizers = []string{"example.org/stays"} }, badStay},
		"with more finalizers":  {func(v *corev1.PersistentVolume) { v.Finalizers = append(v.Finalizers, "example.org/stays") }, badStay},
		"with mount options":    {func(v *corev1.PersistentVolume) { v.Spec.MountOptions = []string{"suid"} }, badSource},
		"with attributes":       {func(v *corev1.PersistentVolume) { v.Spec.VolumeAttributesClassName = new("gold") }, badSource},
		"with other attributes": {func(v *corev1.PersistentVolume) { v.Spec.CSI.VolumeAttributes["server"] = "192.0.2.1" }, badSecret},
		"with a file system":    {func(v *corev1.PersistentVolume) { v.Spec.CSI.FSType = "ext4" }, badSecret},
		"with an owner": {func(v *corev1.PersistentVolume) {
			v.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: "local-1", UID: "mine"}}
		}, badStay},
	}
	for name, source := range volumesSources() {
		all["of kind "+name] = Attack[*corev1.PersistentVolume]{
			func(v *corev1.PersistentVolume) { v.Spec.PersistentVolumeSource = source }, badNode,
		}
	}
	for name, change := range secretRefs() {
		all["with "+name] = Attack[*corev1.PersistentVolume]{func(v *corev1.PersistentVolume) { change(v.Spec.CSI) }, badSecret}
	}
	for name, affinity := range volumeAffinities(node, victim) {
		all["for "+name] = Attack[*corev1.PersistentVolume]{
			func(v *corev1.PersistentVolume) { v.Spec.NodeAffinity = affinity }, badAffinity,
		}
	}
	for name, change := range claimRefs() {
		all[name] = Attack[*corev1.PersistentVolume]{change, badClaimRef}
	}
	for key, value := range map[string]string{
		contract.AnnotationAdoptedUID:                           "of-another",
		"pv.kubernetes.io/bound-by-controller":                  "yes",
		"pv.kubernetes.io/provisioned-by":                       "csi.example.com",
		"volume.kubernetes.io/provisioner-deletion-secret-name": "any",
		"volume.alpha.kubernetes.io/node-affinity":              "{}",
		"pv.beta.kubernetes.io/gid":                             "0",
		"pv.kubernetes.io/migrated-to":                          "csi.example.com",
		"volume.beta.kubernetes.io/storage-class":               "fast",
		"kubernetes.io/createdby":                               "x",
		contract.Domain + "any":                                 "x",
	} {
		all["annotated with "+key] = Attack[*corev1.PersistentVolume]{
			func(v *corev1.PersistentVolume) { v.Annotations[key] = value }, badVolumeMeta,
		}
	}
	return all
}

// secretRefs open a Secret to the nodes of pods.
func secretRefs() map[string]func(*corev1.CSIPersistentVolumeSource) {
	secret := &corev1.SecretReference{Namespace: metav1.NamespaceSystem, Name: "any"}
	return map[string]func(*corev1.CSIPersistentVolumeSource){
		"controllerPublishSecretRef": func(s *corev1.CSIPersistentVolumeSource) { s.ControllerPublishSecretRef = secret },
		"nodeStageSecretRef":         func(s *corev1.CSIPersistentVolumeSource) { s.NodeStageSecretRef = secret },
		"nodePublishSecretRef":       func(s *corev1.CSIPersistentVolumeSource) { s.NodePublishSecretRef = secret },
		"controllerExpandSecretRef":  func(s *corev1.CSIPersistentVolumeSource) { s.ControllerExpandSecretRef = secret },
		"nodeExpandSecretRef":        func(s *corev1.CSIPersistentVolumeSource) { s.NodeExpandSecretRef = secret },
	}
}

// volumesSources are root on the node that mounts them, or lead a node elsewhere.
func volumesSources() map[string]corev1.PersistentVolumeSource {
	return map[string]corev1.PersistentVolumeSource{
		"hostPath": {HostPath: &corev1.HostPathVolumeSource{Path: "/"}},
		"local":    {Local: &corev1.LocalVolumeSource{Path: "/"}},
		"nfs":      {NFS: &corev1.NFSVolumeSource{Server: "192.0.2.1", Path: "/"}},
		"iscsi": {ISCSI: &corev1.ISCSIPersistentVolumeSource{
			TargetPortal: "192.0.2.1:3260", IQN: "iqn.2001-04.com.example:storage", Lun: 0,
		}},
		"fc": {FC: &corev1.FCVolumeSource{TargetWWNs: []string{"50060e801049cfd1"}, Lun: new(int32)}},
	}
}

func volumeAffinities(node, victim string) map[string]*corev1.VolumeNodeAffinity {
	own := corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{isNode(node)}}
	term := func(requirements ...corev1.NodeSelectorRequirement) corev1.NodeSelectorTerm {
		return corev1.NodeSelectorTerm{MatchExpressions: requirements}
	}
	exists := corev1.NodeSelectorRequirement{Key: contract.LabelNodeName, Operator: corev1.NodeSelectorOpExists}
	host := corev1.NodeSelectorRequirement{Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{node}}
	other := isNode(victim)
	other.Operator = corev1.NodeSelectorOpNotIn
	field := corev1.NodeSelectorRequirement{Key: metav1.ObjectNameField, Operator: corev1.NodeSelectorOpIn, Values: []string{node}}
	return map[string]*corev1.VolumeNodeAffinity{
		"all nodes":           nil,
		"the victim's node":   on(term(isNode(victim))),
		"two nodes":           on(term(isNode(node, victim))),
		"either node":         on(own, term(isNode(victim))),
		"any such node":       on(term(exists)),
		"all but one":         on(term(other)),
		"a host":              on(term(host)),
		"the node and a host": on(term(isNode(node), host)),
		"the node and its name": on(corev1.NodeSelectorTerm{
			MatchExpressions: own.MatchExpressions, MatchFields: []corev1.NodeSelectorRequirement{field},
		}),
	}
}

// claimRefs let a volume wait for a claim of somebody's choice.
func claimRefs() map[string]func(*corev1.PersistentVolume) {
	return map[string]func(*corev1.PersistentVolume){
		"for every claim": func(v *corev1.PersistentVolume) { v.Spec.ClaimRef = nil },
		"for every claim of a name": func(v *corev1.PersistentVolume) {
			v.Spec.ClaimRef.Namespace, v.Spec.ClaimRef.UID = metav1.NamespaceSystem, ""
		},
		"for another claim": func(v *corev1.PersistentVolume) {
			v.Spec.ClaimRef.Namespace, v.Spec.ClaimRef.UID = metav1.NamespaceSystem, "another"
		},
		"for something else": func(v *corev1.PersistentVolume) { v.Spec.ClaimRef.Kind = "Pod" },
		"for a part":         func(v *corev1.PersistentVolume) { v.Spec.ClaimRef.FieldPath = "spec" },
	}
}

// VolumeUpdates returns attacks by updates of a volume that Volume has returned, which the
// API server itself allows.
func VolumeUpdates() map[string]Attack[*corev1.PersistentVolume] {
	all := map[string]Attack[*corev1.PersistentVolume]{
		"to be deleted": {func(v *corev1.PersistentVolume) {
			v.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimRetain
		}, badCapacity},
		"to be for another claim": {func(v *corev1.PersistentVolume) { v.Spec.ClaimRef.UID = "another" }, badCapacity},
		"to be for every claim":   {func(v *corev1.PersistentVolume) { v.Spec.ClaimRef = nil }, badCapacity},
		"to another class":        {func(v *corev1.PersistentVolume) { v.Spec.StorageClassName = "fast" }, badCapacity},
		"to be read-write-many": {func(v *corev1.PersistentVolume) {
			v.Spec.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany}
		}, badCapacity},
		"with mount options": {func(v *corev1.PersistentVolume) { v.Spec.MountOptions = []string{"suid"} }, badCapacity},
		"with a finalizer": {
			func(v *corev1.PersistentVolume) { v.Finalizers = append(v.Finalizers, "example.org/stays") }, badVolumeEdit,
		},
		"without protection": {func(v *corev1.PersistentVolume) { v.Finalizers = []string{contract.FinalizerRemoteClaim} }, badVolumeEdit},
		"with an owner": {func(v *corev1.PersistentVolume) {
			v.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: "local-1", UID: "mine"}}
		}, badVolumeEdit},
		"to the victim": {func(v *corev1.PersistentVolume) { v.Labels[contract.LabelNodeName] = "thief-b" }, badVolumeEdit},
		"to be adopted": {
			func(v *corev1.PersistentVolume) { v.Annotations[contract.AnnotationAdoptedUID] = "of-another" }, badVolumeEdit,
		},
		"to be nobody's": {func(v *corev1.PersistentVolume) { v.Annotations = nil }, badVolumeEdit},
	}
	return all
}
