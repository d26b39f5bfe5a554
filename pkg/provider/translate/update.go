package translate

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// Patch is a strategic merge patch of a remote pod.
type Patch struct {
	Subresource string // "", "ephemeralcontainers" or "resize"
	Data        []byte // includes metadata.uid as precondition
}

// differs reports whether Update has patches.
func (m *Mapper) differs(local, remote *corev1.Pod) bool {
	if m.upToDate(local, remote) {
		return false
	}
	patches, err := m.Update(local, remote, PodContext{})
	return err != nil || len(patches) > 0
}

// upToDate reports whether the local pod has been applied completely. Every
// reconcile calls it, and usually it returns true.
func (m *Mapper) upToDate(local, remote *corev1.Pod) bool {
	return len(m.missingEphemeral(local, remote)) == 0 && remote.Annotations[contract.AnnotationApplied] == m.applied(local)
}

// Update returns the patches that bring a remote pod up to date with the local pod,
// in the fields that the API allows to change: images, labels, annotations,
// tolerations, activeDeadlineSeconds, ephemeral containers, cpu and memory. It
// patches only what changed since the last update, so that changes made in the
// remote cluster stay. Apply the patches in order; each is complete by itself.
// https://github.com/kubernetes/kubernetes/blob/v1.37.1/pkg/apis/core/validation/validation.go (ValidatePodUpdate)
func (m *Mapper) Update(local, remote *corev1.Pod, context PodContext) ([]Patch, error) {
	if !m.OwnsPodFor(remote, local) {
		return nil, fmt.Errorf("update remote pod %s/%s: it does not belong to local pod %s/%s",
			remote.Namespace, remote.Name, local.Namespace, local.Name)
	}
	u := &update{
		mapper: m,
		local:  local,
		remote: remote,
		want:   m.record(local),
		have:   &record{},

		context: context,
	}
	if text := remote.Annotations[contract.AnnotationApplied]; text != "" {
		// Without a valid record, everything is compared.
		if json.Unmarshal([]byte(text), u.have) != nil {
			u.have = &record{}
		}
	}
	type part struct {
		subresource string
		body        jsonObject
	}
	resize := u.resize()
	parts := []part{{"", u.main()}}
	for _, body := range u.ephemeral() {
		parts = append(parts, part{"ephemeralcontainers", body})
	}
	parts = append(parts, part{"resize", resize})
	var patches []Patch
	for _, part := range parts {
		if part.body == nil {
			continue
		}
		patch, err := encode(part.subresource, remote, part.body)
		if err != nil {
			return nil, err
		}
		patches = append(patches, patch)
	}
	return patches, nil
}

// AddsEphemeral reports whether Update adds ephemeral containers. In that case,
// Update needs the complete remote pod of the API server.
func (m *Mapper) AddsEphemeral(local, remote *corev1.Pod) bool {
	return len(m.missingEphemeral(local, remote)) > 0
}

// TrimRemote removes the parts of a remote pod that are not needed while it runs,
// which is most of it. Next, Status, Annotations and Update return the same for
// what is left, unless Update adds ephemeral containers; see AddsEphemeral.
func TrimRemote(pod *corev1.Pod) {
	spec := &pod.Spec
	pod.Spec = corev1.PodSpec{
		NodeName:              spec.NodeName,
		InitContainers:        trimContainers(spec.InitContainers),
		Containers:            trimContainers(spec.Containers),
		EphemeralContainers:   trimEphemeral(spec.EphemeralContainers),
		Volumes:               trimVolumes(spec.Volumes),
		Tolerations:           spec.Tolerations,
		Resources:             spec.Resources,
		ActiveDeadlineSeconds: spec.ActiveDeadlineSeconds,
	}
}

func trimContainers(containers []corev1.Container) []corev1.Container {
	var trimmed []corev1.Container
	for i := range containers {
		trimmed = append(trimmed, corev1.Container{Name: containers[i].Name, Image: containers[i].Image, Resources: containers[i].Resources})
	}
	return trimmed
}

func trimEphemeral(containers []corev1.EphemeralContainer) []corev1.EphemeralContainer {
	var trimmed []corev1.EphemeralContainer
	for i := range containers {
		trimmed = append(trimmed, corev1.EphemeralContainer{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: containers[i].Name}})
	}
	return trimmed
}

// trimVolumes keeps the volumes whose size may change.
func trimVolumes(volumes []corev1.Volume) []corev1.Volume {
	var trimmed []corev1.Volume
	for i := range volumes {
		if dir := volumes[i].EmptyDir; dir != nil && dir.Medium == corev1.StorageMediumMemory {
			trimmed = append(trimmed, volumes[i])
		}
	}
	return trimmed
}

// jsonObject is a JSON object of a patch.
type jsonObject = map[string]any

