package translate

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/component-helpers/storage/ephemeral"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/internal/disclosure"
	"github.com/actual-kubelets/actual-kubelets/pkg/internal/volume"
)

// Reasons of events on local claims, of their condition contract.ConditionRemoteBound, and
// of conditions of pods that wait for them.
const (
	// ReasonProvisioningFailed and ReasonProvisioningSucceeded are those of every external
	// provisioner.
	ReasonProvisioningFailed    = "ProvisioningFailed"
	ReasonProvisioningSucceeded = "ProvisioningSucceeded"
	// ReasonResizeFailed means that the remote cluster refuses another size.
	ReasonResizeFailed = "VolumeResizeFailed"
	// ReasonRemoteClaimBound means that the remote claim has its storage.
	ReasonRemoteClaimBound = "Bound"
	// ReasonRemoteClaimWaits means that it will have it with the first pod, and
	// ReasonRemoteClaimPending that the remote cluster has not provided it yet.
	ReasonRemoteClaimWaits   = "WaitForFirstConsumer"
	ReasonRemoteClaimPending = "Pending"
	// ReasonRemoteClaimLost means that the remote claim is gone, and
	// ReasonRemoteClaimEnding that somebody deletes it.
	ReasonRemoteClaimLost   = "RemoteClaimLost"
	ReasonRemoteClaimEnding = "RemoteClaimEnding"
	// ReasonRemoteClaimUnknown means that akd may not read the remote claims.
	ReasonRemoteClaimUnknown = "RemoteClaimUnknown"
	// ReasonRemoteClaimForeign means that a remote claim that akd did not create has the
	// name of the one that it would.
	ReasonRemoteClaimForeign = "RemoteClaimForeign"
	// ReasonClaimNotBound means that a pod waits for a claim without a volume.
	ReasonClaimNotBound = "ClaimNotBound"
)

// Claim returns the remote claim to be created for a local one. It begins with the data of the
// remote claim source, unless that is empty.
func (s Site) Claim(local *corev1.PersistentVolumeClaim, remoteClass, source string) *corev1.PersistentVolumeClaim {
	claim := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{
			Name:        contract.VolumeName(local.UID),
			Namespace:   s.name,
			Labels:      s.Labels(local.Namespace, local.UID),
			Annotations: map[string]string{contract.AnnotationClaim: local.Name},
		},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes:      slices.Clone(local.Spec.AccessModes),
			Resources:        *local.Spec.Resources.DeepCopy(),
			StorageClassName: &remoteClass,
			VolumeMode:       local.Spec.VolumeMode,
		},
	}
	if source != "" {
		claim.Spec.DataSource = &corev1.TypedLocalObjectReference{Kind: kindClaim, Name: source}
	}
	return claim
}

const kindClaim = "PersistentVolumeClaim"

// CloneOf returns the name of the local claim with whose data a claim begins, or an empty string.
func CloneOf(claim *corev1.PersistentVolumeClaim) string {
	if source := claim.Spec.DataSource; source != nil && source.Kind == kindClaim {
		return source.Name
	}
	return ""
}

// beginsOtherwise reports whether a claim begins with anything but nothing or the data of a claim
// in its namespace. The API server keeps dataSource and dataSourceRef equal, unless the latter
// names another namespace or kind.
// https://kubernetes.io/docs/concepts/storage/persistent-volumes/#data-source-references
func beginsOtherwise(spec *corev1.PersistentVolumeClaimSpec) bool {
	if spec.DataSource == nil && spec.DataSourceRef == nil {
		return false
	}
	ref := spec.DataSourceRef
	return spec.DataSource == nil || spec.DataSource.Kind != kindClaim || ref != nil && (ref.Kind != kindClaim || ref.Namespace != nil)
}

