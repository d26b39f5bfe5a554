package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/util/validation/field"
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
		if checkText(data, found); len(found.list) == 0 {
			parse(data, cfg, found)
		}
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
		return "found " + quote(fmt.Sprint(problem.BadValue)) + " twice"
	default:
		return "found " + quote(fmt.Sprint(problem.BadValue))
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
			found.at(header.field, "found "+quote(header.have), "want "+header.want)
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
			checkText(data, found)
			return data
		}
	}
	if cause, ok := errors.AsType[*fs.PathError](err); ok {
		err = cause.Err // the sentence begins with the path
	}
	found.add("", 0, "cannot be read: "+err.Error(), "want a readable YAML file")
	return nil
}

func checkText(data []byte, found *problems) {
	if len(data) > maxBytes {
		found.add("", 0, fmt.Sprintf("larger than %d bytes", maxBytes), "want a smaller file: is this the configuration of akd?")
		return
	}
	if utf8.Valid(data) {
		return
	}
	line := 1
	for rest := data; len(rest) > 0; {
		r, size := utf8.DecodeRune(rest)
		if r == utf8.RuneError && size == 1 {
			break
		}
		if r == '\n' {
			line++
		}
		rest = rest[size:]
	}
	found.add("", line, "found bytes that are not UTF-8", "want the file saved as UTF-8")
}

// parse decodes the only document in data into cfg.
func parse(data []byte, cfg *Configuration, found *problems) {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var document *yaml.Node
	for {
		var next yaml.Node
		err := decoder.Decode(&next)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			syntax(err, data, found)
			return
		}
		root := next.Content[0]
		switch {
		case root.ShortTag() == "!!null":
		case document != nil:
			found.add("", root.Line, "found a second document", "want one document in the file")
			return
		default:
			document = root
		}
	}
	if document == nil {
		found.add("", 0, "the file is empty", wantHeader)
		return
	}
	// A file must have both; the defaults are for use without a file.
	cfg.APIVersion, cfg.Kind = "", ""
	decode(document, reflect.ValueOf(cfg).Elem(), found)
}

// syntax reports an error of the YAML parser. The parser gives the line only as part
// of its text.
func syntax(err error, data []byte, found *problems) {
	text, line := strings.TrimPrefix(err.Error(), "yaml: "), 0
	if match := regexp.MustCompile(`^line (\d+): (.*)`).FindStringSubmatch(text); match != nil {
		line, _ = strconv.Atoi(match[1])
		text = match[2]
	}
	if tab := tabbed(data); tab > 0 && (line == 0 || tab <= line+1) {
		found.add("", tab, "found a tab in the indentation", "want spaces: YAML does not allow tabs for indentation")
		return
	}
	found.add("", line, "not valid YAML: "+text, "check indentation, quotes and brackets there")
}

// tabbed returns the first line that is indented with a tab, or 0.
func tabbed(data []byte) int {
	for i, line := range strings.Split(string(data), "\n") {
		indent := line[:len(line)-len(strings.TrimLeft(line, " \t"))]
		if strings.Contains(indent, "\t") && strings.TrimSpace(line) != "" {
			return i + 1
		}
	}
	return 0
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
