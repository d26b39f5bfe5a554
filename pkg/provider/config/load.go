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

// maxBytes of a configuration file: what etcd takes of one object, and far
// more than anybody writes by hand.
const maxBytes = 1 << 20

const wantHeader = "want apiVersion: " + APIVersion + " and kind: " + Kind

// Load reads the configuration in the file, over the defaults, and validates
// it. Its error is an *Error with every problem that was found.
func Load(path string) (*Configuration, error) {
	return load(path, nil)
}

// Decode reads a configuration from data, over the defaults, and validates it.
// Errors call the data by its name. edit, if it is not nil, changes what was
// read before it is validated; it may complete data without a header. Relative
// paths stay as they are.
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

// load reads the file, when one is named, applies the flags and validates.
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

// unreadable reports whether nothing was read: what is missing is then no news.
func unreadable(found *problems) bool {
	return len(found.list) > 0 && found.list[0].Field == ""
}

// validated adds what is wrong with the values to what could not be read.
func validated(cfg *Configuration, found *problems) (*Configuration, error) {
	unread := slices.Clone(found.list)
	for _, problem := range cfg.Validate() {
		// What could not be read still has its default, of which there is
		// nothing to say.
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
		return "found " + quote(fmt.Sprint(problem.BadValue)) + " a second time"
	default:
		return "found " + quote(fmt.Sprint(problem.BadValue))
	}
}

// foreign reports a file that is no configuration of akd. Its other problems
// would then mislead.
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
			found.at(header.field, "no text found", "want "+header.want)
		default:
			found.at(header.field, "found "+quote(header.have), "want "+header.want)
		}
	}
	return true
}

// read returns the file's text.
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
		err = cause.Err // the path is already at the head of the sentence
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
		found.add("", 0, "found nothing in it", wantHeader)
		return
	}
	// A file states both; the defaults are for those who use no file.
	cfg.APIVersion, cfg.Kind = "", ""
	decode(document, reflect.ValueOf(cfg).Elem(), found)
}

// syntax reports what the YAML parser refused. The parser gives its line only
// inside of its text.
func syntax(err error, data []byte, found *problems) {
	text, line := strings.TrimPrefix(err.Error(), "yaml: "), 0
	if match := regexp.MustCompile(`^line (\d+): (.*)`).FindStringSubmatch(text); match != nil {
		line, _ = strconv.Atoi(match[1])
		text = match[2]
	}
	if tab := tabbed(data); tab > 0 && (line == 0 || tab <= line+1) {
		found.add("", tab, "found a tab in the indentation", "want spaces: YAML does not allow tabs there")
		return
	}
	found.add("", line, "found text that is not YAML: "+text, "want indentation, quotes and brackets put right there")
}

// tabbed is the first line that is indented with a tab, or 0.
func tabbed(data []byte) int {
	for i, line := range strings.Split(string(data), "\n") {
		indent := line[:len(line)-len(strings.TrimLeft(line, " \t"))]
		if strings.Contains(indent, "\t") && strings.TrimSpace(line) != "" {
			return i + 1
		}
	}
	return 0
}

// resolve makes relative paths those that are seen from the folder of the
// file, as in a kubeconfig or a KubeletConfiguration.
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