// RefuseSource returns a *Refusal for a claim that is to begin with the data of another one, which
// has no remote claim in the same remote namespace, or nil. The remote cluster goes by the name of
// that claim alone: only a claim that is bound has a volume, and only a remote claim with the
// volume's UID has its data.
func (s Site) RefuseSource(claim *corev1.PersistentVolumeClaim, source VolumeOf) error {
	refused := func(format string, args ...any) error {
		return &Refusal{ReasonProvisioningFailed, fmt.Sprintf("The claim begins with the data of PersistentVolumeClaim %q, ", CloneOf(claim)) +
			fmt.Sprintf(format, args...) + "."}
	}
	if source.Claim == nil || source.Claim.Status.Phase != corev1.ClaimBound || source.Volume == nil ||
		source.Volume.Spec.ClaimRef == nil || source.Volume.Spec.ClaimRef.UID != source.Claim.UID {
		return refused("which is not bound to a volume")
	}
	node, remote, ours := volume.Of(source.Volume)
	switch {
	case !ours:
		return refused("whose volume %s is storage of the local cluster: the remote cluster cannot read it", source.Volume.Name)
	case node != s.Node || remote.Namespace != s.name:
		return refused("whose volume is on node %s, remote namespace %s: it must be in the same", node, remote.Namespace)
	case source.Remote == nil || source.Remote.UID != volume.Adopted(source.Volume):
		return refused("whose remote claim %s is not there", contract.VolumeHandle(remote.Namespace, remote.Claim))
	case source.Remote.DeletionTimestamp != nil:
		return refused("whose remote claim %s is being deleted", contract.VolumeHandle(remote.Namespace, remote.Claim))
	}
	return nil
}

// Volume returns the local volume to be created for a local claim and its remote one.
func (s Site) Volume(
	local, remote *corev1.PersistentVolumeClaim, class *storagev1.StorageClass, remoteCluster types.UID,
) *corev1.PersistentVolume {
	spec := volume.Spec{
		Node:        s.Node,
		Remote:      volume.Remote{Namespace: s.name, Claim: remote.Name, UID: remote.UID, ClusterUID: remoteCluster},
		Claim:       volume.Claim{Namespace: local.Namespace, Name: local.Name, UID: local.UID},
		Class:       class.Name,
		AccessModes: local.Spec.AccessModes,
		Mode:        local.Spec.VolumeMode,
		Capacity:    volume.Size(remote),
		Reclaim:     corev1.PersistentVolumeReclaimDelete, // the default of a class
	}
	if class.ReclaimPolicy != nil {
		spec.Reclaim = *class.ReclaimPolicy
	}
	return volume.New(spec)
}

// RemoteClass returns the remote StorageClass of a local one, or a *Refusal if the node has no
// such class or cannot provide the claim.
func (m *Mapper) RemoteClass(claim *corev1.PersistentVolumeClaim, class *storagev1.StorageClass) (string, error) {
	name := class.Parameters[contract.ParameterRemoteClass]
	spec := &claim.Spec
	refused := ""
	switch {
	case name == "":
		refused = fmt.Sprintf("StorageClass %q names no StorageClass of the remote cluster: set its parameter %s",
			class.Name, contract.ParameterRemoteClass)
	case !slices.Contains(m.StorageClasses, name):
		refused = fmt.Sprintf("StorageClass %q names remote class %q, which node %s was not installed with: "+
			"kubectl actual install %s --storage-class %s adds it", class.Name, name, m.Node, m.Node, name)
	case len(class.MountOptions) > 0:
		refused = fmt.Sprintf("StorageClass %q has mount options, which remote claims cannot have: "+
			"set them in the StorageClass of the remote cluster", class.Name)
	case spec.Selector != nil:
		refused = fmt.Sprintf("claims of StorageClass %q cannot have a selector: their volumes are made, not found", class.Name)
	case beginsOtherwise(spec):
		refused = fmt.Sprintf("claims of StorageClass %q can begin with the data of another claim of the namespace, but of nothing else: "+
			"change dataSource", class.Name)
	case spec.VolumeAttributesClassName != nil && *spec.VolumeAttributesClassName != "":
		refused = fmt.Sprintf("claims of StorageClass %q cannot have a VolumeAttributesClass yet: remove volumeAttributesClassName", class.Name)
	}
	if refused == "" {
		return name, nil
	}
	return "", &Refusal{ReasonProvisioningFailed, strings.ToUpper(refused[:1]) + refused[1:] + "."}
}

// CommitPatch marks the remote claim as that of a local volume: from now on, pods may have
// written to it. It applies to the remote claim of that UID and to no other.
func CommitPatch(remote *corev1.PersistentVolumeClaim, local *corev1.PersistentVolume) []byte {
	return fmt.Appendf(nil, `{"metadata":{"uid":%q,"annotations":{%q:%q}}}`, remote.UID, contract.AnnotationVolume, local.UID)
}

