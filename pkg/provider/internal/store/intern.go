package store

import (
	"reflect"
	"sync"
)

const (
	// mostTexts limits the table. It also contains names and UIDs, which no two
	// objects share. They are dropped with the rest when the table is full.
	mostTexts = 8192
	// longestText is the maximum length, in bytes, of a string that is worth a
	// comparison, such as the record of the state applied to a pod.
	longestText = 512
)

// Interner lets cached objects share equal strings. Each decoded object has its
// own copies of images, labels, conditions and so on. They are 110 of the 160
// memory blocks of a pod and its remote pod, and most of them recur in every
// other pod.
type Interner struct {
	mu    sync.Mutex
	known map[string]string
}

// NewInterner returns an empty interner.
func NewInterner() *Interner { return &Interner{known: make(map[string]string, mostTexts)} }

// Share replaces the strings of an object with shared ones. Nothing else may have
// access to the object yet.
func (i *Interner) Share(object any) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.walkLocked(reflect.ValueOf(object))
}

func (i *Interner) walkLocked(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(i.ofLocked(v.String()))
	case reflect.Pointer:
		if !v.IsNil() {
			i.walkLocked(v.Elem())
		}
	case reflect.Struct:
		for n := range v.NumField() { //nolint:modernize // Value.Fields describes each field anew
			if field := v.Field(n); field.CanSet() { // unexported fields cannot be set, such as those of a time
				i.walkLocked(field)
			}
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return
		}
		for n := range v.Len() {
			i.walkLocked(v.Index(n))
		}
	case reflect.Map:
		texts, ok := reflect.TypeAssert[map[string]string](v)
		if !ok || texts == nil {
			return
		}
		shared := make(map[string]string, len(texts))
		for key, value := range texts {
			shared[i.ofLocked(key)] = i.ofLocked(value)
		}
		v.Set(reflect.ValueOf(shared))
	default: // holds no string
	}
}

func (i *Interner) ofLocked(text string) string {
	if text == "" || len(text) > longestText {
		return text
	}
	if known, ok := i.known[text]; ok {
		return known
	}
	if len(i.known) >= mostTexts {
		i.known = make(map[string]string, mostTexts)
	}
	i.known[text] = text
	return text
}
