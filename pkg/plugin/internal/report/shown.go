package report

import (
	_ "embed" // for shown.txt
	"encoding/json"
	"maps"
	"reflect"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/config"
)

// shownFields lists the fields whose text a report shows, by kind: a path, and the
// fields below it. A report hides all other text: what a user may write into a field
// can be a secret, and no pattern knows every secret. | separates alternatives, *
// is every key of a map, ** is everything below. docs/report.md quotes it.
//
//go:embed shown.txt
var shownFields string

// shape is the part of an object whose text is shown. A nil shape shows nothing.
type shape struct {
	all    bool              // and everything below
	fields map[string]*shape // by name; * is any other
}

// child returns the shape of a field, or of any entry of a map.
func (s *shape) child(name string) *shape {
	switch {
	case s == nil || s.all:
		return s
	case s.fields[name] != nil:
		return s.fields[name]
	default:
		return s.fields["*"]
	}
}

// shows reports whether the shape is a field that is shown itself.
func (s *shape) shows() bool { return s != nil && (s.all || len(s.fields) == 0) }

// add adds a path to the shape.
func (s *shape) add(path []string) {
	if path[0] == "**" {
		s.all = true
		return
	}
	for name := range strings.SplitSeq(path[0], "|") {
		if s.fields == nil {
			s.fields = map[string]*shape{}
		}
		if s.fields[name] == nil {
			s.fields[name] = &shape{}
		}
		if len(path) > 1 {
			s.fields[name].add(path[1:])
		}
	}
}

// clone returns a copy to which paths can be added.
func (s *shape) clone() *shape {
	copied := &shape{all: s.all, fields: maps.Clone(s.fields)}
	for name, child := range copied.fields {
		copied.fields[name] = child.clone()
	}
	return copied
}

// shapes returns the shapes of all kinds. "" is that of a kind that is not listed.
func shapes() map[string]*shape {
	all := map[string]*shape{"": {}}
	kinds := []string{""}
	short := strings.NewReplacer(
		"CONTAINERS", "containers|initContainers|ephemeralContainers",
		"STATUSES", "containerStatuses|initContainerStatuses|ephemeralContainerStatuses",
		"PROBES", "livenessProbe|readinessProbe|startupProbe",
	)
	for line := range strings.Lines(short.Replace(shownFields)) {
		prefix, fields, found := strings.Cut(line, ":")
		switch {
		case strings.HasPrefix(line, "every kind"):
		case !found:
			kinds = strings.Split(strings.TrimSpace(line), ", ")
			for _, kind := range kinds {
				all[kind] = all[""].clone()
			}
		default:
			for field := range strings.FieldsSeq(fields) {
				path := strings.Split(strings.TrimPrefix(strings.TrimSpace(prefix)+"."+field, "."), ".")
				for _, kind := range kinds {
					all[kind].add(path)
				}
			}
		}
	}
	for _, s := range all {
		s.fields["apiVersion"], s.fields["kind"] = &shape{}, &shape{}
		s.fields["metadata"].fields["annotations"] = &shape{fields: shownAnnotations()}
	}
	// The template of a Deployment is a pod.
	all["Deployment"].fields["spec"].fields["template"] = all["Pod"]
	return all
}

// shownAnnotations are those that AK and Kubernetes write, without user content.
func shownAnnotations() map[string]*shape {
	shown := map[string]*shape{}
	for _, name := range []string{
		contract.AnnotationRenewAfter, contract.AnnotationRefreshCertificates,
		contract.AnnotationRemoteNamespace, contract.AnnotationRemoteNode, contract.AnnotationRemoteUID,
		contract.AnnotationTokenExpires, contract.AnnotationTokenLifetime, contract.AnnotationInstalledKinds,
		contract.Domain + "config-hash",
		corev1.MirrorPodAnnotationKey, "deployment.kubernetes.io/revision", "node.alpha.kubernetes.io/ttl",
	} {
		shown[name] = &shape{}
	}
	return shown
}

// shapeOfConfiguration is that of akd's configuration: everything that is a field of
// it, except the values of environment variables.
func shapeOfConfiguration() *shape { return shapeOf(reflect.TypeFor[config.Configuration]()) }

func shapeOf(t reflect.Type) *shape {
	switch {
	case t == reflect.TypeFor[corev1.EnvVar]():
		return &shape{fields: map[string]*shape{"name": {}, "valueFrom": {all: true}}}
	case t.Implements(reflect.TypeFor[json.Marshaler]()) || reflect.PointerTo(t).Implements(reflect.TypeFor[json.Marshaler]()):
		return &shape{} // a text or a number
	}
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice:
		return shapeOf(t.Elem())
	case reflect.Map:
		return &shape{fields: map[string]*shape{"*": shapeOf(t.Elem())}}
	case reflect.Struct:
		s := &shape{fields: map[string]*shape{}}
		for field := range t.Fields() {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			s.fields[name] = shapeOf(field.Type)
		}
		return s
	default:
		return &shape{}
	}
}
