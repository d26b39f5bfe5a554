package audit

import (
	"maps"
	"os"
	"strings"
	"testing"
)

// right is a verb on a resource, "pods/exec" or "leases.coordination.k8s.io",
// or on a path; on the objects of one name, or on all.
type right struct {
	verb, resource, name string
}

func (r right) String() string { return strings.TrimSpace(r.verb + " " + r.resource + " " + r.name) }

// Rights are listed rights by where they hold: "anywhere", or a place whose
// meaning the test defines.
type Rights map[string]map[right]bool

// Read reads lists of the rights of a node; the first lines of
// testdata/rights/remote.txt describe their format.
func Read(t testing.TB, node string, paths ...string) Rights {
	t.Helper()
	listed := Rights{}
	for _, path := range paths {
		listed.read(t, node, path)
	}
	return listed
}

func (r Rights) read(t testing.TB, node, path string) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for number, line := range strings.Split(string(content), "\n") {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(strings.ReplaceAll(line, "NODE", node))
		switch len(words) {
		case 0:
			continue
		case 3:
			words = append(words, "")
		case 4:
		default:
			t.Fatalf("%s:%d: want WHERE VERBS RESOURCE [NAMES]", path, number+1)
		}
		if r[words[0]] == nil {
			r[words[0]] = map[right]bool{}
		}
		for verb := range strings.SplitSeq(words[1], ",") {
			for name := range strings.SplitSeq(words[3], ",") {
				r[words[0]][right{verb, words[2], name}] = true
			}
		}
	}
}

// in returns the rights in a namespace that is one of those places.
func (r Rights) in(places ...string) map[right]bool {
	all := maps.Clone(r["anywhere"])
	for _, place := range places {
		maps.Copy(all, r[place])
	}
	return all
}

// inGroup names a resource with its group: "serviceaccounts/token",
// "deployments/scale.apps".
func inGroup(resource, group string) string {
	if group == "" {
		return resource
	}
	return resource + "." + group
}
