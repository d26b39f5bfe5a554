package translate

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// record is the content of AnnotationApplied: what was last applied from the local
// pod. Comparing with the record instead of the remote pod preserves what webhooks,
// plugins and administrators changed or added in the remote cluster.
type record struct {
	Labels      []string          `json:"labels,omitempty"`      // keys, sorted
	Annotations []string          `json:"annotations,omitempty"` // keys, sorted
	Values      string            `json:"values,omitempty"`      // a hash of the labels' and annotations' values
	Images      map[string]string `json:"images,omitempty"`      // by container
	Tolerations string            `json:"tolerations,omitempty"` // a hash
	Deadline    *int64            `json:"deadline,omitempty"`    // activeDeadlineSeconds
	Resources   map[string]string `json:"resources,omitempty"`   // what resize may change; see resources
}

// podResources is the key in record.Resources of the pod's own resources. No
// container has this name.
const podResources = ""

func (m *Mapper) record(local *corev1.Pod) *record {
	labels, annotations := m.copied(local)
	r := &record{
		Labels:      slices.Sorted(maps.Keys(labels)),
		Annotations: slices.Sorted(maps.Keys(annotations)),
		Images:      map[string]string{},
		Deadline:    local.Spec.ActiveDeadlineSeconds,
		Resources:   resources(&local.Spec),
	}
	r.Values = hashValues(r.Labels, labels, r.Annotations, annotations)
	r.Tolerations = hashTolerations(local.Spec.Tolerations)
	for i := range local.Spec.InitContainers {
		r.Images[local.Spec.InitContainers[i].Name] = local.Spec.InitContainers[i].Image
	}
	for i := range local.Spec.Containers {
		r.Images[local.Spec.Containers[i].Name] = local.Spec.Containers[i].Image
	}
	return r
}

// String returns the value of the annotation, which is the same for equal records.
func (r *record) String() string {
	data, err := json.Marshal(r) // sorts the keys of maps
	if err != nil {
		return "" // cannot happen: strings, numbers and maps of them
	}
	return string(data)
}

// applied returns the value of AnnotationApplied for a local pod.
func (m *Mapper) applied(local *corev1.Pod) string { return m.record(local).String() }

func hashValues(labelKeys []string, labels map[string]string, annotationKeys []string, annotations map[string]string) string {
	h := fnv.New64a()
	for _, key := range labelKeys {
		_, _ = fmt.Fprintf(h, "%q=%q,", key, labels[key])
	}
	_, _ = h.Write([]byte{';'})
	for _, key := range annotationKeys {
		_, _ = fmt.Fprintf(h, "%q=%q,", key, annotations[key])
	}
	return fmt.Sprintf("%x", h.Sum64())
}

func hashTolerations(tolerations []corev1.Toleration) string {
	if len(tolerations) == 0 {
		return ""
	}
	h := fnv.New64a()
	for i := range tolerations {
		t := &tolerations[i]
		_, _ = fmt.Fprintf(h, "%q,%q,%q,%q,", t.Key, t.Operator, t.Value, t.Effect)
		if t.TolerationSeconds != nil {
			_, _ = fmt.Fprintf(h, "%d", *t.TolerationSeconds)
		}
		_, _ = h.Write([]byte{';'})
	}
	return fmt.Sprintf("%x", h.Sum64())
}

// resources returns what the resize subresource can change: cpu and memory of
// containers and of the pod, and the size of memory-backed volumes.
func resources(spec *corev1.PodSpec) map[string]string {
	found := map[string]string{}
	add := func(key string, r *corev1.ResourceRequirements) {
		if text := describe(r.Requests) + "/" + describe(r.Limits); text != "/" {
			found[key] = text
		}
	}
	if spec.Resources != nil {
		add(podResources, spec.Resources)
	}
	for i := range spec.InitContainers {
		add(spec.InitContainers[i].Name, &spec.InitContainers[i].Resources)
	}
	for i := range spec.Containers {
		add(spec.Containers[i].Name, &spec.Containers[i].Resources)
	}
	for i := range spec.Volumes {
		if dir := spec.Volumes[i].EmptyDir; dir != nil && dir.Medium == corev1.StorageMediumMemory && dir.SizeLimit != nil {
			found[volumeKey(spec.Volumes[i].Name)] = dir.SizeLimit.String()
		}
	}
	return found
}

// volumeKey is the key in record.Resources of a volume. The slash distinguishes it
// from the name of a container.
func volumeKey(volume string) string { return "volume/" + volume }

func describe(list corev1.ResourceList) string {
	var parts []string
	for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
		if quantity, ok := list[name]; ok {
			parts = append(parts, string(name)+"="+quantity.String())
		}
	}
	return strings.Join(parts, ",")
}
