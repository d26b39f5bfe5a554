package faults

import "testing"

func TestLastLine(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason, log string
		want        int
		gap         bool
	}{
		"Empty":   {"Nothing has come yet.", "", -1, false},
		"Whole":   {"A log begins anywhere.", "line 7\nline 8\n", 8, false},
		"Half":    {"The last line is on its way.", "line 7\nline 8\nli", 8, false},
		"Gap":     {"Lines are missing.", "line 7\nline 9\n", 7, true},
		"Again":   {"Lines came twice.", "line 7\nline 7\n", 7, true},
		"Garbage": {"Bytes are missing.", "line 7\nne 8\n", 7, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, err := lastLine(tc.log); got != tc.want || (err != nil) != tc.gap {
				t.Errorf("%s: got %d, %v", tc.reason, got, err)
			}
		})
	}
}