// LetGoPatch takes akd's finalizer off the local volume of that UID and state.
func LetGoPatch(local *corev1.PersistentVolume) []byte {
	return fmt.Appendf(nil, `{"metadata":{"uid":%q,"resourceVersion":%q,"$deleteFromPrimitiveList/finalizers":[%q]}}`,
		local.UID, local.ResourceVersion, contract.FinalizerRemoteClaim)
}

// RequestPatch gives the remote claim the size that the local one requests, or is nil if nothing
// is to be done. A claim that is not bound yet cannot be changed. A smaller size takes back a
// request that the remote cluster has not met, which is allowed as long as it is larger than
// what is there.
// https://github.com/kubernetes/enhancements/tree/master/keps/sig-storage/1790-recover-resize-failure
func RequestPatch(local, remote *corev1.PersistentVolumeClaim) []byte {
	want, have := local.Spec.Resources.Requests[corev1.ResourceStorage], remote.Spec.Resources.Requests[corev1.ResourceStorage]
	size := remote.Status.Capacity[corev1.ResourceStorage]
	if remote.Status.Phase != corev1.ClaimBound || want.IsZero() || want.Cmp(have) == 0 || want.Cmp(have) < 0 && want.Cmp(size) <= 0 {
		return nil
	}
	return fmt.Appendf(nil, `{"metadata":{"uid":%q},"spec":{"resources":{"requests":{%q:%q}}}}`,
		remote.UID, corev1.ResourceStorage, want.String())
}

// CapacityPatch gives the local volume the size of the disk of the bound remote claim, or is nil
// if it has it. While that is resized, the volume gets no smaller: a smaller request says
// nothing of a disk that has grown already.
func CapacityPatch(local *corev1.PersistentVolume, remote *corev1.PersistentVolumeClaim) []byte {
	want, resizes := volume.Disk(remote)
	have := local.Spec.Capacity[corev1.ResourceStorage]
	if order := want.Cmp(have); remote.Status.Phase != corev1.ClaimBound || order == 0 || order < 0 && resizes {
		return nil
	}
	return fmt.Appendf(nil, `{"metadata":{"uid":%q,"resourceVersion":%q},"spec":{"capacity":{%q:%q}}}`,
		local.UID, local.ResourceVersion, corev1.ResourceStorage, want.String())
}

// RemoteBound is the state of a remote claim for the owner of the local one.
type RemoteBound struct {
	// Reason and Message are those of the condition contract.ConditionRemoteBound, which is
	// true if the reason is ReasonRemoteClaimBound.
	Reason  string
	Message string
}

// BoundState returns what to tell of a remote claim that is there.
func (m *Mapper) BoundState(s VolumeState) RemoteBound {
	switch {
	case s.Remote.DeletionTimestamp != nil:
		return RemoteBound{ReasonRemoteClaimEnding, fmt.Sprintf(
			"The remote claim %s/%s of this volume is being deleted, and with it the data: save it while pods still use it.",
			s.Remote.Namespace, s.Remote.Name)}
	case s.Remote.Status.Phase == corev1.ClaimBound:
		return RemoteBound{ReasonRemoteClaimBound, fmt.Sprintf("The data is in the remote claim %s/%s.", s.Remote.Namespace, s.Remote.Name)}
	case s.Late:
		return RemoteBound{ReasonRemoteClaimWaits, "The remote cluster provides the storage when the first pod uses it."}
	}
	return RemoteBound{ReasonRemoteClaimPending, "The remote cluster has not provided the storage yet."}
}

// LostState returns what to tell of a remote claim that is not there any more.
func (m *Mapper) LostState(s VolumeState) RemoteBound {
	_, source, _ := volume.Of(s.Volume)
	handle := contract.VolumeHandle(source.Namespace, source.Claim)
	if source.ClusterUID != s.RemoteClusterUID {
		return RemoteBound{ReasonRemoteClaimLost, fmt.Sprintf(
			"The data of this volume is in the claim %s of another remote cluster (UID %s), which node %s does not use any more: "+
				"install the node with that cluster, or delete the PersistentVolumeClaim to give the data up.", handle, source.ClusterUID, m.Node)}
	}
	return RemoteBound{ReasonRemoteClaimLost, fmt.Sprintf(
		"The remote claim %s (UID %s) of this volume is gone: akd makes no empty one in its place. "+
			"If it was restored, kubectl actual volumes adopt %s; to give it up, delete the PersistentVolumeClaim.",
		handle, volume.Adopted(s.Volume), s.Volume.Name)}
}

