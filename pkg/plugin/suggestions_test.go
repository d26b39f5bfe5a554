package plugin_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// written recognizes a command in a text. Words such as "kubectl logs, exec and
// attach fail" are none.
var written = regexp.MustCompile(`kubectl (actual )?(install|uninstall|check|token|status|where|nodes|volumes|report|manifests|` +
	`get|describe|label|scale|rollout|delete|uncordon|drain|cluster-info|config|api-resources)\b`)

// A suggested command is pasted: it has to lead to the clusters of the command that
// suggests it, to be quoted, and to end its line. kubeclient.Commands sees to that,
// so no message may write a command itself, or add anything to one.
func TestSuggestions(t *testing.T) {
	err := filepath.WalkDir("internal", func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(node ast.Node) bool {
			switch node := node.(type) {
			case *ast.KeyValueExpr: // the help of a command has examples
				key, ok := node.Key.(*ast.Ident)
				return !ok || key.Name != "Long" && key.Name != "Example" && key.Name != "Short"
			case *ast.BasicLit:
				if text := literal(node); written.MatchString(text) {
					t.Errorf("%s: %q has a command that kubeclient.Commands did not build", files.Position(node.Pos()), text)
				}
			case *ast.BinaryExpr:
				after := literal(node.Y)
				if after != "" && isCommand(last(node.X)) && !strings.HasPrefix(after, "\n") && !strings.HasPrefix(after, " | ") {
					t.Errorf("%s: %q is glued to a command", files.Position(node.Y.Pos()), after)
				}
			case *ast.CallExpr:
				if after := afterCommand(node); after != "" && !strings.HasPrefix(after, "\n") {
					t.Errorf("%s: %q is glued to a command", files.Position(node.Pos()), after)
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func literal(node ast.Expr) string {
	text, ok := node.(*ast.BasicLit)
	if !ok || text.Kind != token.STRING {
		return ""
	}
	value, err := strconv.Unquote(text.Value)
	if err != nil {
		return ""
	}
	return value
}

// last is the last operand of a sum.
func last(node ast.Expr) ast.Expr {
	if sum, ok := node.(*ast.BinaryExpr); ok {
		return sum.Y
	}
	return node
}

// isCommand recognizes a call that builds a command, by the names of those that do.
func isCommand(node ast.Expr) bool {
	call, ok := node.(*ast.CallExpr)
	if !ok {
		return false
	}
	function, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	name := function.Sel.Name
	return name == "Actual" || name == "ActualLocal" || name == "Kubectl" || strings.HasSuffix(name, "Command") && name != "NewCommand"
}

// verb is one of a format.
var verb = regexp.MustCompile(`%[a-z]`)

// afterCommand is what a format has after a command that is one of its arguments.
func afterCommand(call *ast.CallExpr) string {
	for i, argument := range call.Args {
		format := literal(argument)
		verbs := verb.FindAllStringIndex(format, -1)
		if len(verbs) == 0 || len(call.Args)-i-1 != len(verbs) {
			continue
		}
		for v, place := range verbs {
			if isCommand(call.Args[i+1+v]) {
				return strings.TrimSuffix(format[place[1]:], "\n")
			}
		}
	}
	return ""
}
