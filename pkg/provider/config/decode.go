package config

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/internal/spelling"
)

// enum is a type with a fixed set of values.
type enum interface{ values() []string }

// longestValue is the limit of a number, quantity or duration, in bytes. No valid
// value is longer.
const longestValue = 64

// unusable reports whether a configuration cannot use a field of a type of
// Kubernetes, and what to do instead.
func unusable(owner reflect.Type, name string) (reason string, is bool) {
	switch {
	case owner == reflect.TypeFor[corev1.EnvVar]() && name == "valueFrom":
		return "want a value: a source would have to exist in every namespace", true
	case owner == reflect.TypeFor[corev1.Taint]() && name == "timeAdded":
		return "remove it: Kubernetes sets it", true
	}
	return "", false
}

// decode sets the value, which has the defaults, to the content of the node.
func decode(node *yaml.Node, into reflect.Value, found *problems) {
	decoder{found}.value(node, into, "")
}

type decoder struct{ found *problems }

// value decodes by the Go type. The types limit the depth, so an alias that contains
// itself does no harm.
func (d decoder) value(node *yaml.Node, into reflect.Value, path string) {
	if path != "" {
		d.found.origins[path] = origin{line: node.Line}
	}
	for node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	if node.Kind == yaml.ScalarNode && node.ShortTag() == "!!null" && path != "" {
		return // the same as no field
	}
	if isScalar(into.Type()) {
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
		panic(fmt.Sprintf("config: no decision for type %s of %s", into.Type(), path)) // a test walks all types
	}
}

func (d decoder) object(node *yaml.Node, into reflect.Value, path string) {
	known := jsonFields(into.Type())
	name := func(key string) string { return join(path, key) }
	d.pairs(node, path, name, func(key, value *yaml.Node) {
		child := name(key.Value)
		index, ok := known[key.Value]
		if reason, is := unusable(into.Type(), key.Value); is {
			d.found.add(child, key.Line, "cannot be used here", reason)
			return
		}
		if !ok {
			d.found.add(child, key.Line, "unknown field", wantField(key.Value, into.Type()))
			return
		}
		d.value(value, into.Field(index), child)
	})
}

func (d decoder) entries(node *yaml.Node, into reflect.Value, path string) {
	entries := reflect.MakeMap(into.Type())
	name := func(key string) string { return path + "[" + key + "]" }
	d.pairs(node, path, name, func(key, value *yaml.Node) {
		entry := reflect.New(into.Type().Elem()).Elem()
		before := len(d.found.list)
		d.element(value, entry, name(key.Value))
		if len(d.found.list) == before {
			entries.SetMapIndex(reflect.ValueOf(key.Value).Convert(into.Type().Key()), entry)
		}
	})
	into.Set(entries)
}

