package config

import (
	"reflect"
	"strings"

	"github.com/actual-kubelets/actual-kubelets/pkg/internal/strictyaml"
)

// leaf is a field of the configuration that has a value instead of fields.
type leaf struct {
	path   string
	index  []int
	typ    reflect.Type
	flag   string
	doc    string
	isPath bool // a path of the file system
}

// fields are the leaves in the order of the types.
func fields() []leaf {
	return leaves(reflect.TypeFor[Configuration](), "", nil)
}

func leaves(owner reflect.Type, path string, index []int) []leaf {
	var all []leaf
	for i := range owner.NumField() {
		f := owner.Field(i)
		at := append(append([]int(nil), index...), i)
		child := strictyaml.Join(path, strictyaml.FieldName(f))
		if f.Type.Kind() == reflect.Struct && !strictyaml.IsScalar(f.Type) {
			all = append(all, leaves(f.Type, child, at)...)
			continue
		}
		all = append(all, leaf{
			path:   child,
			index:  at,
			typ:    f.Type,
			flag:   f.Tag.Get("flag"),
			doc:    docOf(owner, strictyaml.FieldName(f)),
			isPath: f.Tag.Get("path") != "",
		})
	}
	return all
}

// sentence returns the first sentence of a text.
func sentence(text string) string {
	first, _, _ := strings.Cut(text, ". ")
	return strings.TrimSuffix(strings.ReplaceAll(first, "\n", " "), ".")
}
