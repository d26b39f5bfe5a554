package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPairs(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		o      options
		want   []pair
	}{
		"Few": {
			"The diagonal and the corners.", options{versions: []string{"1", "2", "3"}},
			[]pair{{"1", "1"}, {"1", "3"}, {"2", "2"}, {"3", "1"}, {"3", "3"}},
		},
		"All": {
			"Every pair.", options{versions: []string{"1", "2"}, all: true},
			[]pair{{"1", "1"}, {"1", "2"}, {"2", "1"}, {"2", "2"}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := tc.o.pairs()
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(pair{})); diff != "" || err != nil {
				t.Errorf("%s: %v (-want +got):\n%s", tc.reason, err, diff)
			}
		})
	}
	if _, err := (&options{}).pairs(); err == nil {
		t.Error("without versions: got no error")
	}
}

func TestMatrix(t *testing.T) {
	t.Parallel()
	events := `{"Action":"start"}
{"Action":"output","Test":"TestA","Output":"=== RUN   TestA\n"}
not json
{"Action":"pass","Test":"TestA/sub"}
{"Action":"pass","Test":"TestA"}
{"Action":"fail","Test":"TestB"}
{"Action":"skip","Test":"TestC"}
{"Action":"fail"}
`
	var log strings.Builder
	r, err := readResults(strings.NewReader(events), &log)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("=== RUN   TestA\nnot json\n", log.String()); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
	want := `| local \ remote | 1 | 2 |
| --- | --- | --- |
| **1** | failed: TestB | not tested |
| **2** | 1 passed, 1 skipped | 2 passed |

Each pair ran TestA, TestB, TestC.`
	got := matrix([]string{"1", "2"}, map[pair]result{
		{"1", "1"}: r,
		{"2", "1"}: {passed: []string{"TestA"}, skipped: []string{"TestC"}},
		{"2", "2"}: {passed: []string{"TestA", "TestB"}},
	})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("matrix (-want +got):\n%s", diff)
	}
}
