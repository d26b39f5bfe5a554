package store

import (
	"reflect"
	"sync"
)

const (
	// mostTexts bounds the table: names and UIDs, which no two objects share, are
	// in it, too, and go with the rest when it is full.
	mostTexts = 8192
	// longestText is the length up to which a text is worth a comparison, in
	// bytes: the record of what was applied to a pod is one.
	longestText = 512
)

// Interner lets cached objects share equal texts. Each decoded object has copies of
// its own of images, labels, conditions and the like: 110 of the 160 pieces that
// a pod and its remote pod are in memory, and most of them in every other pod.
type Interner struct {
	mu    sync.Mutex
	known map[string]string
}

// NewInterner returns an interner that knows no texts.
func NewInterner() *Interner { return &Interner{known: make(map[string]string, mostTexts)} }

// Share replaces the texts of an object that nobody else has seen yet.
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
			if field := v.Field(n); field.CanSet() { // a time's own fields are not
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
	default: // nothing that holds a text
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
