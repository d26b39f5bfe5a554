// Package output is what a user sees of a command: progress on standard error,
// results on standard output.
//
// It knows nothing of clusters. A command makes a Console of each of its two
// outputs once the flags are read.
//
//	Style (flags, environment) ─→ Console ──┬→ Steps      ✓ what was done (1.2s)
//	                                        ├→ Paragraph  text, broken at the terminal's width
//	Printer (-o) ─→ List ───────────────────┴→ a table, or kubectl's own printers
//
// Only on a terminal has a Console a width, colors and lines that are written
// over. A file or a pipe gets whole lines of plain text.
package output
