package install

import (
	"maps"
	"reflect"
)

// without is what one tree of values has and another has not.
func without(fields, unwanted map[string]any) map[string]any {
	rest := map[string]any{}
	for name, value := range fields {
		other, has := unwanted[name]
		if has && reflect.DeepEqual(value, other) {
			continue
		}
		object, isObject := value.(map[string]any)
		unwantedObject, isToo := other.(map[string]any)
		if isObject && isToo {
			value = without(object, unwantedObject)
		}
		rest[name] = value
	}
	return rest
}

// merge is a tree of values with another on top. Lists are replaced.
func merge(fields, on map[string]any) map[string]any {
	merged := maps.Clone(fields)
	if merged == nil {
		merged = map[string]any{}
	}
	for name, value := range on {
		object, isObject := value.(map[string]any)
		below, isToo := merged[name].(map[string]any)
		if isObject && isToo {
			value = merge(below, object)
		}
		merged[name] = value
	}
	return merged
}
