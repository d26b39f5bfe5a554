// Package page keeps generated sections of Markdown pages: the lines between
// "<!-- begin NAME -->" and "<!-- end NAME -->" belong to a program, all others to
// people. It knows nothing about the content of the sections.
//
//	measurement ── text ─→ Replace ─→ docs/performance/tables.md
package page