// resizing are the types of conditions of a claim that its resizer and its kubelet own.
// https://github.com/kubernetes/kubernetes/blob/v1.37.1/staging/src/k8s.io/api/core/v1/types.go (PersistentVolumeClaimConditionType)
func resizing() []corev1.PersistentVolumeClaimConditionType {
	return []corev1.PersistentVolumeClaimConditionType{
		corev1.PersistentVolumeClaimResizing, corev1.PersistentVolumeClaimFileSystemResizePending,
		corev1.PersistentVolumeClaimControllerResizeError, corev1.PersistentVolumeClaimNodeResizeError,
	}
}

// ClaimStatusPatch is the strategic merge patch of the status of a local claim, or nil if
// nothing changes. remote may be nil. Conditions of others stay.
func (m *Mapper) ClaimStatusPatch(local, remote *corev1.PersistentVolumeClaim, bound RemoteBound, now metav1.Time) ([]byte, error) {
	status := map[string]any{}
	var conditions []map[string]any
	if want := boundCondition(local, bound, now); want != nil {
		conditions = append(conditions, conditionFields(want))
	}
	if remote != nil && remote.Status.Phase == corev1.ClaimBound && local.Status.Phase == corev1.ClaimBound {
		conditions = append(conditions, m.resizeConditions(local, remote)...)
		if !apiequality.Semantic.DeepEqual(local.Status.Capacity, remote.Status.Capacity) {
			status["capacity"] = remote.Status.Capacity
		}
		maps.Copy(status, allocatedFields(local, remote))
	}
	if len(conditions) > 0 {
		status["conditions"] = conditions
	}
	if len(status) == 0 {
		return nil, nil
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": local.UID, "resourceVersion": local.ResourceVersion},
		"status":   status,
	})
	if err != nil {
		return nil, fmt.Errorf("encode status of local persistentvolumeclaim %s/%s: %w", local.Namespace, local.Name, err)
	}
	return patch, nil
}

// allocatedFields returns what changes of what a resize in progress has allocated.
func allocatedFields(local, remote *corev1.PersistentVolumeClaim) map[string]any {
	fields := map[string]any{}
	if !apiequality.Semantic.DeepEqual(local.Status.AllocatedResources, remote.Status.AllocatedResources) {
		fields["allocatedResources"] = replacement(local.Status.AllocatedResources, remote.Status.AllocatedResources)
	}
	if !maps.Equal(local.Status.AllocatedResourceStatuses, remote.Status.AllocatedResourceStatuses) {
		fields["allocatedResourceStatuses"] = replacement(local.Status.AllocatedResourceStatuses, remote.Status.AllocatedResourceStatuses)
	}
	return fields
}

// replacement returns a merge patch from one map to another.
func replacement[M ~map[K]V, K ~string, V any](have, want M) map[K]any {
	patch := map[K]any{}
	for key := range have {
		patch[key] = nil
	}
	for key, value := range want {
		patch[key] = value
	}
	return patch
}

// boundCondition returns the condition contract.ConditionRemoteBound, or nil if the claim has
// it.
func boundCondition(local *corev1.PersistentVolumeClaim, bound RemoteBound, now metav1.Time) *corev1.PersistentVolumeClaimCondition {
	if bound.Reason == "" {
		return nil
	}
	want := &corev1.PersistentVolumeClaimCondition{
		Type:               contract.ConditionRemoteBound,
		Status:             corev1.ConditionFalse,
		LastTransitionTime: now,
		Reason:             bound.Reason,
		Message:            bound.Message,
	}
	if bound.Reason == ReasonRemoteClaimBound {
		want.Status = corev1.ConditionTrue
	}
	have := volume.Condition(local, want.Type)
	switch {
	case have == nil:
		return want
	case have.Status == want.Status && have.Reason == want.Reason && have.Message == want.Message:
		return nil
	case have.Status == want.Status:
		want.LastTransitionTime = have.LastTransitionTime
	}
	return want
}

// resizeConditions returns what changes of the conditions that the remote claim decides about.
func (m *Mapper) resizeConditions(local, remote *corev1.PersistentVolumeClaim) []map[string]any {
	var changed []map[string]any
	for _, kind := range resizing() {
		have, want := volume.Condition(local, kind), volume.Condition(remote, kind)
		switch {
		case want == nil && have == nil:
		case want == nil:
			changed = append(changed, map[string]any{"type": kind, "$patch": "delete"})
		default:
			told := *want
			told.Message = m.claimText(local, remote, want.Message)
			if have == nil || !apiequality.Semantic.DeepEqual(*have, told) {
				changed = append(changed, conditionFields(&told))
			}
		}
	}
	return changed
}

