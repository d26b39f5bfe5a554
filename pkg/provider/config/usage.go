package config

import (
	"reflect"
	"strings"

	"github.com/actual-kubelets/actual-kubelets/pkg/internal/strictyaml"
)

// usage is the line of --help for the flag of a field: the first sentence of its
// documentation, and the allowed values.
func usage(known leaf) string {
	text := sentence(known.doc)
	if known.typ.Kind() == reflect.Map || known.typ.Kind() == reflect.Slice {
		text += "; can be repeated, overrides the file"
	}
	if allowed := allowedOf(known.typ); len(allowed) > 0 {
		text += " (" + strictyaml.List(allowed) + ")"
	}
	return text
}

// allowedOf returns the values of an enumeration.
func allowedOf(t reflect.Type) []string {
	if allowed, limited := reflect.TypeAssert[strictyaml.Enum](reflect.Zero(t)); limited {
		return allowed.Values()
	}
	return nil
}

// docOf is the documentation of a field, from the Go comments of its type.
func docOf(owner reflect.Type, name string) string {
	documented, ok := reflect.TypeAssert[interface{ SwaggerDoc() map[string]string }](reflect.Zero(owner))
	if !ok {
		return ""
	}
	return strings.TrimSpace(documented.SwaggerDoc()[name])
}