func encode(subresource string, remote *corev1.Pod, body jsonObject) (Patch, error) {
	meta, ok := body["metadata"].(jsonObject)
	if !ok {
		meta = jsonObject{}
		body["metadata"] = meta
	}
	meta["uid"] = remote.UID
	data, err := json.Marshal(body)
	if err != nil {
		return Patch{}, fmt.Errorf("encode patch of remote pod %s/%s: %w", remote.Namespace, remote.Name, err)
	}
	return Patch{Subresource: subresource, Data: data}, nil
}

// update compares a local pod with what was applied to its remote pod.
type update struct {
	mapper        *Mapper
	local, remote *corev1.Pod
	want, have    *record
	context       PodContext
}

// main returns the patch of the pod itself, with the new record. Call it after
// resize, which may postpone its part of the record.
func (u *update) main() jsonObject {
	text := u.want.String()
	if text == u.remote.Annotations[contract.AnnotationApplied] {
		return nil
	}
	wantLabels, wantAnnotations := u.mapper.copied(u.local)
	annotations := changedKeys(u.have.Annotations, wantAnnotations, u.remote.Annotations)
	annotations[contract.AnnotationApplied] = text
	meta := jsonObject{"annotations": annotations}
	if labels := changedKeys(u.have.Labels, wantLabels, u.remote.Labels); len(labels) > 0 {
		meta["labels"] = labels
	}
	body := jsonObject{"metadata": meta}
	if spec := u.spec(); len(spec) > 0 {
		body["spec"] = spec
	}
	return body
}

// changedKeys returns the values to set, and null for the keys that akd copied
// earlier and that the remote pod must not have any more.
func changedKeys(had []string, want, remote map[string]string) jsonObject {
	changed := jsonObject{}
	for key, value := range want {
		if have, ok := remote[key]; !ok || have != value {
			changed[key] = value
		}
	}
	for _, key := range had {
		_, wanted := want[key]
		if _, there := remote[key]; there && !wanted && isRemovable(key) {
			changed[key] = nil
		}
	}
	return changed
}

// isRemovable reports whether Update may remove a key. Anyone in the remote cluster can
// change the record, which must not cost the pod the labels that say whose it is.
func isRemovable(key string) bool {
	return !neverCopied(key) || strings.HasPrefix(key, contract.AnnotationDownwardPrefix)
}

func (u *update) spec() jsonObject {
	spec := jsonObject{}
	if changed := u.images(u.local.Spec.InitContainers, u.remote.Spec.InitContainers); len(changed) > 0 {
		spec["initContainers"] = changed
	}
	if changed := u.images(u.local.Spec.Containers, u.remote.Spec.Containers); len(changed) > 0 {
		spec["containers"] = changed
	}
	if tolerations := u.tolerations(); u.want.Tolerations != u.have.Tolerations &&
		!apiequality.Semantic.DeepEqual(tolerations, u.remote.Spec.Tolerations) {
		spec["tolerations"] = tolerations
	}
	// The API allows a deadline to be added or shortened, and nothing else.
	if want, have := u.want.Deadline, u.remote.Spec.ActiveDeadlineSeconds; want != nil && (have == nil || *want < *have) {
		spec["activeDeadlineSeconds"] = *want
	}
	return spec
}

// images returns the containers whose local image changed. The remote image may
// differ for other reasons: a webhook may have prefixed it with a registry mirror.
func (u *update) images(local, remote []corev1.Container) []jsonObject {
	var changed []jsonObject
	for i := range local {
		name, image := local[i].Name, local[i].Image
		at := slices.IndexFunc(remote, func(c corev1.Container) bool { return c.Name == name })
		if at >= 0 && image != "" && u.have.Images[name] != image && remote[at].Image != image {
			changed = append(changed, jsonObject{"name": name, "image": image})
		}
	}
	return changed
}

// tolerations returns those of the remote pod, with new ones added. The API allows
// only the seconds of an existing toleration to change.
func (u *update) tolerations() []corev1.Toleration {
	merged := slices.Clone(u.remote.Spec.Tolerations)
	for _, want := range u.mapper.tolerations(u.local) {
		at := slices.IndexFunc(merged, func(have corev1.Toleration) bool { return have.MatchToleration(&want) })
		if at >= 0 {
			merged[at].TolerationSeconds = want.TolerationSeconds
			continue
		}
		merged = append(merged, want)
	}
	return merged
}

// ephemeral returns one patch for each ephemeral container to add; existing ones
// cannot change. If the remote API server rejects one, which nobody can remove
// again, the later ones must still be added.
func (u *update) ephemeral() []jsonObject {
	env := &environment{mapper: u.mapper, local: u.local, variables: u.variables(), context: u.context}
	var bodies []jsonObject
	for _, container := range u.mapper.missingEphemeral(u.local, u.remote) {
		bodies = append(bodies, jsonObject{"spec": jsonObject{"ephemeralContainers": []*corev1.EphemeralContainer{env.ephemeral(container)}}})
	}
	return bodies
}

