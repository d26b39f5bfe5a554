package output

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTable(t *testing.T) {
	pods := [][]string{
		{"POD", "REMOTE NAMESPACE", "LAST EVENT"},
		{"web-0", "vk-93104c7ea350e1e1", "Pulled: image is present"},
		{"db", "", "<none>"},
	}
	cases := map[string]struct {
		reason string
		rows   [][]string
		width  int
		want   string
	}{
		"File": {
			reason: "a line of a file is as long as it is", rows: pods,
			want: `
POD     REMOTE NAMESPACE      LAST EVENT
web-0   vk-93104c7ea350e1e1   Pulled: image is present
db                            <none>
`,
		},
		"Wide terminal": {
			reason: "it fits to the column", rows: pods, width: 54,
			want: `
POD     REMOTE NAMESPACE      LAST EVENT
web-0   vk-93104c7ea350e1e1   Pulled: image is present
db                            <none>
`,
		},
		"Narrow terminal": {
			reason: "the widest columns give way, between words if they can", rows: pods, width: 44,
			want: `
POD     REMOTE NAMESPACE   LAST EVENT
web-0   vk-93104c7ea350e   Pulled: image is
        1e1                present
db                         <none>
`,
		},
		"Tiny terminal": {
			reason: "nothing can be read in columns of three letters", rows: pods[:2], width: 10,
			want: `
POD     REMOTE     LAST
        NAMESPAC   EVENT
        E
web-0   vk-93104   Pulled:
        c7ea350e   image is
        1e1        present
`,
		},
		"Head alone": {reason: "no rows, no more than that", rows: pods[:1], want: "\nPOD   REMOTE NAMESPACE   LAST EVENT\n"},
		"Control characters": {
			reason: "a message may have anything in it", rows: [][]string{{"POD", "MESSAGE"}, {"web-0", "two\nlines\x1b[31m"}},
			want: "\nPOD     MESSAGE\nweb-0   two lines^[[31m\n",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			c := Plain(&out)
			c.width = tc.width
			if err := c.Table(tc.rows); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, "\n"+out.String()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}
