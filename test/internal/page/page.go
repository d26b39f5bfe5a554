package page

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Replace puts a text between the two marks of a section of the page. The file is
// replaced whole or not at all. It is an error if the page lacks one of the marks.
func Replace(path, section, text string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("page of results: %w", err)
	}
	begin, end := fmt.Sprintf("<!-- begin %s -->\n", section), fmt.Sprintf("<!-- end %s -->", section)
	before, rest, found := strings.Cut(string(content), begin)
	_, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		return fmt.Errorf("page of results %s lacks the lines %q and %q: add them", path, strings.TrimSpace(begin), end)
	}
	next, err := os.CreateTemp(filepath.Dir(path), ".page-*")
	if err != nil {
		return fmt.Errorf("page of results: %w", err)
	}
	defer func() { _ = os.Remove(next.Name()) }()
	if _, err := next.WriteString(before + begin + text + "\n" + end + after); err != nil {
		_ = next.Close()
		return fmt.Errorf("page of results: %w", err)
	}
	if err := next.Close(); err != nil {
		return fmt.Errorf("page of results: %w", err)
	}
	const readable = 0o644
	if err := os.Chmod(next.Name(), readable); err != nil {
		return fmt.Errorf("page of results: %w", err)
	}
	return os.Rename(next.Name(), path)
}
