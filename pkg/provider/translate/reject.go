package translate

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// unprocessable is the HTTP status of an object that is not valid.
const unprocessable = 422

// IsInvalid reports whether the answer of the remote API server to the creation of a
// pod means that it will never accept this pod: its own validation rejects a field
// that akd has sent.
//
// Policies and webhooks can answer 422 Invalid as well, and reject a valid pod today
// and not tomorrow. A policy names no field. A webhook can name fields, but the API
// server puts its name in front of the message. Fields that akd has not sent come
// from what mutated the pod in between, and so may sizes: a LimitRange sets defaults.
//
// https://github.com/kubernetes/kubernetes/blob/v1.37.1/staging/src/k8s.io/apiserver/pkg/admission/plugin/policy/validating/dispatcher.go
// https://github.com/kubernetes/kubernetes/blob/v1.37.1/staging/src/k8s.io/apiserver/pkg/admission/plugin/webhook/errors/statuserror.go
func IsInvalid(sent *corev1.Pod, answer metav1.Status) bool {
	about := answer.Details
	if answer.Code != unprocessable || answer.Reason != metav1.StatusReasonInvalid ||
		about == nil || about.Kind != "Pod" || about.Name != sent.Name {
		return false
	}
	// There is no other trace of a webhook in the answer.
	if !strings.HasPrefix(answer.Message, fmt.Sprintf("Pod %q is invalid", sent.Name)) {
		return false
	}
	object := map[string]any{}
	if data, err := json.Marshal(sent); err != nil || json.Unmarshal(data, &object) != nil {
		return false
	}
	return slices.ContainsFunc(about.Causes, func(cause metav1.StatusCause) bool { return blamesSender(object, cause) })
}

// blamesSender reports whether the cause is a field of the spec as it was sent.
func blamesSender(object map[string]any, cause metav1.StatusCause) bool {
	segments := segmentsOf(cause.Field)
	if cause.Type == "" || len(segments) < 2 || segments[0] != "spec" || slices.Contains(segments, "resources") {
		return false
	}
	if cause.Type == metav1.CauseTypeFieldValueRequired {
		segments = segments[:len(segments)-1]
	}
	var at any = object
	for _, segment := range segments {
		switch inside := at.(type) {
		case map[string]any:
			next, ok := inside[segment]
			if !ok {
				return false
			}
			at = next
		case []any:
			index, err := strconv.Atoi(segment)
			if err != nil || index < 0 || index >= len(inside) {
				return false
			}
			at = inside[index]
		default:
			return false
		}
	}
	return true
}

// segmentsOf splits a path such as spec.containers[0].env[1].name. A key in brackets
// may contain dots.
func segmentsOf(path string) []string {
	var segments []string
	for rest := path; rest != ""; {
		if inside, ok := strings.CutPrefix(rest, "["); ok {
			key, after, closed := strings.Cut(inside, "]")
			if !closed {
				return nil
			}
			segments = append(segments, key)
			rest = strings.TrimPrefix(after, ".")
			continue
		}
		end := strings.IndexAny(rest, ".[")
		if end < 0 {
			return append(segments, rest)
		}
		segments = append(segments, rest[:end])
		rest = strings.TrimPrefix(rest[end:], ".")
	}
	return segments
}