func conditionFields(condition *corev1.PersistentVolumeClaimCondition) map[string]any {
	fields := map[string]any{
		"type": condition.Type, "status": condition.Status, "reason": condition.Reason, "message": condition.Message,
		"lastTransitionTime": condition.LastTransitionTime,
	}
	if !condition.LastProbeTime.IsZero() {
		fields["lastProbeTime"] = condition.LastProbeTime
	}
	return fields
}

// ClaimText returns what local users may read of an error about the remote claim of a local
// one.
func (m *Mapper) ClaimText(local *corev1.PersistentVolumeClaim, text string) string {
	return m.claimText(local, nil, text)
}

func (m *Mapper) claimText(local, remote *corev1.PersistentVolumeClaim, text string) string {
	pairs := append(m.namespaceNames(local.Namespace), [2]string{contract.VolumeName(local.UID), local.Name})
	if remote != nil {
		pairs = append(pairs, [2]string{remote.Name, local.Name})
	}
	return disclosure.Text(pairs.translate(text))
}

// MountedClaim is the remote claim of a volume of a pod.
type MountedClaim struct {
	// Name is that of the remote claim.
	Name string
	// OneMachine says that pods on two machines cannot mount it at the same time.
	OneMachine bool
}

// ClaimNames returns the names of the local claims of a pod by its volumes, as a kubelet finds
// them.
func ClaimNames(local *corev1.Pod) map[string]string {
	var claims map[string]string
	for i := range local.Spec.Volumes {
		one := &local.Spec.Volumes[i]
		var name string
		switch {
		case one.PersistentVolumeClaim != nil:
			name = one.PersistentVolumeClaim.ClaimName
		case one.Ephemeral != nil:
			name = ephemeral.VolumeClaimName(local, one)
		default:
			continue
		}
		if claims == nil {
			claims = map[string]string{}
		}
		claims[one.Name] = name
	}
	return claims
}

// VolumeOf is what a pod finds when it looks for one of its volumes.
type VolumeOf struct {
	// Claim is the local claim, Volume the local volume that it names, Remote the remote
	// claim. Each may be nil.
	Claim  *corev1.PersistentVolumeClaim
	Volume *corev1.PersistentVolume
	Remote *corev1.PersistentVolumeClaim
}

// MountClaim returns the remote claim of a volume of a pod, or a *Refusal that says why the
// pod has to wait for it or cannot have it. The checks are those of a kubelet
// (getPVCExtractPV).
// https://github.com/kubernetes/kubernetes/blob/v1.37.1/pkg/kubelet/volumemanager/populator/desired_state_of_world_populator.go
func (s Site) MountClaim(local *corev1.Pod, volumeName, claimName string, found VolumeOf) (MountedClaim, error) {
	if refusal := s.refuseClaim(local, volumeName, claimName, found.Claim); refusal != nil {
		return MountedClaim{}, refusal
	}
	refused := func(reason, format string, args ...any) (MountedClaim, error) {
		return MountedClaim{}, &Refusal{reason, fmt.Sprintf("Volume %q uses PersistentVolumeClaim %q, ", volumeName, claimName) +
			fmt.Sprintf(format, args...) + "."}
	}
	node, source, ours := "", volume.Remote{}, false
	if found.Volume != nil {
		node, source, ours = volume.Of(found.Volume)
	}
	switch {
	case found.Volume == nil:
		return refused(ReasonClaimNotBound, "whose volume %s does not exist", found.Claim.Spec.VolumeName)
	case !ours:
		return refused(ReasonUnsupportedVolume, "whose volume %s is storage of the local cluster, which remote nodes cannot mount: "+
			"use a StorageClass of this node (kubectl get storageclasses), or run the pod on another node", found.Volume.Name)
	case node != s.Node:
		return refused(ReasonUnsupportedVolume, "whose volume is on node %s: the pod can run there only", node)
	case found.Volume.Spec.ClaimRef == nil || found.Volume.Spec.ClaimRef.UID != found.Claim.UID:
		return refused(ReasonClaimNotBound, "whose volume %s is not bound to it", found.Volume.Name)
	case source.Namespace != s.name:
		return refused(ReasonUnsupportedVolume, "whose data is the remote claim %s, which serves another local namespace "+
			"and cannot be mounted from namespace %s: copy the data, or use a claim in the namespace of the data",
			contract.VolumeHandle(source.Namespace, source.Claim), local.Namespace)
	}
	remote := found.Remote
	switch {
	case remote == nil || remote.UID != volume.Adopted(found.Volume):
		return refused(ReasonRemoteClaimLost, "whose remote claim %s is not there: "+
			"kubectl describe persistentvolumeclaim %s has the condition %s with what to do",
			contract.VolumeHandle(source.Namespace, source.Claim), claimName, contract.ConditionRemoteBound)
	case remote.DeletionTimestamp != nil:
		return refused(ReasonRemoteClaimEnding, "whose remote claim %s is being deleted",
			contract.VolumeHandle(source.Namespace, source.Claim))
	case remote.Annotations[contract.AnnotationVolume] != string(found.Volume.UID):
		return refused(ReasonClaimNotBound, "whose remote claim is not marked as its own yet")
	}
	return MountedClaim{Name: remote.Name, OneMachine: slices.Contains(remote.Spec.AccessModes, corev1.ReadWriteOnce)}, nil
}

