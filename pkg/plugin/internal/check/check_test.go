package check

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Every check has its section, in the order of the checks, says whether it is
// made before install, and there is no section without a check.
func TestChecksHaveSections(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../../../docs/checks.md")
	if err != nil {
		t.Fatal(err)
	}
	var want, got []string
	for _, category := range All() {
		want = append(want, "## "+category.Name)
		for i := range category.Checks {
			want = append(want, "### "+category.Checks[i].ID)
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
	for _, category := range All() {
		for i := range category.Checks {
			check := &category.Checks[i]
			_, section, _ := strings.Cut(string(page), "### "+check.ID+"\n\n")
			if early := strings.HasPrefix(section, "**Before install, too.**"); early != check.Early {
				t.Errorf("%s: early is %t, its section says %t", check.ID, check.Early, early)
			}
		}
	}
}

// A check comes after those that it needs, those exist, and an early one needs
// none that is not. Every check does something, and only node-installed finds the
// node.
func TestChecksAreInOrder(t *testing.T) {
	t.Parallel()
	early := map[string]bool{}
	id := regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`)
	for _, category := range All() {
		for i := range category.Checks {
			check := &category.Checks[i]
			if _, twice := early[check.ID]; twice || !id.MatchString(check.ID) || check.Title == "" {
				t.Errorf("%q: want an ID of its own in lower case, and a title", check.ID)
			}
			if finds := check.ID == "node-installed"; (check.find != nil) != finds || (check.examine != nil) == finds {
				t.Errorf("%s: examine and find: want one of them, and find in node-installed", check.ID)
			}
			for _, need := range check.Needs {
				if before, exists := early[need]; !exists || check.Early && !before {
					t.Errorf("%s needs %s, which does not come before it", check.ID, need)
				}
			}
			early[check.ID] = check.Early
		}
	}
}
