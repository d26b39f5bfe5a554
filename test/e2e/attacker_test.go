//go:build e2e

package e2e

import (
	"context"
	"maps"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/kubernetes"

	"github.com/actual-kubelets/actual-kubelets/manifests"
)

// The attacker has the remote token of node thief, and nothing else. The
// victim is node thief-b, whose name begins with the attacker's.
const (
	thief  = "thief"
	victim = "thief-b"
)

// attempt is what an attacker does with the stolen credential.
type attempt func(context.Context, *kubernetes.Clientset) error

// attack must be refused, for the reason that is wanted: nothing but the
// server's message tells one reason from another.
type attack struct {
	try  attempt
	want string
}

// A stolen remote credential of one node gives access to that node's own
// namespaces and to nothing beyond them.
func TestAttacker(t *testing.T) {
	e := shared
	attacker := e.InstallTenant(t, manifests.Values{Node: thief, Limits: manifests.Limits{NetworkPolicy: true}})
	attacked := e.InstallTenant(t, manifests.Values{Node: victim})
	own, foreign := attacker.Settle(t, "home"), attacked.Settle(t, "home")
	if err := execRemote(t.Context(), attacked.Config, foreign); err != nil {
		t.Fatalf("the victim itself: %v", err)
	}
	if err := execRemote(t.Context(), attacker.Config, own); err != nil {
		t.Fatalf("the attacker in its own namespace: %v", err)
	}

	tried := map[string]attack{}
	maps.Copy(tried, contentAttacks(foreign))
	maps.Copy(tried, namespaceAttacks(own, foreign))
	maps.Copy(tried, bindingAttacks(own, foreign))
	maps.Copy(tried, identityAttacks(attacker, own))
	maps.Copy(tried, networkAttacks(foreign))
	maps.Copy(tried, podAttacks(t, attacker))
	maps.Copy(tried, objectAttacks(attacker))
	for name, a := range tried {
		t.Run(name, func(t *testing.T) {
			err := a.try(t.Context(), attacker.Client)
			switch {
			case err == nil:
				t.Error("it succeeded")
			case !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), a.want):
				t.Errorf("it was refused for another reason: %v\nwant 403 with %q", err, a.want)
			}
		})
	}
}