// refuseClaim returns a *Refusal if the local claim of a pod is not ready for it.
func (s Site) refuseClaim(local *corev1.Pod, volumeName, claimName string, claim *corev1.PersistentVolumeClaim) *Refusal {
	refused := func(format string, args ...any) *Refusal {
		return &Refusal{ReasonClaimNotBound, fmt.Sprintf("Volume %q uses PersistentVolumeClaim %q, ", volumeName, claimName) +
			fmt.Sprintf(format, args...) + "."}
	}
	if claim == nil {
		return refused("which does not exist")
	}
	for i := range local.Spec.Volumes {
		if one := &local.Spec.Volumes[i]; one.Name == volumeName && one.Ephemeral != nil {
			if err := ephemeral.VolumeIsForPod(local, claim); err != nil {
				return refused("which was not created for the pod: delete or rename that claim")
			}
		}
	}
	switch {
	case claim.DeletionTimestamp != nil:
		return refused("which is being deleted")
	case claim.Spec.VolumeName == "" || claim.Status.Phase != corev1.ClaimBound:
		return refused("which is not bound to a volume yet: kubectl describe persistentvolumeclaim %s says why", claimName)
	}
	return nil
}

// mountClaims makes volumes with local claims volumes with remote ones.
func mountClaims(volumes []corev1.Volume, claims map[string]MountedClaim) {
	for i := range volumes {
		one := &volumes[i]
		claim, ok := claims[one.Name]
		switch {
		case !ok:
		case one.PersistentVolumeClaim != nil:
			one.PersistentVolumeClaim.ClaimName = claim.Name
		case one.Ephemeral != nil:
			one.Ephemeral = nil
			one.PersistentVolumeClaim = &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim.Name}
		}
	}
}

// colocate makes a pod run on the machine of the other pods that use the same claims, where
// only one machine can mount them: one virtual node is many machines. The first such pod may
// run anywhere, because it matches its own term.
func (m *Mapper) colocate(remote *corev1.Pod, claims map[string]MountedClaim) {
	if !m.Colocate {
		return
	}
	shared := map[string]bool{}
	for _, claim := range claims {
		if claim.OneMachine {
			shared[contract.LabelVolumePrefix+claim.Name] = true
		}
	}
	for _, label := range slices.Sorted(maps.Keys(shared)) {
		remote.Labels[label] = ""
		if remote.Spec.Affinity == nil {
			remote.Spec.Affinity = &corev1.Affinity{}
		}
		if remote.Spec.Affinity.PodAffinity == nil {
			remote.Spec.Affinity.PodAffinity = &corev1.PodAffinity{}
		}
		terms := &remote.Spec.Affinity.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution
		*terms = append(*terms, corev1.PodAffinityTerm{
			LabelSelector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
				{Key: label, Operator: metav1.LabelSelectorOpExists},
			}},
			TopologyKey: corev1.LabelHostname,
		})
	}
}

// TrimClaim removes what akd does not read of a claim.
func TrimClaim(claim *corev1.PersistentVolumeClaim) {
	delete(claim.Annotations, corev1.LastAppliedConfigAnnotation)
}
