package install

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/failure"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/ranges"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/config"
)

func TestChooseServices(t *testing.T) {
	free := ranges.Found{
		Local:   []netip.Prefix{netip.MustParsePrefix("10.96.0.0/16")},
		Pods:    []netip.Prefix{netip.MustParsePrefix("10.244.0.0/15")},
		Servers: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")},
	}
	with := func(change func(*ranges.Found)) ranges.Found {
		found := free
		change(&found)
		return found
	}
	overlap := with(func(f *ranges.Found) { f.Overlap = ranges.Problem{What: "the ranges overlap", Fix: "change one"} })
	shared := with(func(f *ranges.Found) {
		f.Mirror, f.Overlap = "b", ranges.Problem{What: "node b mirrors", Fix: "share"}
	})
	unknown := with(func(f *ranges.Found) {
		f.PodsUnknown = ranges.Problem{What: "where pods are is unknown", Fix: "give it"}
	})
	installed := overlap
	installed.Object = "services.vk.actual.vk"
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "nodes"}, "", errors.New("you may not"))
	cases := map[string]struct {
		reason string
		change func(*nodeOptions)
		found  ranges.Found
		err    error
		now    config.ServicesMode
		want   string
		fails  string
		hint   string
	}{
		"Free": {
			reason: "nothing is in the way", found: free,
			want: "mirror 10.96.0.0/16; copies may lead to 10.244.0.0/15, 192.0.2.1/32",
		},
		"Overlap": {reason: "who did not ask goes without", found: overlap, want: "none: the ranges overlap; change one"},
		"Overlap, asked": {
			reason: "who asked is told",
			found:  overlap,
			change: asks("mirror"),
			fails:  "services cannot be mirrored: the ranges overlap",
			hint:   "change one",
		},
		"Overlap, mirrored": {
			reason: "a node that mirrors does not stop",
			found:  installed,
			fails:  "services cannot be mirrored: the ranges overlap",
			hint:   "change one",
		},
		"Shared":        {reason: "another node of the cluster mirrors", found: shared, want: "shared: node b mirrors them"},
		"Shared, asked": {reason: "likewise", found: shared, change: asks("shared"), want: "shared: node b mirrors them"},
		"Shared, not so": {
			reason: "nobody mirrors", found: free, change: asks("shared"),
			fails: "services cannot be shared: no other node of this local cluster mirrors them in the remote cluster",
			hint:  "install one with --services=mirror first, or this one",
		},
		"Shared, wants its own": {
			reason: "an address is that of one Service", found: shared, change: asks("mirror"),
			fails: "services cannot be mirrored: node b mirrors",
			hint:  "share",
		},
		"Unknown": {reason: "copies must not lead anywhere", found: unknown, want: "none: where pods are is unknown; give it"},
		"Unknown, given": {
			reason: "then it is known", found: unknown, change: func(o *nodeOptions) { o.endpointCIDRs = []string{"10.0.0.0/8"} },
			want: "mirror 10.96.0.0/16; copies may lead to 10.0.0.0/8, 192.0.2.1/32",
		},
		"Forbidden":        {reason: "who did not ask needs no rights for it", err: forbidden, want: "none: nodes is forbidden: you may not"},
		"Forbidden, asked": {reason: "who asked does", err: forbidden, change: asks("mirror"), fails: "nodes is forbidden: you may not"},
		"Forbidden, mirrored": {
			reason: "mirroring does not end because another administrator may read less",
			err:    forbidden,
			now:    config.ServicesMirror,
			fails:  "nodes is forbidden: you may not",
			hint:   "node vk mirrors services, and goes on: install it with the right to read what that needs, or with --services=none",
		},
		"Range lost, mirrored": {
			reason: "nor because somebody deleted the node's range",
			found:  overlap,
			now:    config.ServicesMirror,
			fails:  "services cannot be mirrored: the ranges overlap",
			hint:   "change one",
		},
		"Unreachable": {reason: "an error decides nothing", err: errors.New("no route"), fails: "no route"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			choice, err := options(tc.change).chooseServices(&tc.found, tc.now, tc.err)
			if tc.fails != "" {
				if err == nil || err.Error() != tc.fails || strings.Join(failure.Hints(err), "; ") != tc.hint {
					t.Errorf("%s: error %v, hints %q, want %q and %q", tc.reason, err, failure.Hints(err), tc.fails, tc.hint)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, choice.String()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func asks(services string) func(*nodeOptions) {
	return func(o *nodeOptions) { o.services = services }
}
