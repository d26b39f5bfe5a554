package plugin

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Every check has its section, in the order of the checks, says whether it is
// made before install, and there is no section without a check.
func TestChecksHaveSections(t *testing.T) {
	page, err := os.ReadFile("../../docs/checks.md")
	if err != nil {
		t.Fatal(err)
	}
	var want, got []string
	for _, c := range categories() {
		want = append(want, "## "+c.name)
		for i := range c.checks {
			want = append(want, "### "+c.checks[i].id)
		}
	}
	for line := range strings.Lines(string(page)) {
		if strings.HasPrefix(line, "##") {
			got = append(got, strings.TrimSpace(line))
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("sections of docs/checks.md (-checks +page):\n%s", diff)
	}
	for _, c := range categories() {
		for i := range c.checks {
			one := &c.checks[i]
			_, section, _ := strings.Cut(string(page), "### "+one.id+"\n\n")
			if early := strings.HasPrefix(section, "**Before install, too.**"); early != one.pre {
				t.Errorf("%s: made before install is %t, its section says %t", one.id, one.pre, early)
			}
		}
	}
}

// A check comes after those that it needs, those exist, and one that is made
// before install needs none that is not.
func TestChecksAreInOrder(t *testing.T) {
	pre := map[string]bool{}
	id := regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`)
	for _, c := range categories() {
		for i := range c.checks {
			one := &c.checks[i]
			if _, twice := pre[one.id]; twice || !id.MatchString(one.id) || one.title == "" {
				t.Errorf("%q: want an id of its own in lower case, and a title", one.id)
			}
			for _, need := range one.needs {
				if early, there := pre[need]; !there || one.pre && !early {
					t.Errorf("%s needs %s, which does not come before it", one.id, need)
				}
			}
			pre[one.id] = one.pre
		}
	}
}

// The rights that install asks for are those that its objects take.
func TestRightsAreNamed(t *testing.T) {
	rule := right{verb: "create", resource: "serviceaccounts", sub: "token", namespace: "actual-system", name: "a"}
	if got, want := rule.String(), "create serviceaccounts/token a in actual-system"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	wanted := installing(&cluster{side: "local"}, true, nil)
	if !slices.Contains(wanted, right{verb: "update", resource: "secrets", namespace: "actual-system"}) {
		t.Error("akd's credential is stored at home, but the right to is not asked for")
	}
}
