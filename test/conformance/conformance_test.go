package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func testSpec(name string, labels ...string) spec {
	return spec{ContainerHierarchyTexts: []string{"[sig-x]"}, LeafNodeText: name, LeafNodeType: "It", LeafNodeLabels: labels}
}

// inSig is a spec of a SIG.
func inSig(sig, name string, labels ...string) spec {
	s := testSpec(name, labels...)
	s.ContainerHierarchyTexts = []string{"[" + sig + "]"}
	return s
}

func TestChoose(t *testing.T) {
	const lease = "NodeLease NodeLease should have OwnerReferences set [NodeConformance]"
	node := testSpec("a", "NodeConformance")
	cases := map[string]struct {
		reason   string
		suite    selection
		specs    []spec
		together []string
		alone    []string
	}{
		"Node": {
			reason: "the default suite is what a kubelet does",
			suite:  selection{suite: suiteNode},
			specs: []spec{
				node, testSpec("b", "NodeConformance", "Serial"), testSpec("c", "NodeConformance", "Feature:OffByDefault"),
				testSpec("d"), testSpec("e", "Conformance"),
			},
			together: []string{"[sig-x] a"},
		},
		"Conformance": {
			reason: "and what Conformance requires of workloads and of the volumes that a kubelet makes",
			suite:  selection{suite: suiteNode},
			specs: []spec{
				inSig("sig-apps", "Job", "Conformance"), inSig("sig-storage", "Secrets b", "Conformance"),
				inSig("sig-storage", "PersistentVolumes c", "Conformance"), inSig("sig-network", "d", "Conformance"), inSig("sig-apps", "e"),
			},
			together: []string{"[sig-apps] Job", "[sig-storage] Secrets b"},
		},
		"Full": {
			reason:   "serial specs are included, but run alone",
			suite:    selection{suite: suiteFull},
			specs:    []spec{testSpec("b", "Conformance"), testSpec("a", "Conformance", "Serial"), node},
			together: []string{"[sig-x] b"},
			alone:    []string{"[sig-x] a"},
		},
		"Slice": {
			reason:   "a list",
			suite:    selection{suite: suiteSlice},
			specs:    []spec{node, inSig("sig-node", lease)},
			together: []string{"[sig-node] " + lease},
		},
		"Storage": {
			reason: "specs of any driver, and those that use claims; not those that stop a kubelet or need a feature that is off",
			suite:  selection{suite: suiteStorage},
			specs: []spec{
				inSig("sig-storage", "External Storage [Driver: csi] a", "Slow"),
				inSig("sig-storage", "External Storage [Driver: csi] b", "Disruptive"),
				inSig("sig-storage", "External Storage [Driver: csi] c", "Feature:Windows"), inSig("sig-storage", "PVC Protection d"),
				inSig("sig-storage", "CSI Volumes e"), inSig("sig-apps", "StatefulSet f"), inSig("sig-apps", "Job"),
			},
			together: []string{
				"[sig-apps] StatefulSet f", "[sig-storage] External Storage [Driver: csi] a", "[sig-storage] PVC Protection d",
			},
		},
		"Focus": {
			reason:   "expressions narrow the suite",
			suite:    selection{suite: suiteAny, focus: regexp.MustCompile("[ab]$"), skip: regexp.MustCompile("b")},
			specs:    []spec{testSpec("a"), testSpec("b"), testSpec("c")},
			together: []string{"[sig-x] a"},
		},
	}
	for title, tc := range cases {
		t.Run(title, func(t *testing.T) {
			if err := tc.suite.check(); err != nil {
				t.Fatal(err)
			}
			together, alone := tc.suite.choose(tc.specs)
			if diff := cmp.Diff([][]string{tc.together, tc.alone}, [][]string{together, alone}); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
	if err := (selection{suite: "nodes"}).check(); err == nil {
		t.Error("an unknown suite: got no error")
	}
}

// The names of specs contain brackets, and one is often the prefix of another.
func TestExactly(t *testing.T) {
	const suite = "Kubernetes e2e suite "
	focus := regexp.MustCompile(exactly([]string{"[sig-x] a (b) [C]", "[sig-x] d"}))
	for name, want := range map[string]bool{
		"[sig-x] a (b) [C]": true, "[sig-x] d": true, "[sig-x] d e": false, "x": false, "[sig-x] a": false,
	} {
		if got := focus.MatchString(suite + name); got != want {
			t.Errorf("%s: matched %t, want %t", name, got, want)
		}
	}
}

// A continued run must run the specs that the interrupted one did not reach.
func TestOutcomes(t *testing.T) {
	ran := func(name, state string) spec {
		s := testSpec(name)
		s.State, s.RunTime = state, time.Second
		return s
	}
	never := testSpec("never")
	never.State = "skipped"
	specs := []spec{ran("a", "passed"), ran("b", "panicked"), ran("c", "skipped"), ran("d", "interrupted"), ran("other", "passed"), never}
	got := outcomes(specs, []string{"[sig-x] a", "[sig-x] b", "[sig-x] c", "[sig-x] d", "[sig-x] never"})
	want := []result{
		{Spec: "[sig-x] a", State: passed, Seconds: 1},
		{Spec: "[sig-x] b", State: failed, Seconds: 1},
		{Spec: "[sig-x] c", State: skipped, Seconds: 1},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}
}

func TestCompare(t *testing.T) {
	const name = "[sig-x] a"
	type states []state
	cases := map[string]struct {
		reason          string
		direct, through states
		exceptions      []exception
		always          bool
		want            verdict
	}{
		"Same":       {reason: "what is wanted", direct: states{passed}, through: states{passed}, want: passedBoth},
		"Difference": {reason: "what this command looks for", direct: states{passed}, through: states{failed}, want: failedThrough},
		"Skips": {
			reason: "a node must not claim to lack what the kubelet behind it has",
			direct: states{passed}, through: states{skipped},
			want: failedThrough,
		},
		"Exception": {
			reason:     "known exceptions are counted apart",
			direct:     states{passed},
			through:    states{failed},
			exceptions: []exception{{Spec: name}},
			want:       excepted,
		},
		"Other": {
			reason:     "only known exceptions are",
			direct:     states{passed},
			through:    states{failed},
			exceptions: []exception{{Spec: "b"}},
			want:       failedThrough,
		},
		"Environment":      {reason: "the clusters fail it, not AK", direct: states{failed}, through: states{failed}, want: failedBoth},
		"EnvironmentSkips": {reason: "the same", direct: states{skipped}, through: states{skipped}, want: notRun},
		"Direct":           {reason: "worth a look as well", direct: states{failed}, through: states{passed}, want: failedDirect},
		"Quick":            {reason: "a pass through AK needs no comparison", through: states{passed}, want: passedThrough},
		"Interrupted":      {reason: "half a comparison is none", direct: states{passed}, want: onlyDirect},
		"Second": {
			reason: "the second attempt counts",
			direct: states{passed, passed}, through: states{failed, passed},
			want: passedBoth,
		},
		"Repeated": {
			reason:  "with --repeat a spec must pass every time",
			direct:  states{passed, passed},
			through: states{failed, passed},
			always:  true,
			want:    failedThrough,
		},
	}
	for title, tc := range cases {
		t.Run(title, func(t *testing.T) {
			r := &results{attempts: map[side]map[string][]result{direct: {}, through: {}}}
			for s, all := range map[side]states{direct: tc.direct, through: tc.through} {
				for _, one := range all {
					r.attempts[s][name] = append(r.attempts[s][name], result{Spec: name, Side: s, State: one})
				}
			}
			rows := r.compare([]string{name}, tc.exceptions, tc.always)
			if diff := cmp.Diff(tc.want, rows[0].Verdict); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// A run that continues after a crash keeps the complete lines, and only the
// results of the same programs.
func TestResume(t *testing.T) {
	folder := t.TempDir()
	first, err := openResults(folder, false)
	if err != nil {
		t.Fatal(err)
	}
	all := []result{
		{Spec: "a", Side: direct, State: passed, Of: "1.37.1"}, {Spec: "b", Side: direct, State: passed, Of: "1.36.3"},
		{Spec: "a", Side: through, State: failed, Of: "1.37.1"},
	}
	if err := first.add(all); err != nil {
		t.Fatal(err)
	}
	if _, err := first.file.WriteString(`{"spec":"c","side":"dir`); err != nil {
		t.Fatal(err)
	}
	if err := first.close(); err != nil {
		t.Fatal(err)
	}
	second, err := openResults(folder, true)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = second.close() }()
	second.forget(direct, "1.37.1")
	if diff := cmp.Diff([]string{"b", "c"}, second.missing(direct, []string{"a", "b", "c"}, 1)); diff != "" {
		t.Errorf("missing directly: -want, +got:\n%s", diff)
	}
	if diff := cmp.Diff([]string{"b", "c"}, second.missing(through, []string{"a", "b", "c"}, 1)); diff != "" {
		t.Errorf("missing through AK: -want, +got:\n%s", diff)
	}
}

func TestReports(t *testing.T) {
	rows := []row{
		{
			Spec: "[sig-x] a", Verdict: passedBoth,
			Direct: cell{State: passed, Attempts: 1, Passed: 1}, Through: cell{State: passed, Attempts: 2, Passed: 1},
		},
		{Spec: "[sig-x] b", Verdict: failedThrough, Direct: cell{State: passed}, Through: cell{State: failed, Message: "expected <1>"}},
	}
	folder := t.TempDir()
	if err := writeReports(folder, rows); err != nil {
		t.Fatal(err)
	}
	for name, wants := range map[string][]string{
		"report.json": {`"failed only through AK": 1`},
		"junit.xml":   {`tests="2"`, `<failure message="expected &lt;1&gt;">`},
		"report.md": {
			"| failed only through AK | 1 |",
			"| [sig-x] a | passed | 0.0 | passed (1 of 2) | 0.0 |",
			"## Passed both, but not at once\n\n- [sig-x] a\n",
		},
	} {
		content, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range wants {
			if !bytes.Contains(content, []byte(want)) {
				t.Errorf("%s lacks %q:\n%s", name, want, content)
			}
		}
	}
}

// The page of the manual lists the same exceptions as the comparison uses.
func TestPageIsCurrent(t *testing.T) {
	file := filepath.Join(t.TempDir(), "page.md")
	if err := writePage(file); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	have, err := os.ReadFile("../../docs/conformance.md")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(have)); diff != "" {
		t.Errorf("docs/conformance.md: run make generate: -want, +got:\n%s", diff)
	}
}
