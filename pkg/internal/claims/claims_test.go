package claims

import (
	"encoding/base64"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestOf(t *testing.T) {
	jwt := func(payload string) string {
		return "h." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + ".s"
	}
	cases := map[string]struct {
		reason string
		token  string
		want   Claims
		life   time.Duration
	}{
		"Account": {
			reason: "as an API server grants it",
			token:  jwt(`{"sub":"system:serviceaccount:a:b","aud":["x","y"],"iat":1000,"exp":4600}`),
			want:   Claims{Subject: "system:serviceaccount:a:b", Audience: Audience{"x", "y"}, IssuedAt: 1000, Expires: 4600},
			life:   time.Hour,
		},
		"OneAudience": {
			reason: "it needs no list",
			token:  jwt(`{"aud":"x"}`),
			want:   Claims{Audience: Audience{"x"}},
		},
		"Reversed": {
			reason: "a token that ends before it begins has no lifetime",
			token:  jwt(`{"iat":4600,"exp":1000}`),
			want:   Claims{IssuedAt: 4600, Expires: 1000},
		},
		"Opaque":  {reason: "a token may be any text", token: "abcdef"},
		"Garbled": {reason: "nor need its parts be JSON", token: "h.!.s"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := Of(tc.token)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: Of (-want +got):\n%s", tc.reason, diff)
			}
			if life := got.Life(); life != tc.life {
				t.Errorf("%s: Life = %v, want %v", tc.reason, life, tc.life)
			}
		})
	}
}
