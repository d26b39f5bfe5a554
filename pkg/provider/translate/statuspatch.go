package translate

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
)

// StatusPatch returns the strategic merge patch of the status subresource that
// sets the status and the annotations of a local pod, or nil if nothing changes. Its
// preconditions are the UID and, where the pod has one, the resource version: a write
// that an API server has kept waiting does not undo a later one. It keeps conditions of
// others, because conditions are merged by type.
func StatusPatch(local *corev1.Pod, status *corev1.PodStatus, annotations map[string]string) ([]byte, error) {
	changed := map[string]string{}
	for key, value := range annotations {
		if have, ok := local.Annotations[key]; !ok || have != value {
			changed[key] = value
		}
	}
	if len(changed) == 0 && apiequality.Semantic.DeepEqual(&local.Status, status) {
		return nil, nil
	}
	different, err := statusDifference(&local.Status, status)
	if err != nil {
		return nil, fmt.Errorf("compare status of local pod %s/%s: %w", local.Namespace, local.Name, err)
	}
	metadata := map[string]any{"uid": local.UID}
	if local.ResourceVersion != "" {
		metadata["resourceVersion"] = local.ResourceVersion
	}
	if len(changed) > 0 {
		metadata["annotations"] = changed
	}
	fields := map[string]any{"metadata": metadata}
	if len(different) > 0 {
		fields["status"] = different
	}
	patch, err := json.Marshal(fields)
	if err != nil {
		return nil, fmt.Errorf("encode status of local pod %s/%s: %w", local.Namespace, local.Name, err)
	}
	return patch, nil
}

// statusDifference returns the status part of a strategic merge patch from one
// status to another. It replaces most fields as a whole, which needs no comparison
// of JSON, and leaves the others to strategicpatch. Compared with strategicpatch for
// all fields, it allocates 7 to 30 times less often, and takes an eighth to a
// hundredth of the time (BenchmarkStatusDifference): a pod's start writes three
// statuses.
func statusDifference(before, after *corev1.PodStatus) (map[string]any, error) {
	different := map[string]any{}
	var mergedBefore, mergedAfter corev1.PodStatus
	was, is := reflect.ValueOf(before).Elem(), reflect.ValueOf(after).Elem()
	merged := false
	for i := range was.NumField() {
		field := was.Type().Field(i)
		a, b := was.Field(i), is.Field(i)
		if apiequality.Semantic.DeepEqual(a.Interface(), b.Interface()) {
			continue
		}
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		switch {
		case b.IsZero():
			different[name] = nil
		case a.IsZero() || replaced(field):
			different[name] = b.Interface()
		default:
			reflect.ValueOf(&mergedBefore).Elem().Field(i).Set(a)
			reflect.ValueOf(&mergedAfter).Elem().Field(i).Set(b)
			merged = true
		}
	}
	if !merged {
		return different, nil
	}
	more, err := mergedDifference(&mergedBefore, &mergedAfter)
	maps.Copy(different, more)
	return different, err
}

// replaced reports whether a strategic merge patch replaces the field as a whole:
// plain values, times, and lists without a merge key.
func replaced(field reflect.StructField) bool {
	switch field.Type.Kind() {
	case reflect.Slice:
		return !strings.Contains(field.Tag.Get("patchStrategy"), "merge")
	case reflect.Map, reflect.Struct:
		return false
	case reflect.Pointer:
		return field.Type == reflect.TypeFor[*metav1.Time]()
	default:
		return true
	}
}

func mergedDifference(before, after *corev1.PodStatus) (map[string]any, error) {
	was, err := json.Marshal(before)
	if err != nil {
		return nil, err
	}
	is, err := json.Marshal(after)
	if err != nil {
		return nil, err
	}
	patch, err := strategicpatch.CreateTwoWayMergePatch(was, is, corev1.PodStatus{})
	if err != nil {
		return nil, err
	}
	var fields map[string]any
	return fields, json.Unmarshal(patch, &fields)
}
