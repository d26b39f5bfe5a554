package output

import (
	"errors"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// hostile has what a terminal obeys: ESC, CR, LF, the C1 control CSI as a
// character and as a byte, a bidirectional override, BEL, DEL and a tag character.
const hostile = "a\x1b[2J\rb\n✓ c\u009b31m\x9b\u202ed\a\x7f\U000e0041"

const (
	hostileLine = `a^[[2J\rb ✓ c\u009b31m\x9b\u202ed\u0007\u007f\udb40\udc41`
	hostileText = "a^[[2J\\rb\n✓ c\\u009b31m\\x9b\\u202ed\\u0007\\u007f\\udb40\\udc41"
)

// Names and messages in a cluster come from its users, who must not be able to
// write to an administrator's terminal as kubectl actual itself does.
func TestConsoleIsInert(t *testing.T) {
	cases := map[string]struct {
		reason string
		write  func(*Console)
		want   string
	}{
		"Printf": {
			reason: "what fills a format is data, whatever its type is",
			write: func(c *Console) {
				c.Printf("%s|%v|%5d|%-4s|%q\n", hostile, errors.New(hostile), 7, "x", "\x1b")
			},
			want: hostileLine + "|" + hostileLine + `|    7|x   |"\x1b"` + "\n",
		},
		"Paragraph": {
			reason: "a text after a mark is one line",
			write:  func(c *Console) { c.Paragraph(2, MarkOK, hostile) },
			want:   "  ✓ " + hostileLine + "\n",
		},
		"Labeled": {
			reason: "an error can have lines; none of them begins as a line of the command",
			write:  func(c *Console) { c.Labeled("error", hostile) },
			want:   "error: " + strings.ReplaceAll(hostileText, "\n", "\n  ") + "\n",
		},
		"Copy": {
			reason: "a log quotes what others said; its last line may lack an end",
			write: func(c *Console) {
				if err := c.Copy(strings.NewReader(hostile + "\n" + hostile)); err != nil {
					t.Error(err)
				}
			},
			want: hostileText + "\n" + hostileText,
		},
		"Table": {
			reason: "a cell stays in its row",
			write: func(c *Console) {
				if err := c.Table([][]string{{"HEAD"}, {hostile}}); err != nil {
					t.Error(err)
				}
			},
			want: "HEAD\n" + hostileLine + "\n",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			tc.write(Plain(&out))
			if diff := cmp.Diff(tc.want, out.String()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// Marks keep their colors: these are ours.
func TestMarksKeepColors(t *testing.T) {
	var out strings.Builder
	c := newConsole(&out, nil, 0, true)
	c.Paragraph(0, MarkFailed, "\x1b[32m✓")
	if want := "\x1b[31m✗\x1b[0m ^[[32m✓\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

// One character in one pod, which the API accepts, made report and -o yaml fail.
func FuzzYAML(f *testing.F) {
	f.Add("a\x7fb")
	f.Add("\u009b31m\u202e\U000e0041\ufffe\u2028")
	f.Add(hostile)
	f.Fuzz(func(t *testing.T, text string) {
		text = strings.ToValidUTF8(text, "\ufffd") // all that JSON can hold
		encoded, err := YAML(map[string]string{"text": text})
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		var decoded map[string]string
		if err := yaml.Unmarshal(encoded, &decoded); err != nil || decoded["text"] != text {
			t.Errorf("%q became %q, %v, by way of %q", text, decoded["text"], err, encoded)
		}
	})
}

// Whatever a text is, nothing of it moves a cursor, and plain text stays.
func FuzzEscape(f *testing.F) {
	f.Add(hostile)
	f.Add("Back-off pulling image \"nginx:1\": grüße, 你好, مرحبا")
	f.Fuzz(func(t *testing.T, text string) {
		for _, escaped := range []string{Line(text), Text(text)} {
			if !utf8.ValidString(escaped) {
				t.Errorf("%q became %q, which is not UTF-8", text, escaped)
			}
			for _, r := range escaped {
				if !unicode.IsGraphic(r) && r != '\n' && r != '\t' {
					t.Errorf("%q became %q, which has %U", text, escaped, r)
				}
			}
			if Text(escaped) != escaped {
				t.Errorf("%q is escaped twice: %q", escaped, Text(escaped))
			}
		}
		if strings.ContainsAny(Line(text), "\n\t") {
			t.Errorf("%q is more than a line: %q", text, Line(text))
		}
		if !strings.ContainsFunc(text, func(r rune) bool { return r == utf8.RuneError || !unicode.IsGraphic(r) }) && Text(text) != text {
			t.Errorf("%q became %q", text, Text(text))
		}
	})
}
