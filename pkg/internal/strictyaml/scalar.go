package strictyaml

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Enum is implemented by string types with a fixed set of values.
type Enum interface{ Values() []string }

// longestValue is the limit of a number, quantity or duration, in bytes. No valid
// value is longer.
const longestValue = 64

// IsScalar reports whether the type is a scalar in YAML, and one argument of a flag.
func IsScalar(t reflect.Type) bool {
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

// SetScalar sets a scalar to the value of a text, from a file or a flag. Its error says
// what is allowed.
func SetScalar(into reflect.Value, text string) error {
	if into.Kind() == reflect.String {
		allowed, limited := reflect.TypeAssert[Enum](into)
		if limited && !slices.Contains(allowed.Values(), text) {
			return fmt.Errorf("found %s; %s", Quote(text), wantOf(into.Type()))
		}
		into.SetString(text)
		return nil
	}
	if parsed, ok := parseScalar(into.Type(), text); ok {
		into.Set(parsed)
		return nil
	}
	return fmt.Errorf("found %s; %s", Quote(text), wantOf(into.Type()))
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
	if allowed, limited := reflect.TypeAssert[Enum](reflect.Zero(t)); limited {
		return "want " + List(allowed.Values())
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
