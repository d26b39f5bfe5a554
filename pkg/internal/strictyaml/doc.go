// Package strictyaml decodes a YAML document into a Go struct, and reports all mistakes
// at once, each with its line, its field, what is there and what is allowed. It is
// strict: unknown and duplicate fields, values of the wrong type and second documents
// are mistakes.
//
// It owns the messages about the form of a document. It must not know what the document
// is about: its caller provides that in a Decoder, and validates the values.
//
//	document -> isText -> document -> value ─┬→ struct
//	           (UTF-8)    (YAML nodes)       └→ Result: problems, lines
package strictyaml
