// Package keypattern matches the keys of labels and annotations.
//
// It owns the syntax of patterns. It must not know which keys matter to anybody, and
// it imports nothing from this module.
//
//	*example.com/  +  iam.example.com/role  ──▶ matches
package keypattern
