package strictyaml

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// isText reports whether data is UTF-8, and adds a problem otherwise.
func (d *decoding) isText(data []byte) bool {
	if utf8.Valid(data) {
		return true
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
	d.add("", line, "found bytes that are not UTF-8", "want the file saved as UTF-8")
	return false
}

// document returns the only document in data, or nil with a problem.
func (d *decoding) document(data []byte) *yaml.Node {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var document *yaml.Node
	for {
		var next yaml.Node
		err := decoder.Decode(&next)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			d.syntax(err, data)
			return nil
		}
		root := next.Content[0]
		switch {
		case root.ShortTag() == "!!null":
		case document != nil:
			d.add("", root.Line, "found a second document", "want one document in the file")
			return nil
		default:
			document = root
		}
	}
	if document == nil {
		d.add("", 0, "the file is empty", d.Header)
	}
	return document
}

// syntax reports an error of the YAML parser. The parser gives the line only as part
// of its text.
func (d *decoding) syntax(err error, data []byte) {
	text, line := strings.TrimPrefix(err.Error(), "yaml: "), 0
	if match := regexp.MustCompile(`^line (\d+): (.*)`).FindStringSubmatch(text); match != nil {
		line, _ = strconv.Atoi(match[1])
		text = match[2]
	}
	if tab := tabbed(data); tab > 0 && (line == 0 || tab <= line+1) {
		d.add("", tab, "found a tab in the indentation", "want spaces: YAML does not allow tabs for indentation")
		return
	}
	d.add("", line, "not valid YAML: "+text, "check indentation, quotes and brackets there")
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

// describe describes a node, with its value unless that may be secret.
func (d *decoding) describe(node *yaml.Node, path string) string {
	kind := kindOf(node)
	if node.Kind != yaml.ScalarNode || node.ShortTag() == "!!null" {
		return kind
	}
	if d.Secret != nil && d.Secret(path) {
		return strings.Replace(kind, "the ", "a ", 1)
	}
	return kind + " " + Quote(node.Value)
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

// longestQuote is how much of a value an error quotes, in bytes.
const longestQuote = 64

// Quote formats a value for an error, on one line and of limited length.
func Quote(value string) string {
	if len(value) > longestQuote {
		return fmt.Sprintf("%.*q…", longestQuote, value)
	}
	return strconv.Quote(value)
}

// List formats alternatives: a, b or c.
func List(values []string) string {
	if len(values) < 2 {
		return strings.Join(values, "")
	}
	last := len(values) - 1
	return strings.Join(values[:last], ", ") + " or " + values[last]
}
