package scenario

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// held is how many elements the maps, slices and channels of an object have, by their
// path in it.
type held map[string]int

// whatIsHeld looks into everything that is reachable from a pointer to a struct of akd.
func whatIsHeld(object any) held {
	h := held{}
	h.look(reflect.ValueOf(object), "", map[uintptr]bool{})
	return h
}

// bounded are the fields that have a bound of their own: a number of texts, one of kinds,
// and one of remote StorageClasses.
var bounded = regexp.MustCompile(`\.(Interner\.known|time\.versions|remote\.known)$`)

// beyond describes what is held that others do not hold.
func (h held) beyond(others held) []string {
	var more []string
	for _, path := range slices.Sorted(maps.Keys(h)) {
		if h[path] > others[path] && !bounded.MatchString(path) {
			more = append(more, fmt.Sprintf("%s has %d elements, at first %d", path, h[path], others[path]))
		}
	}
	return more
}

func (h held) look(value reflect.Value, path string, seen map[uintptr]bool) {
	switch value.Kind() {
	case reflect.Pointer:
		if value.IsNil() || seen[value.Pointer()] || !isAKD(value.Type().Elem()) {
			return
		}
		seen[value.Pointer()] = true
		h.look(value.Elem(), path, seen)
	case reflect.Interface:
		if !value.IsNil() {
			h.look(value.Elem(), path, seen)
		}
	case reflect.Struct:
		if !isAKD(value.Type()) {
			return
		}
		for i := range value.NumField() {
			h.look(value.Field(i), path+"."+value.Type().Field(i).Name, seen)
		}
	case reflect.Map:
		h[path] += value.Len()
		for entries := value.MapRange(); entries.Next(); {
			h.look(entries.Value(), path+"[]", seen)
		}
	case reflect.Slice:
		h[path] += value.Len()
		for i := range value.Len() {
			h.look(value.Index(i), path+"[]", seen)
		}
	case reflect.Chan:
		h[path] += value.Len()
	default:
	}
}

// isAKD reports whether a type is akd's, or of the queues that remember for it.
func isAKD(t reflect.Type) bool {
	path := t.PkgPath()
	return strings.Contains(path, "/pkg/provider/") && !strings.HasSuffix(path, "/scenario") && !strings.HasSuffix(path, "/translate") ||
		strings.HasSuffix(path, "/util/workqueue")
}
