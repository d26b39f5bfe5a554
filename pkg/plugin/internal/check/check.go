package check

import (
	"context"
	"slices"
	"time"
)

// defaultTimeout bounds a check: a server that does not answer is a finding.
const defaultTimeout = 15 * time.Second

// docsPage has a section for every check, named after its ID.
const docsPage = "https://github.com/actual-kubelets/actual-kubelets/blob/main/docs/checks.md#"

// Check examines one thing.
type Check struct {
	// ID names the check and its section in docs/checks.md. It is stable.
	ID string
	// Title is a sentence that is true if all is well.
	Title string
	// Early checks can be made before a node is installed.
	Early bool
	// Needs are the IDs of the checks that have to pass first.
	Needs []string
	// Timeout replaces defaultTimeout, unless it is 0.
	Timeout time.Duration

	// examine is set in all checks but one, and find in that one: it finds the
	// node that the checks after it examine.
	examine func(context.Context, *Subject) Finding
	find    func(context.Context, *Subject) (Node, Finding)
}

// Category is a group of checks about one matter, in the order in which they are
// made.
type Category struct {
	Name   string
	Checks []Check
}

// All returns all checks. A check comes after those that it needs.
func All() []Category {
	return []Category{
		{"Clusters", clusterChecks()},
		{"Rights", rightsChecks()},
		{"Confinement of akd", confinementChecks()},
		{"Node and akd", append(nodeChecks(), certificateChecks()...)},
		{"Pods", podChecks()},
		{"Storage", storageChecks()},
	}
}

// Early returns the checks of All that can be made before a node is installed.
func Early() []Category { return earlyOf(All()) }

func earlyOf(categories []Category) []Category {
	var early []Category
	for _, category := range categories {
		category.Checks = slices.DeleteFunc(category.Checks, func(c Check) bool { return !c.Early })
		if len(category.Checks) > 0 {
			early = append(early, category)
		}
	}
	return early
}

// Result is the outcome of a check: an item of a CheckList.
type Result struct {
	ID       string `json:"id"`
	Category string `json:"category"`
	Title    string `json:"title"`
	Finding
	Documentation string `json:"documentation"`
}