func (d decoder) items(node *yaml.Node, into reflect.Value, path string) {
	if node.Kind != yaml.SequenceNode {
		d.found.at(path, "found "+describe(node, path), "want a list, each item after a dash")
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
func (d decoder) element(node *yaml.Node, into reflect.Value, path string) {
	if node.Kind == yaml.ScalarNode && node.ShortTag() == "!!null" {
		d.found.add(path, node.Line, "found nothing", "want a value, or remove the line")
		return
	}
	d.value(node, into, path)
}

// pairs visits the keys and values of a mapping, each key once. name returns the path
// of a key.
func (d decoder) pairs(node *yaml.Node, path string, name func(key string) string, visit func(key, value *yaml.Node)) {
	if node.Kind != yaml.MappingNode {
		want := "want fields, each as name: value"
		if path == "" {
			want = wantHeader
		}
		d.found.add(path, node.Line, "found "+describe(node, path), want)
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		if key.Kind != yaml.ScalarNode {
			d.found.add(path, key.Line, "found "+kindOf(key)+" as the name of a field", "want text")
			continue
		}
		if first, again := seen[key.Value]; again {
			d.found.add(name(key.Value), key.Line, "found twice", fmt.Sprintf("want it once: it is also on line %d", first))
			continue
		}
		seen[key.Value] = key.Line
		visit(key, value)
	}
}

func (d decoder) scalar(node *yaml.Node, into reflect.Value, path string) {
	want := wantOf(into.Type())
	if node.Kind == yaml.ScalarNode && accepts(into.Type(), node.ShortTag()) {
		if err := setScalar(into, node.Value); err == nil {
			return
		}
		d.found.at(path, "found "+quote(node.Value), want)
		return
	}
	if node.Kind == yaml.ScalarNode && into.Kind() == reflect.String {
		want += ", in quotes"
	}
	d.found.at(path, "found "+describe(node, path), want)
}

// isScalar reports whether the type is a scalar in YAML, and one argument of a flag.
func isScalar(t reflect.Type) bool {
	switch t {
	case reflect.TypeFor[metav1.Duration](), reflect.TypeFor[resource.Quantity](), reflect.TypeFor[*int64]():
		return true
	}
	switch t.Kind() {
	case reflect.String, reflect.Bool, reflect.Int32:
		return true
	}
	return false
}

// accepts reports whether a YAML type can be decoded into a Go type. A number is not
// text: YAML may have dropped its zeros.
func accepts(t reflect.Type, tag string) bool {
	switch {
	case t == reflect.TypeFor[resource.Quantity]():
		return tag == "!!str" || tag == "!!int" || tag == "!!float"
	case t == reflect.TypeFor[metav1.Duration](), t.Kind() == reflect.String:
		return tag == "!!str"
	case t.Kind() == reflect.Bool:
		return tag == "!!bool"
	default:
		return tag == "!!int"
	}
}

// setScalar parses the text of a file or of a flag.
func setScalar(into reflect.Value, text string) error {
	if into.Kind() == reflect.String {
		allowed, limited := reflect.TypeAssert[enum](into)
		if limited && !slices.Contains(allowed.values(), text) {
			return fmt.Errorf("found %s; %s", quote(text), wantOf(into.Type()))
		}
		into.SetString(text)
		return nil
	}
	if parsed, ok := parseScalar(into.Type(), text); ok {
		into.Set(parsed)
		return nil
	}
	return fmt.Errorf("found %s; %s", quote(text), wantOf(into.Type()))
}

func parseScalar(t reflect.Type, text string) (reflect.Value, bool) {
	if len(text) > longestValue {
		return reflect.Value{}, false
	}
	switch {
	case t == reflect.TypeFor[metav1.Duration]():
		duration, err := time.ParseDuration(text)
		return reflect.ValueOf(metav1.Duration{Duration: duration}), err == nil
	case t == reflect.TypeFor[resource.Quantity]():
		if !smallExponent(text) {
			return reflect.Value{}, false
		}
		quantity, err := resource.ParseQuantity(text)
		return reflect.ValueOf(quantity), err == nil
	case t == reflect.TypeFor[*int64]():
		number, err := strconv.ParseInt(text, 10, 64)
		return reflect.ValueOf(&number), err == nil
	case t.Kind() == reflect.Bool:
		yes, err := strconv.ParseBool(text)
		return reflect.ValueOf(yes), err == nil
	default:
		number, err := strconv.ParseInt(text, 10, 32)
		return reflect.ValueOf(int32(number)), err == nil && number <= math.MaxInt32
	}
}

// smallExponent keeps values such as 1e-9999999 from resource.ParseQuantity, which
// would take seconds for them.
func smallExponent(text string) bool {
	at := strings.LastIndexAny(text, "eE")
	if at < 0 {
		return true
	}
	return len(strings.TrimLeft(text[at+1:], "+-")) <= 2
}

// wantOf says which scalars are allowed.
func wantOf(t reflect.Type) string {
	if allowed, limited := reflect.TypeAssert[enum](reflect.Zero(t)); limited {
		return "want " + list(allowed.values())
	}
	switch {
	case t == reflect.TypeFor[metav1.Duration]():
		return "want a duration such as 30s, 5m or 1h30m"
	case t == reflect.TypeFor[resource.Quantity]():
		return "want a quantity such as 4, 500m or 16Gi"
	case t.Kind() == reflect.String:
		return "want text"
	case t.Kind() == reflect.Bool:
		return "want true or false"
	default:
		return "want a whole number"
	}
}

// describe describes a node, with its value unless that may be secret.
func describe(node *yaml.Node, path string) string {
	kind := kindOf(node)
	if node.Kind != yaml.ScalarNode || node.ShortTag() == "!!null" {
		return kind
	}
	if secret(path) {
		return strings.Replace(kind, "the ", "a ", 1)
	}
	return kind + " " + quote(node.Value)
}

func secret(path string) bool {
	return strings.HasPrefix(path, "pods.env[") && strings.HasSuffix(path, ".value")
}

func kindOf(node *yaml.Node) string {
	switch node.Kind {
	case yaml.AliasNode:
		return "an alias"
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	switch node.ShortTag() {
	case "!!int", "!!float":
		return "the number"
	case "!!bool":
		return "the boolean"
	case "!!null":
		return "nothing"
	case "!!timestamp":
		return "the date"
	case "!!str":
		return "the text"
	default:
		return "the " + node.ShortTag() + " value"
	}
}

// jsonFields returns the index of each field by its name in YAML.
func jsonFields(t reflect.Type) map[string]int {
	known := map[string]int{}
	for i := range t.NumField() {
		name := jsonName(t.Field(i))
		if _, not := unusable(t, name); name != "" && !not {
			known[name] = i
		}
	}
	return known
}

func jsonName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// wantField suggests the field with the most similar name, or lists all fields.
func wantField(name string, owner reflect.Type) string {
	var names []string
	for field := range owner.Fields() {
		known := jsonName(field)
		if _, not := unusable(owner, known); !not {
			names = append(names, known)
		}
	}
	if near := spelling.Nearest(name, names); near != "" {
		return "did you mean " + near + "?"
	}
	return "want " + list(names)
}
