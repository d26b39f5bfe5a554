package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/actual-kubelets/actual-kubelets/pkg/internal/strictyaml"
)

// maxBytes is the limit of a configuration file: that of etcd for one object, far
// more than anybody writes by hand.
const maxBytes = 1 << 20

const wantHeader = "want apiVersion: " + APIVersion + " and kind: " + Kind

// Load reads the configuration in the file, over the defaults, and validates it.
// Its error is an *Error with all problems.
func Load(path string) (*Configuration, error) {
	return load(path, &Flags{})
}

// Decode reads a configuration from data, over the defaults, and validates it.
// Errors refer to the data by name. If edit is not nil, it modifies the
// configuration before the validation; it can add a missing header. Relative paths
// stay unchanged.
func Decode(name string, data []byte, edit func(*Configuration)) (*Configuration, error) {
	cfg, found := Default(), newProblems(name)
	if len(data) > 0 {
		parse(data, cfg, found)
	}
	if unreadable(found) {
		return nil, found.err()
	}
	if edit != nil {
		edit(cfg)
	}
	if foreign(cfg, found) {
		return nil, found.err()
	}
	return validated(cfg, found)
}

// load reads the file, if any, applies the flags and validates.
func load(path string, flags *Flags) (*Configuration, error) {
	cfg, found := Default(), newProblems(path)
	if path != "" {
		data := read(path, found)
		if len(found.list) == 0 {
			parse(data, cfg, found)
		}
		resolve(cfg, filepath.Dir(path))
	}
	if unreadable(found) {
		return nil, found.err()
	}
	if foreign(cfg, found) {
		return nil, found.err()
	}
	flags.apply(cfg, found)
	return validated(cfg, found)
}

// unreadable reports whether nothing was read. Missing fields are not reported then.
func unreadable(found *problems) bool {
	return len(found.list) > 0 && found.list[0].Field == ""
}

// validated adds the invalid values to the problems found while reading.
func validated(cfg *Configuration, found *problems) (*Configuration, error) {
	unread := slices.Clone(found.list)
	for _, problem := range cfg.Validate() {
		// A field that could not be read still has its default: report it once.
		if !slices.ContainsFunc(unread, func(p Problem) bool { return below(problem.Field, p.Field) }) {
			found.at(problem.Field, foundIn(problem), problem.Detail)
		}
	}
	if err := found.err(); err != nil {
		return nil, err
	}
	return cfg, nil
}

func foundIn(problem *field.Error) string {
	switch problem.Type {
	case field.ErrorTypeRequired:
		return "not set"
	case field.ErrorTypeForbidden:
		return "not allowed"
	case field.ErrorTypeDuplicate:
		return "found " + strictyaml.Quote(fmt.Sprint(problem.BadValue)) + " twice"
	default:
		return "found " + strictyaml.Quote(fmt.Sprint(problem.BadValue))
	}
}

// foreign reports a file that is not a configuration of akd. Its other problems
// would be misleading.
func foreign(cfg *Configuration, found *problems) bool {
	if cfg.APIVersion == APIVersion && cfg.Kind == Kind {
		return false
	}
	found.list = nil
	for _, header := range []struct{ field, have, want string }{
		{"apiVersion", cfg.APIVersion, APIVersion},
		{"kind", cfg.Kind, Kind},
	} {
		switch header.have {
		case header.want:
		case "":
			found.at(header.field, "not set", "want "+header.want)
		default:
			found.at(header.field, "found "+strictyaml.Quote(header.have), "want "+header.want)
		}
	}
	return true
}

// read returns the content of the file.
func read(path string, found *problems) []byte {
	file, err := os.Open(path)
	if err == nil {
		defer func() { _ = file.Close() }()
		var data []byte
		if data, err = io.ReadAll(io.LimitReader(file, maxBytes+1)); err == nil {
			return data
		}
	}
	if cause, ok := errors.AsType[*fs.PathError](err); ok {
		err = cause.Err // the sentence begins with the path
	}
	found.add("", 0, "cannot be read: "+err.Error(), "want a readable YAML file")
	return nil
}

// parse decodes data into cfg.
func parse(data []byte, cfg *Configuration, found *problems) {
	if len(data) > maxBytes {
		found.add("", 0, fmt.Sprintf("larger than %d bytes", maxBytes), "want a smaller file: is this the configuration of akd?")
		return
	}
	// A file must have both; the defaults are for use without a file.
	cfg.APIVersion, cfg.Kind = "", ""
	result := strictyaml.Decoder{Header: wantHeader, Unusable: unusable, Secret: secret}.Decode(data, cfg)
	for _, problem := range result.Problems {
		found.add(problem.Field, problem.Line, problem.Found, problem.Want)
	}
	for path, line := range result.Lines {
		found.origins[path] = origin{line: line}
	}
}

// unusable reports whether a configuration cannot use a field of a type of
// Kubernetes, and what to do instead.
func unusable(owner reflect.Type, name string) (instead string, is bool) {
	switch {
	case owner == reflect.TypeFor[corev1.EnvVar]() && name == "valueFrom":
		return "want a value: a source would have to exist in every namespace", true
	case owner == reflect.TypeFor[corev1.Taint]() && name == "timeAdded":
		return "remove it: Kubernetes sets it", true
	}
	return "", false
}

// secret reports whether the value at a path may be secret.
func secret(path string) bool {
	return strings.HasPrefix(path, "pods.env[") && strings.HasSuffix(path, ".value")
}

// resolve makes relative paths relative to the folder of the file, as in a
// kubeconfig or a KubeletConfiguration.
func resolve(cfg *Configuration, folder string) {
	for _, known := range fields() {
		if !known.isPath {
			continue
		}
		value := reflect.ValueOf(cfg).Elem().FieldByIndex(known.index)
		if path := value.String(); path != "" && !filepath.IsAbs(path) {
			value.SetString(filepath.Join(folder, path))
		}
	}
}