func (e *environment) ephemeral(local *corev1.EphemeralContainer) *corev1.EphemeralContainer {
	added := local.DeepCopy()
	e.translate((*corev1.Container)(&added.EphemeralContainerCommon))
	e.context.Displaced.rename().env(added.Env, added.EnvFrom)
	return added
}

// variables returns the variables that akd added to the first container of the pod:
// an ephemeral container is for debugging, so it gets what the others have.
func (u *update) variables() []corev1.EnvVar {
	var given []corev1.EnvVar
	if len(u.local.Spec.Containers) > 0 {
		given = beyond(&u.local.Spec.Containers[0], u.remote.Spec.Containers)
	}
	for _, variable := range u.mapper.variables(u.local, &PodContext{}) {
		if !slices.ContainsFunc(given, func(v corev1.EnvVar) bool { return v.Name == variable.Name }) {
			given = append(given, variable)
		}
	}
	return given
}

// beyond returns the variables of the remote container of the same name that the
// local container does not have.
func beyond(local *corev1.Container, remote []corev1.Container) []corev1.EnvVar {
	at := slices.IndexFunc(remote, func(c corev1.Container) bool { return c.Name == local.Name })
	if at < 0 {
		return nil
	}
	var given []corev1.EnvVar
	for _, variable := range remote[at].Env {
		if !slices.ContainsFunc(local.Env, func(own corev1.EnvVar) bool { return own.Name == variable.Name }) {
			given = append(given, variable)
		}
	}
	return given
}

// missingEphemeral returns the ephemeral containers to add to the remote pod.
func (m *Mapper) missingEphemeral(local, remote *corev1.Pod) []*corev1.EphemeralContainer {
	var missing []*corev1.EphemeralContainer
	refused := m.refusedEphemeral(local)
	for i := range local.Spec.EphemeralContainers {
		container := &local.Spec.EphemeralContainers[i]
		if !hasEphemeral(remote, container.Name) && refused[container.Name] == nil {
			missing = append(missing, container)
		}
	}
	return missing
}

func hasEphemeral(pod *corev1.Pod, name string) bool {
	return slices.ContainsFunc(pod.Spec.EphemeralContainers, func(c corev1.EphemeralContainer) bool { return c.Name == name })
}

// resize returns the patch of the sizes that changed in the local pod and differ in
// the remote pod. The subresource cannot write the record, so a pending size keeps
// its old entry until the remote pod has the new size.
func (u *update) resize() jsonObject {
	now := resources(&u.remote.Spec)
	due := map[string]bool{}
	for key, want := range u.want.Resources {
		if u.have.Resources[key] != want && now[key] != want {
			due[key] = true
		}
	}
	if len(due) == 0 {
		return nil
	}
	u.want.Resources = maps.Clone(u.want.Resources)
	for key := range due {
		if old, ok := u.have.Resources[key]; ok {
			u.want.Resources[key] = old
		} else {
			delete(u.want.Resources, key)
		}
	}
	return jsonObject{"spec": sizes(&u.local.Spec, due)}
}

func sizes(local *corev1.PodSpec, due map[string]bool) jsonObject {
	spec := jsonObject{}
	if due[podResources] {
		spec["resources"] = cpuAndMemory(local.Resources)
	}
	if changed := containerSizes(local.InitContainers, due); len(changed) > 0 {
		spec["initContainers"] = changed
	}
	if changed := containerSizes(local.Containers, due); len(changed) > 0 {
		spec["containers"] = changed
	}
	var volumes []jsonObject
	for i := range local.Volumes {
		if name := local.Volumes[i].Name; due[volumeKey(name)] {
			volumes = append(volumes, jsonObject{"name": name, "emptyDir": jsonObject{"sizeLimit": local.Volumes[i].EmptyDir.SizeLimit}})
		}
	}
	if len(volumes) > 0 {
		spec["volumes"] = volumes
	}
	return spec
}

func containerSizes(local []corev1.Container, due map[string]bool) []jsonObject {
	var changed []jsonObject
	for i := range local {
		if due[local[i].Name] {
			changed = append(changed, jsonObject{"name": local[i].Name, "resources": cpuAndMemory(&local[i].Resources)})
		}
	}
	return changed
}

func cpuAndMemory(r *corev1.ResourceRequirements) jsonObject {
	return jsonObject{"requests": only(r.Requests), "limits": only(r.Limits)}
}

func only(list corev1.ResourceList) corev1.ResourceList {
	kept := corev1.ResourceList{}
	for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
		if quantity, ok := list[name]; ok {
			kept[name] = quantity
		}
	}
	return kept
}
