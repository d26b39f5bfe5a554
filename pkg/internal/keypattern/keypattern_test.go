package keypattern

import (
	"path"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestMatches(t *testing.T) {
	cases := map[string]struct {
		reason       string
		pattern, key string
		want         bool
	}{
		"Key":           {reason: "a key matches itself", pattern: "example.com/a", key: "example.com/a", want: true},
		"OtherKey":      {reason: "and no longer one", pattern: "example.com/a", key: "example.com/ab"},
		"Prefix":        {reason: "all names of a prefix", pattern: "example.com/", key: "example.com/any", want: true},
		"OtherPrefix":   {reason: "not of one below", pattern: "example.com/", key: "sub.example.com/any"},
		"Ending":        {reason: "the prefix itself", pattern: "*example.com/", key: "example.com/any", want: true},
		"EndingBelow":   {reason: "and all below it", pattern: "*example.com/", key: "a.b.example.com/any", want: true},
		"Below":         {reason: "only those below it", pattern: "*.example.com/", key: "example.com/any"},
		"EndingInName":  {reason: "an ending is one of the prefix", pattern: "*example.com/", key: "a/example.com"},
		"NoPrefix":      {reason: "a key without a prefix has no ending", pattern: "*example.com/", key: "example.com"},
		"Start":         {reason: "a star at the end", pattern: "io.example.*", key: "io.example.a/b", want: true},
		"Between":       {reason: "stars between", pattern: "a*b*c", key: "a1b2c", want: true},
		"BetweenTwice":  {reason: "each part once", pattern: "ab*ba", key: "aba"},
		"Everything":    {reason: "any key", pattern: "*", key: "app", want: true},
		"AllPrefixes":   {reason: "any key with a prefix", pattern: "*/", key: "a.b/c", want: true},
		"AllPrefixesNo": {reason: "but none without", pattern: "*/", key: "app"},
		"Case":          {reason: "the API ignores case in annotations", pattern: "*example.com/", key: "IAM.Example.COM/role", want: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if err := Check(tc.pattern); err != nil {
				t.Errorf("Check(%q) = %v", tc.pattern, err)
			}
			if got := New(tc.pattern).Matches(tc.key); got != tc.want {
				t.Errorf("%s: %q matches %q: %v, want %v", tc.reason, tc.pattern, tc.key, got, tc.want)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	for _, pattern := range []string{"", "/", "a/b/c", "**", "a b", "*a*b*c*d*e", "example.com//", "ä", strings.Repeat("a", 64), "-"} {
		if Check(pattern) == nil {
			t.Errorf("Check(%q) accepts what matches no key", pattern)
		}
	}
}

// A set agrees with the standard library's globs, whose star ends at a slash, on
// each side of the slash.
func FuzzMatches(f *testing.F) {
	f.Add("*example.com/", "iam.example.com/role")
	f.Add("a*b*c", "aXbYc")
	f.Add("*", "app")
	f.Fuzz(func(t *testing.T, pattern, key string) {
		other := func(r rune) bool { return r >= utf8.RuneSelf || strings.ContainsRune("\\[]?*!", r) }
		if Check(pattern) != nil || strings.ContainsFunc(key, other) {
			t.Skip()
		}
		slashless := func(s string) string { return strings.ReplaceAll(strings.ToLower(s), "/", "!") }
		glob := slashless(pattern)
		if strings.HasSuffix(pattern, "/") {
			glob += "*"
		}
		want, err := path.Match(glob, slashless(key))
		if err != nil {
			t.Skip()
		}
		// The ending of a prefix is not looked for in a name.
		if strings.HasPrefix(pattern, "*") && strings.HasSuffix(pattern, "/") && strings.Count(key, "/") != 1 {
			t.Skip()
		}
		if got := New(pattern).Matches(key); got != want {
			t.Errorf("%q matches %q: %v, want %v", pattern, key, got, want)
		}
	})
}
