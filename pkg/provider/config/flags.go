package config

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/internal/strictyaml"
)

// Flags are the part of the configuration that comes from the command line. Make
// them with BindFlags.
type Flags struct {
	// File is the value of --config, or empty.
	File   string
	values []*flagValue
}

// BindFlags adds --config and the flags of fields to a flag set. Call Load after the
// flag set has parsed its arguments.
func BindFlags(flags *pflag.FlagSet) *Flags {
	bound := &Flags{}
	flags.StringVar(&bound.File, "config", "",
		"Path of a configuration file of kind "+Kind+", apiVersion "+APIVersion+"; other flags override it")
	defaults := reflect.ValueOf(Default()).Elem()
	for _, known := range fields() {
		if known.flag == "" {
			continue
		}
		value := &flagValue{leaf: known, value: reflect.New(known.typ).Elem()}
		bound.values = append(bound.values, value)
		flag := flags.VarPF(value, known.flag, "", usage(known))
		flag.DefValue = render(defaults.FieldByIndex(known.index))
		if known.typ.Kind() == reflect.Bool {
			flag.NoOptDefVal = "true"
		}
	}
	return bound
}

// Load reads the file of --config, if any, applies the flags, and validates the
// result. Its error is an *Error.
func (f *Flags) Load() (*Configuration, error) {
	return load(f.File, f)
}

// apply sets the fields whose flags were given. A flag overrides mistakes of the
// file, too.
func (f *Flags) apply(cfg *Configuration, found *problems) {
	for _, value := range f.values {
		if value.given {
			reflect.ValueOf(cfg).Elem().FieldByIndex(value.index).Set(value.value)
			found.overridden(value.path, value.flag)
		}
	}
}

// flagValue implements pflag.Value for any leaf.
type flagValue struct {
	leaf
	value reflect.Value
	given bool
}

// String implements pflag.Value.
func (f *flagValue) String() string {
	if f == nil || !f.value.IsValid() {
		return ""
	}
	return render(f.value)
}

// Set implements pflag.Value. A list or map grows with each use of its flag.
func (f *flagValue) Set(text string) error {
	f.given = true
	switch {
	case strictyaml.IsScalar(f.typ):
		return strictyaml.SetScalar(f.value, text)
	case f.typ.Kind() == reflect.Map:
		return f.setEntries(text)
	case f.typ == reflect.TypeFor[[]corev1.EnvVar]():
		// One per flag: a value may contain commas.
		name, value, ok := strings.Cut(text, "=")
		if !ok {
			return errors.New("found no =; want NAME=VALUE")
		}
		f.append(reflect.ValueOf(corev1.EnvVar{Name: name, Value: value}))
		return nil
	default:
		return f.setItems(text)
	}
}

func (f *flagValue) setEntries(text string) error {
	if f.value.IsNil() {
		f.value.Set(reflect.MakeMap(f.typ))
	}
	for _, item := range split(text) {
		key, value, ok := strings.Cut(item, "=")
		if !ok {
			return fmt.Errorf("found %s; want NAME=VALUE, separated by commas", strictyaml.Quote(item))
		}
		entry := reflect.New(f.typ.Elem()).Elem()
		if err := strictyaml.SetScalar(entry, value); err != nil {
			return err
		}
		f.value.SetMapIndex(reflect.ValueOf(key).Convert(f.typ.Key()), entry)
	}
	return nil
}

func (f *flagValue) setItems(text string) error {
	for _, item := range split(text) {
		if f.typ == reflect.TypeFor[[]string]() {
			f.append(reflect.ValueOf(item))
			continue
		}
		taint, err := ParseTaint(item)
		if err != nil {
			return fmt.Errorf("found %s; %w, separated by commas", strictyaml.Quote(item), err)
		}
		f.append(reflect.ValueOf(taint))
	}
	return nil
}

func (f *flagValue) append(item reflect.Value) {
	f.value.Set(reflect.Append(f.value, item))
}

// Type implements pflag.Value. It is the placeholder in --help.
func (f *flagValue) Type() string {
	switch {
	case f.typ.Kind() == reflect.Bool:
		return "bool" // pflag then shows none
	case f.typ == reflect.TypeFor[[]corev1.Taint]():
		return "KEY=VALUE:EFFECT,..."
	case f.typ == reflect.TypeFor[[]corev1.EnvVar]():
		return "NAME=VALUE"
	case f.typ.Kind() == reflect.Map:
		return "NAME=VALUE,..."
	case f.typ == reflect.TypeFor[[]string]():
		return "string,..."
	}
	return typeName(f.typ)
}

// ParseTaint parses KEY[=VALUE]:EFFECT, the format of kubectl taint and of the flag
// --register-with-taints of the kubelet. Its error says what is expected.
func ParseTaint(text string) (corev1.Taint, error) {
	rest, effect, ok := strings.Cut(text, ":")
	if !ok {
		return corev1.Taint{}, errors.New("want KEY=VALUE:EFFECT or KEY:EFFECT")
	}
	key, value, _ := strings.Cut(rest, "=")
	return corev1.Taint{Key: key, Value: value, Effect: corev1.TaintEffect(effect)}, nil
}

func split(text string) []string {
	if text == "" {
		return nil // --node-labels= removes those of the file
	}
	return strings.Split(text, ",")
}

// render formats a scalar as a person writes it. Lists and maps have no text: they
// are empty by default.
func render(value reflect.Value) string {
	switch known := value.Interface().(type) {
	case metav1.Duration:
		return duration(known.Duration)
	case resource.Quantity:
		return known.String()
	}
	if value.Kind() == reflect.Map || value.Kind() == reflect.Slice {
		return ""
	}
	return fmt.Sprint(value.Interface())
}

// duration formats without the zeros of Go: 10m, not 10m0s.
func duration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// typeName is the name of a type in --help and in the reference.
func typeName(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[resource.Quantity]():
		return "quantity"
	case t == reflect.TypeFor[metav1.Duration]():
		return "duration"
	case t.Kind() == reflect.String:
		return "string"
	case t.Kind() == reflect.Bool:
		return "boolean"
	case t.Kind() == reflect.Int32, t == reflect.TypeFor[*int64]():
		return "integer"
	case t.Kind() == reflect.Map:
		return "map of " + typeName(t.Elem())
	case t.Kind() == reflect.Slice:
		return "list of " + typeName(t.Elem())
	default:
		return t.Name()
	}
}
