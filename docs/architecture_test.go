// Package docs_test holds the pages in this folder against the code.
package docs_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// module is the path that imports of this repository's rooms begin with.
const module = "github.com/actual-kubelets/actual-kubelets/"

// A list of packages that is out of date leads newcomers to the wrong room.
func TestRoomsArePackages(t *testing.T) {
	repository := os.DirFS("..")
	listed := listedRooms(t, repository)
	slices.Sort(listed)
	if diff := cmp.Diff(packages(t, repository), listed); diff != "" {
		t.Errorf("the rooms of docs/ARCHITECTURE.md are not the packages of this module (-packages +rooms):\n%s", diff)
	}
	for _, room := range listed {
		if strings.HasPrefix(room, "cmd/") {
			continue // a command says in main.go what it does
		}
		if _, err := fs.Stat(repository, path.Join(room, "doc.go")); err != nil {
			t.Errorf("%s has no doc.go, which says what it owns and what it must not touch", room)
		}
	}
}

// The page promises that a room imports only rooms listed below it. A reader who
// goes down the list then never meets a room that depends on one further up.
func TestRoomsImportDownwards(t *testing.T) {
	repository := os.DirFS("..")
	listed := listedRooms(t, repository)
	for floor, room := range listed {
		for _, imported := range imports(t, repository, room) {
			if below := slices.Index(listed, imported); below <= floor {
				t.Errorf("%s imports %s, which docs/ARCHITECTURE.md does not list below it", room, imported)
			}
		}
	}
}

// listedRooms returns the first word of each indented line under "The rooms",
// in the page's order.
func listedRooms(t *testing.T, repository fs.FS) []string {
	t.Helper()
	page, err := fs.ReadFile(repository, "docs/ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(page), "\n## The rooms\n")
	if !found {
		t.Fatal(`docs/ARCHITECTURE.md has no section "The rooms"`)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	var rooms []string
	for line := range strings.Lines(section) {
		if room, indented := strings.CutPrefix(line, "    "); indented {
			rooms = append(rooms, strings.Fields(room)[0])
		}
	}
	return rooms
}

// imports returns the rooms that the files of a room import, tests aside.
func imports(t *testing.T, repository fs.FS, room string) []string {
	t.Helper()
	files, err := fs.Glob(repository, room+"/*.go")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		source, err := fs.ReadFile(repository, file)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, source, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range parsed.Imports {
			name, err := strconv.Unquote(one.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if imported, ours := strings.CutPrefix(name, module); ours && !slices.Contains(found, imported) {
				found = append(found, imported)
			}
		}
	}
	return found
}

// packages returns the folders of this module that have Go files besides tests.
// Folders under test are no rooms of the product; the page has a line for them.
func packages(t *testing.T, repository fs.FS) []string {
	t.Helper()
	found := map[string]bool{}
	err := fs.WalkDir(repository, ".", func(file string, entry fs.DirEntry, err error) error {
		switch name := entry.Name(); {
		case err != nil:
			return err
		case entry.IsDir() && (file == "test" || name == "testdata" || file != "." && strings.HasPrefix(name, ".")):
			return fs.SkipDir
		case !entry.IsDir() && strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go"):
			found[path.Dir(file)] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	all := make([]string, 0, len(found))
	for folder := range found {
		all = append(all, folder)
	}
	slices.Sort(all)
	return all
}
