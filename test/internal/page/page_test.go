package page

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReplace(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason, before, want, err string
	}{
		"Section": {
			reason: "The text of people stays.",
			before: "a\n<!-- begin s -->\nold\n<!-- end s -->\nz\n",
			want:   "a\n<!-- begin s -->\nnew\n<!-- end s -->\nz\n",
		},
		"NoEnd": {
			reason: "The rest of the page would be lost.",
			before: "a\n<!-- begin s -->\nold\n",
			want:   "a\n<!-- begin s -->\nold\n",
			err:    "lacks the lines",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "page.md")
			if err := os.WriteFile(path, []byte(tc.before), 0o600); err != nil {
				t.Fatal(err)
			}
			err := Replace(path, "s", "new")
			if (err != nil) != (tc.err != "") || err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%s: error %v, want %q", tc.reason, err, tc.err)
			}
			got, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, string(got)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}
