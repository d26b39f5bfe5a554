package translate

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// Paths of the downward API.
const (
	labelsPath      = "metadata.labels"
	annotationsPath = "metadata.annotations"
)

// carried returns the annotations of the remote pod from which files of the downward
// API show labels and annotations of the local pod that the remote pod does not
// have, or not alone: a file of all labels would show those of akd and of the remote
// cluster.
func (m *Mapper) carried(local *corev1.Pod) map[string]string {
	var carried map[string]string
	for i := range local.Spec.Volumes {
		for _, files := range downwardFiles(&local.Spec.Volumes[i]) {
			for j := range files {
				if files[j].FieldRef == nil {
					continue
				}
				if name, value, ok := m.shown(files[j].FieldRef.FieldPath, local); ok {
					if carried == nil {
						carried = map[string]string{}
					}
					carried[name] = value
				}
			}
		}
	}
	return carried
}

// downwardFiles returns the lists of files of the downward API in a volume.
func downwardFiles(volume *corev1.Volume) [][]corev1.DownwardAPIVolumeFile {
	if volume.DownwardAPI != nil {
		return [][]corev1.DownwardAPIVolumeFile{volume.DownwardAPI.Items}
	}
	if volume.Projected == nil {
		return nil
	}
	var all [][]corev1.DownwardAPIVolumeFile
	for i := range volume.Projected.Sources {
		if source := volume.Projected.Sources[i].DownwardAPI; source != nil {
			all = append(all, source.Items)
		}
	}
	return all
}

// shown returns the annotation of the remote pod that a file of that path shows, and
// its value. ok is false for paths that refer to the same in both clusters. A label
// or annotation that the local pod does not have when it is created stays a reference:
// it may be one that the remote cluster sets.
func (m *Mapper) shown(path string, local *corev1.Pod) (name, value string, ok bool) {
	switch path {
	case labelsPath:
		return contract.AnnotationDownwardPrefix + "labels", formatMap(local.Labels), true
	case annotationsPath:
		return contract.AnnotationDownwardPrefix + "annotations", formatMap(local.Annotations), true
	}
	if value, ok = m.dropped(path, local); !ok {
		return "", "", false
	}
	sum := sha256.Sum256([]byte(path))
	return fmt.Sprintf("%s%x", contract.AnnotationDownwardPrefix, sum[:8]), value, true
}

// dropped returns the value of the label or annotation that a path refers to, if the
// local pod has it and the remote pod does not get it.
func (m *Mapper) dropped(path string, local *corev1.Pod) (string, bool) {
	of, key, ok := subscript(path)
	if !ok {
		return "", false
	}
	var filter KeyFilter
	var values map[string]string
	switch of {
	case labelsPath:
		filter, values = m.PodLabels, local.Labels
	case annotationsPath:
		filter, values = m.PodAnnotations, local.Annotations
	}
	value, ok := values[key]
	return value, ok && !filter.Copies(key)
}

// subscript splits metadata.labels['key'] as a kubelet does.
// https://github.com/kubernetes/kubernetes/blob/v1.37.1/pkg/fieldpath/fieldpath.go (SplitMaybeSubscriptedPath)
func subscript(path string) (of, key string, ok bool) {
	head, ok := strings.CutSuffix(path, "']")
	if !ok {
		return "", "", false
	}
	return strings.Cut(head, "['")
}

// formatMap returns the content of a file of all labels or all annotations, as a
// kubelet writes it, without what akd itself has written on the local pod.
// https://github.com/kubernetes/kubernetes/blob/v1.37.1/pkg/fieldpath/fieldpath.go (FormatMap)
func formatMap(values map[string]string) string {
	var lines []string
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if !strings.HasPrefix(key, contract.Domain) {
			lines = append(lines, key+"="+strconv.Quote(values[key]))
		}
	}
	return strings.Join(lines, "\n")
}
