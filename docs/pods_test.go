package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// A reason that the page does not list sends the owner of a pod to the source.
func TestPageListsReasons(t *testing.T) {
	content, err := os.ReadFile("pods.md")
	if err != nil {
		t.Fatal(err)
	}
	page, found := string(content), 0
	for pattern, prefix := range map[string]string{
		"../pkg/provider/translate/*.go":  "Reason",
		"../pkg/provider/internal/*/*.go": "Reason",
		"../pkg/contract/labels.go":       "ConditionRemote",
	} {
		for name, value := range constants(t, pattern) {
			if !strings.HasPrefix(name, prefix) {
				continue
			}
			found++
			if !strings.Contains(page, "`"+value) {
				t.Errorf("docs/pods.md does not list %s (%s)", value, name)
			}
		}
	}
	if found < 20 {
		t.Errorf("found %d reasons: the test does not look where they are", found)
	}
}

// constants returns the string constants of the files that match, but for tests.
func constants(t *testing.T, pattern string) map[string]string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %d files, %v", pattern, len(files), err)
	}
	values := map[string]string{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(node ast.Node) bool {
			spec, ok := node.(*ast.ValueSpec)
			if !ok || len(spec.Values) != len(spec.Names) {
				return true
			}
			for i, name := range spec.Names {
				if text, ok := literal(spec.Values[i]); ok {
					values[name.Name] = text
				}
			}
			return true
		})
	}
	return values
}

// literal returns the text of a string literal, also after a constant prefix.
func literal(value ast.Expr) (string, bool) {
	if sum, ok := value.(*ast.BinaryExpr); ok {
		text, ok := literal(sum.Y)
		return "actual.vk/" + text, ok
	}
	basic, ok := value.(*ast.BasicLit)
	if !ok || basic.Kind != token.STRING {
		return "", false
	}
	text, err := strconv.Unquote(basic.Value)
	return text, err == nil
}
