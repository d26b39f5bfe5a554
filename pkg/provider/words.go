package provider

import (
	"reflect"
	"sync"
)

const (
	// mostWords bounds the table: names and UIDs, which no two objects share, are
	// in it, too, and go with the rest when it is full.
	mostWords = 8192
	// longestWord is the length up to which a text is worth a comparison, in
	// bytes: the record of what was applied to a pod is one.
	longestWord = 512
)

// words lets cached objects share equal texts. Each decoded object has copies of
// its own of images, labels, conditions and the like: 110 of the 160 pieces that
// a pod and its remote pod are in memory, and most of them in every other pod.
type words struct {
	mu    sync.Mutex
	known map[string]string
}

// share replaces the texts of an object that nobody else has seen yet.
func (w *words) share(object any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.walkLocked(reflect.ValueOf(object))
}

func (w *words) walkLocked(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(w.ofLocked(v.String()))
	case reflect.Pointer:
		if !v.IsNil() {
			w.walkLocked(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() { //nolint:modernize // Value.Fields describes each field anew
			if field := v.Field(i); field.CanSet() { // a time's own fields are not
				w.walkLocked(field)
			}
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return
		}
		for i := range v.Len() {
			w.walkLocked(v.Index(i))
		}
	case reflect.Map:
		texts, ok := reflect.TypeAssert[map[string]string](v)
		if !ok || texts == nil {
			return
		}
		shared := make(map[string]string, len(texts))
		for key, value := range texts {
			shared[w.ofLocked(key)] = w.ofLocked(value)
		}
		v.Set(reflect.ValueOf(shared))
	default: // nothing that holds a text
	}
}

func (w *words) ofLocked(text string) string {
	if text == "" || len(text) > longestWord {
		return text
	}
	if known, ok := w.known[text]; ok {
		return known
	}
	if w.known == nil || len(w.known) >= mostWords {
		w.known = make(map[string]string, mostWords)
	}
	w.known[text] = text
	return text
}
