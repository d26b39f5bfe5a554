package check

import (
	"strings"
	"testing"
	"time"
)

func TestVersionSkew(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason        string
		local, remote string
		want          Level
		fix           string
	}{
		"Same":  {reason: "nothing to say", local: "v1.37.1", remote: "v1.37.1", want: LevelOK},
		"Older": {reason: "kubelets may be three minor versions older", local: "v1.37.1", remote: "v1.34.0", want: LevelOK},
		"Too old": {
			reason: "but not four",
			local:  "v1.37.1",
			remote: "v1.33.9",
			want:   LevelWarning,
			fix:    "upgrade the remote cluster",
		},
		"Newer": {
			reason: "they may not be newer",
			local:  "v1.37.1",
			remote: "v1.38.0",
			want:   LevelWarning,
			fix:    "upgrade the local cluster first",
		},
		"Vendor":     {reason: "vendors append to versions", local: "v1.37.1-gke.100", remote: "v1.37.1+k3s1", want: LevelOK},
		"Unreadable": {reason: "some servers hide their version", local: "v1.37.1", remote: "unknown", want: LevelWarning},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := versionSkew(tc.local, tc.remote)
			if got.Level != tc.want || got.Fix != tc.fix {
				t.Errorf("%s: got %+v", tc.reason, got)
			}
		})
	}
}

func TestJudgeClocks(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason        string
		local, remote time.Duration
		want          Level
		found         string
	}{
		"Equal": {reason: "a Date header has no fractions", local: time.Second, remote: -time.Second, want: LevelOK},
		"Close": {
			reason: "worth knowing",
			local:  2 * time.Second,
			remote: -2 * time.Second,
			want:   LevelOK,
			found:  "4s apart",
		},
		"Apart":     {reason: "tokens may not be valid yet", local: 10 * time.Second, want: LevelWarning, found: "10s apart"},
		"Far apart": {reason: "tokens and leases are not valid", remote: 2 * time.Minute, want: LevelFailed, found: "2m0s apart"},
		"This machine": {
			reason: "its own logins fail",
			local:  time.Hour,
			remote: time.Hour,
			want:   LevelWarning,
			found:  "this machine's clock",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := judgeClocks(tc.local, tc.remote); got.Level != tc.want || !strings.Contains(got.Found, tc.found) {
				t.Errorf("%s: got %+v", tc.reason, got)
			}
		})
	}
}
