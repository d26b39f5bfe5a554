package faults

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A run that is killed while it writes goes on after its last whole line.
func TestJournal(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "new", "faults.jsonl")
	open := func(resume bool) *journal {
		j, err := openJournal(path, resume)
		if err != nil {
			t.Fatal(err)
		}
		return j
	}
	first := result{Number: 0, Kind: "link cut", Seed: 7, Pods: 3, Violations: []violation{{lost, "web-0"}}}
	if err := open(false).add(first); err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteString(`{"number":1,"ki`); err != nil {
		t.Fatal(err)
	}
	_ = file.Close()
	second := result{Number: 1, Kind: "link slow", Seed: 7}
	if err := open(true).add(second); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]result{first, second}, open(true).results); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if left := open(false).results; len(left) > 0 {
		t.Errorf("a new run has the results %v", left)
	}
	if _, err := os.Stat(path + ".old"); err != nil {
		t.Errorf("the last run's results are gone: %v", err)
	}
}

func TestReport(t *testing.T) {
	t.Parallel()
	got := report([]result{
		{Kind: "link cut", RecoverySeconds: 3, Pods: 2, Writes: 6},
		{Kind: "akd killed", RecoverySeconds: 9, Pods: 1, Writes: 3},
		{Kind: "link cut", RecoverySeconds: 1, Pods: 2, Violations: []violation{{lost, "a"}, {stuck, "b"}}},
		{Kind: "link cut", RecoverySeconds: 2, Pods: 2},
	})
	want := `fault      | times | recovered, median | max   | violations
akd killed | 1     | 9.0 s             | 9.0 s | 0
link cut   | 3     | 2.0 s             | 3.0 s | 2
all        | 4     | 2.0 s             | 9.0 s | 2

pods judged: 7
writes of akd: 9
pods lost: 1
pods doubled: 0
pods falsely ended: 0
volumes lost: 0
volumes mixed up: 0
volumes with two writers: 0
volumes that shrank: 0
foreign objects changed: 0
streams ended or with gaps: 0
not recovered: 1
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
