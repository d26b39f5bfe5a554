package contract

import (
	"testing"
	"time"
)

func TestParseTokenLifetime(t *testing.T) {
	for name, tc := range map[string]struct {
		reason, text string
		want         time.Duration // 0 is an error
	}{
		"Default":        {reason: "as it is written", text: DefaultTokenLifetime.String(), want: 24 * time.Hour},
		"Shortest":       {reason: "what an API server grants", text: "10m", want: MinTokenLifetime},
		"Longest":        {reason: "what the policy of tokens admits", text: "1440m", want: MaxTokenLifetime},
		"Too short":      {reason: "an API server refuses it", text: "9m"},
		"Too long":       {reason: "the policy denies it", text: "24h1m"},
		"Negative":       {reason: "it is no lifetime", text: "-24h"},
		"Days":           {reason: "Go has no unit for them", text: "7d"},
		"Empty":          {reason: "nothing was chosen", text: ""},
		"A year for one": {reason: "an API server would extend it", text: "3607s"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseTokenLifetime(tc.text)
			if got != tc.want || (err != nil) != (tc.want == 0) {
				t.Errorf("%s: %s, error %v; want %s", tc.reason, got, err, tc.want)
			}
		})
	}
}
