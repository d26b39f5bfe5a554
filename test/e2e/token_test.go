//go:build e2e

package e2e

import (
	"context"
	"errors"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

// akd's credential was stolen: kubectl actual token rotate --revoke-all makes it
// worthless, and akd goes on with the next one, without a restart and without
// ending a session.
func TestTokenRevoked(t *testing.T) {
	e := shared
	in := e.InstallNode(t, manifests.Values{Node: "revoked"}, time.Hour)
	e.StartAKD(t, in.Name, in.Args()...)
	namespace := e.Namespace(t, "revoked")
	e.Apply(t, namespace, env.Web(in.Name, 1))
	e.WaitRollout(t, namespace, "deployment/web")
	stolen := e.StoredCredential(t, in.Name)
	ask := func(ctx context.Context) error {
		_, err := stolen.CoreV1().Pods(contract.RemoteNamespace(in.Name, namespace)).List(ctx, metav1.ListOptions{})
		return err
	}
	if err := ask(t.Context()); err != nil {
		t.Fatal(err)
	}
	session := e.OpenSession(t, namespace, "deployment/web")

	if out, stderr, code := e.Actual(t, "token", "rotate", in.Name, "--revoke-all", "--remote-context=remote"); code != 0 {
		t.Fatalf("token rotate: exit code %d\n%s%s", code, out, stderr)
	}
	env.Eventually(t, "the stolen token is rejected", func(ctx context.Context) error { // an API server may know it for 10 s more
		if err := ask(ctx); !apierrors.IsUnauthorized(err) {
			return errors.Join(errors.New("it is not"), err)
		}
		return nil
	})
	e.Kubectl(t, "local", "scale", "deployment/web", "-n", namespace, "--replicas=2")
	e.WaitRollout(t, namespace, "deployment/web")
	session.MustAnswer(t)
}
