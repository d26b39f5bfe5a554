package strictyaml

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/actual-kubelets/actual-kubelets/pkg/internal/spelling"
)

// Decoder decodes documents.
type Decoder struct {
	// Header says what a document must begin with. It is the advice for one that is
	// empty or not a mapping.
	Header string
	// Unusable reports whether a document must not set a field, and what to do
	// instead. It may be nil.
	Unusable func(owner reflect.Type, name string) (instead string, is bool)
	// Secret reports whether the value at a path may be secret, so that no problem
	// quotes it. It may be nil.
	Secret func(path string) bool
}

// Problem is one mistake in a document.
type Problem struct {
	// Line is the line, from 1, or 0 if the problem concerns the whole document.
	Line int
	// Field is the path of the field, such as node.taints[0].effect, or empty.
	Field string
	// Found is what the document has, Want what is allowed or what to do.
	Found, Want string
}

// Result says what Decode found.
type Result struct {
	Problems []Problem
	// Lines has the lines of all values, by path.
	Lines map[string]int
}

// Decode decodes the only document in data into the struct to which into points. A
// field that the document does not set, or sets to nothing, keeps its value, as does a
// field with a problem.
func (d Decoder) Decode(data []byte, into any) Result {
	decoding := &decoding{Decoder: d, Result: Result{Lines: map[string]int{}}}
	if decoding.isText(data) {
		if document := decoding.document(data); document != nil {
			decoding.value(document, reflect.ValueOf(into).Elem(), "")
		}
	}
	return decoding.Result
}

// decoding is one call of Decode.
type decoding struct {
	Decoder
	Result
}

func (d *decoding) add(field string, line int, found, want string) {
	d.Problems = append(d.Problems, Problem{Line: line, Field: field, Found: found, Want: want})
}

func (d *decoding) unusable(owner reflect.Type, name string) (instead string, is bool) {
	if d.Unusable == nil {
		return "", false
	}
	return d.Unusable(owner, name)
}

// value decodes by the Go type. The types limit the depth, so an alias that contains
// itself does no harm.
func (d *decoding) value(node *yaml.Node, into reflect.Value, path string) {
	if path != "" {
		d.Lines[path] = node.Line
	}
	for node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	if node.Kind == yaml.ScalarNode && node.ShortTag() == "!!null" && path != "" {
		return // the same as no field
	}
	if IsScalar(into.Type()) {
		d.scalar(node, into, path)
		return
	}
	switch into.Kind() {
	case reflect.Struct:
		d.object(node, into, path)
	case reflect.Map:
		d.entries(node, into, path)
	case reflect.Slice:
		d.items(node, into, path)
	default:
		panic(fmt.Sprintf("strictyaml: cannot decode type %s of %s", into.Type(), path)) // a mistake of the program
	}
}

func (d *decoding) object(node *yaml.Node, into reflect.Value, path string) {
	known := d.fields(into.Type())
	name := func(key string) string { return Join(path, key) }
	d.pairs(node, path, name, func(key, value *yaml.Node) {
		child := name(key.Value)
		index, ok := known[key.Value]
		if reason, is := d.unusable(into.Type(), key.Value); is {
			d.add(child, key.Line, "cannot be used here", reason)
			return
		}
		if !ok {
			d.add(child, key.Line, "unknown field", d.wantField(key.Value, into.Type()))
			return
		}
		d.value(value, into.Field(index), child)
	})
}

func (d *decoding) entries(node *yaml.Node, into reflect.Value, path string) {
	entries := reflect.MakeMap(into.Type())
	name := func(key string) string { return path + "[" + key + "]" }
	d.pairs(node, path, name, func(key, value *yaml.Node) {
		entry := reflect.New(into.Type().Elem()).Elem()
		before := len(d.Problems)
		d.element(value, entry, name(key.Value))
		if len(d.Problems) == before {
			entries.SetMapIndex(reflect.ValueOf(key.Value).Convert(into.Type().Key()), entry)
		}
	})
	into.Set(entries)
}

func (d *decoding) items(node *yaml.Node, into reflect.Value, path string) {
	if node.Kind != yaml.SequenceNode {
		d.add(path, d.Lines[path], "found "+d.describe(node, path), "want a list, each item after a dash")
		return
	}
	items := reflect.MakeSlice(into.Type(), len(node.Content), len(node.Content))
	for i, item := range node.Content {
		d.element(item, items.Index(i), path+"["+strconv.Itoa(i)+"]")
	}
	into.Set(items)
}

// element decodes an element of a list or map. An empty element is a mistake there,
// not a default: it would mean a capacity of 0, or a label without a value.
func (d *decoding) element(node *yaml.Node, into reflect.Value, path string) {
	if node.Kind == yaml.ScalarNode && node.ShortTag() == "!!null" {
		d.add(path, node.Line, "found nothing", "want a value, or remove the line")
		return
	}
	d.value(node, into, path)
}

// pairs visits the keys and values of a mapping, each key once. name returns the path
// of a key.
func (d *decoding) pairs(node *yaml.Node, path string, name func(key string) string, visit func(key, value *yaml.Node)) {
	if node.Kind != yaml.MappingNode {
		want := "want fields, each as name: value"
		if path == "" {
			want = d.Header
		}
		d.add(path, node.Line, "found "+d.describe(node, path), want)
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		if key.Kind != yaml.ScalarNode {
			d.add(path, key.Line, "found "+kindOf(key)+" as the name of a field", "want text")
			continue
		}
		if first, again := seen[key.Value]; again {
			d.add(name(key.Value), key.Line, "found twice", fmt.Sprintf("want it once: it is also on line %d", first))
			continue
		}
		seen[key.Value] = key.Line
		visit(key, value)
	}
}

func (d *decoding) scalar(node *yaml.Node, into reflect.Value, path string) {
	want := wantOf(into.Type())
	if node.Kind == yaml.ScalarNode && accepts(into.Type(), node.ShortTag()) {
		if err := SetScalar(into, node.Value); err == nil {
			return
		}
		d.add(path, d.Lines[path], "found "+Quote(node.Value), want)
		return
	}
	if node.Kind == yaml.ScalarNode && into.Kind() == reflect.String {
		want += ", in quotes"
	}
	d.add(path, d.Lines[path], "found "+d.describe(node, path), want)
}

// fields returns the index of each field by its name in YAML.
func (d *decoding) fields(t reflect.Type) map[string]int {
	known := map[string]int{}
	for i := range t.NumField() {
		name := FieldName(t.Field(i))
		if _, not := d.unusable(t, name); name != "" && !not {
			known[name] = i
		}
	}
	return known
}

// FieldName returns the name of a field in YAML.
func FieldName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

// Join returns the path of a field of what is at path.
func Join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// wantField suggests the field with the most similar name, or lists all fields.
func (d *decoding) wantField(name string, owner reflect.Type) string {
	var names []string
	for field := range owner.Fields() {
		known := FieldName(field)
		if _, not := d.unusable(owner, known); !not {
			names = append(names, known)
		}
	}
	if near := spelling.Nearest(name, names); near != "" {
		return "did you mean " + near + "?"
	}
	return "want " + List(names)
}
