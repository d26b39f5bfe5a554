package config

import (
	"reflect"
	"strings"
)

// usage is the line that --help shows for the flag of a field: the first
// sentence of its documentation, and what is allowed.
func usage(known leaf) string {
	text := sentence(known.doc)
	if known.typ.Kind() == reflect.Map || known.typ.Kind() == reflect.Slice {
		text += "; may be given more than once, replaces the file's"
	}
	if allowed := allowedOf(known.typ); len(allowed) > 0 {
		text += " (" + list(allowed) + ")"
	}
	return text
}

// allowedOf gives the values of a type that has only a few.
func allowedOf(t reflect.Type) []string {
	if allowed, limited := reflect.TypeAssert[enum](reflect.Zero(t)); limited {
		return allowed.values()
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
