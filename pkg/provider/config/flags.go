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
)

// Flags are the command line's part of the configuration. Make them with
// BindFlags.
type Flags struct {
	// File that --config named; empty when none was.
	File   string
	values []*flagValue
}

// BindFlags adds --config and a flag for each field that has one. Load reads
// them after the flag set has parsed its arguments.
func BindFlags(flags *pflag.FlagSet) *Flags {
	bound := &Flags{}
	flags.StringVar(&bound.File, "config", "", "Configuration file, apiVersion "+APIVersion+", kind "+Kind+"; the other flags override it")
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

// Load reads the file of --config, when there is one, lets the flags that were
// given override it, and validates the whole. Its error is an *Error.
func (f *Flags) Load() (*Configuration, error) {
	return load(f.File, f)
}

// apply sets what was given. A flag mends what the file has wrong.
func (f *Flags) apply(cfg *Configuration, found *problems) {
	if f == nil {
		return
	}
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
	case isScalar(f.typ):
		return setScalar(f.value, text)
	case f.typ.Kind() == reflect.Map:
		return f.setEntries(text)
	case f.typ == reflect.TypeFor[[]corev1.EnvVar]():
		// One a flag: a value may hold commas.
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
			return fmt.Errorf("found %s; want NAME=VALUE, more after commas", quote(item))
		}
		entry := reflect.New(f.typ.Elem()).Elem()
		if err := setScalar(entry, value); err != nil {
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
			return fmt.Errorf("found %s; %w, more after commas", quote(item), err)
		}
		f.append(reflect.ValueOf(taint))
	}
	return nil
}

func (f *flagValue) append(item reflect.Value) {
	f.value.Set(reflect.Append(f.value, item))
}

// Type implements pflag.Value: the placeholder in the usage.
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

// ParseTaint reads KEY[=VALUE]:EFFECT, as kubectl taint and the kubelet's
// --register-with-taints write it. Its error says what it wants.
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
		return nil // --node-labels= takes away what the file has
	}
	return strings.Split(text, ",")
}

// render shows a scalar as a person writes it. Lists and maps are empty by
// default and not shown.
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

// duration without the zeros of Go's own: 10m, not 10m0s.
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

// typeName is how the usage and the reference call a type.
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
