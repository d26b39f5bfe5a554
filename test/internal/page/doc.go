// Package page keeps generated sections of Markdown pages: the lines between
// "<!-- begin NAME -->" and "<!-- end NAME -->" are a program's, all others a
// person's. It knows nothing of what the sections say.
//
//	measurement ── text ─→ Replace ─→ docs/performance/tables.md
package page
