package output

import (
	"bytes"
	"encoding/json"
	"unicode"
	"unicode/utf8"

	"sigs.k8s.io/yaml"
)

// YAML encodes a value by way of JSON. A YAML decoder refuses JSON that contains
// some of the characters that the API accepts in texts, such as DEL and U+009B,
// unless they are escaped: one of them in any pod would otherwise be the end of a
// list.
func YAML(value any) ([]byte, error) {
	encoded, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	return yaml.JSONToYAML(escapeJSON(encoded))
}

// escapeJSON returns JSON that means the same. It escapes invisible characters,
// which can occur only in strings; YAML has no escapes for those beyond U+FFFF, and
// reads them as they are.
func escapeJSON(encoded []byte) []byte {
	var escaped bytes.Buffer
	for len(encoded) > 0 {
		r, size := utf8.DecodeRune(encoded)
		if r < ' ' || r > 0xffff || unicode.IsGraphic(r) {
			escaped.WriteRune(r)
		} else {
			escaped.WriteString(escapeRune(r))
		}
		encoded = encoded[size:]
	}
	return escaped.Bytes()
}
