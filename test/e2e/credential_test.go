//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	nodeutil "k8s.io/component-helpers/node/util"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

// Remote tokens expire after ten minutes, and pods come and go for longer: no
// reconcile lacks a right, no pod restarts, and a session that was opened at the
// beginning is still open at the end.
func TestShortLivedCredential(t *testing.T) {
	env.SkipUnlessSlow(t)
	t.Parallel() // with other slow tests, so its ports are its own
	e := shared
	node := e.InstallNode(t, manifests.Values{Node: "short-lived"}, 10*time.Minute)
	akd := e.StartAKD(t, node.Name, node.Args("--kubelet-api-port", "10251", "--metrics-address", "127.0.0.1:"+env.SecondMetrics)...)
	namespace := e.Namespace(t, "short-lived")
	e.Apply(t, namespace, env.Web(node.Name, 3))
	e.WaitRollout(t, namespace, "deployment/web")
	steady := e.Namespace(t, "long-lived") // a scale-down may delete any pod of the other one
	e.Apply(t, steady, env.Web(node.Name, 1))
	e.WaitRollout(t, steady, "deployment/web")
	session := e.OpenSession(t, steady, "deployment/web")
	const duration = 30 * time.Minute
	for end := time.Now().Add(duration); time.Now().Before(end); {
		for _, replicas := range []string{"6", "3"} {
			e.Kubectl(t, "local", "scale", "deployment/web", "-n", namespace, "--replicas="+replicas)
			e.WaitRollout(t, namespace, "deployment/web")
		}
		select {
		case <-t.Context().Done():
			return
		case <-time.After(15 * time.Second):
		}
	}
	session.MustAnswer(t)
	log, err := os.ReadFile(akd.Log)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"Unauthorized", "not renewed"} {
		if bytes.Contains(log, []byte(bad)) {
			t.Errorf("akd's log contains %q", bad)
		}
	}
	for _, metric := range []string{
		`akd_reconcile_total{result="error"}`, "akd_credential_renewal_failing", `akd_token_renewals_total{result="error"}`,
	} {
		if got := e.Metric(t, env.SecondMetrics, metric); got != "0" {
			t.Errorf("%s is %q, want 0", metric, got)
		}
	}
	if renewed := bytes.Count(log, []byte("a changed credential is used")); renewed < 3 {
		t.Errorf("the credential was renewed %d times in %s, want 3 or more", renewed, duration)
	}
	for _, pod := range append(e.Pods(t, namespace), e.Pods(t, steady)...) {
		for i := range pod.Status.ContainerStatuses {
			if restarts := pod.Status.ContainerStatuses[i].RestartCount; restarts > 0 {
				t.Errorf("pod %s restarted %d times", pod.Name, restarts)
			}
		}
	}
}

// After akd's credential was stolen, kubectl actual token rotate --revoke-all
// makes it worthless, and akd continues with the next one, without a restart and
// without ending a session.
func TestTokenRevoked(t *testing.T) {
	e := shared
	node := e.InstallNode(t, manifests.Values{Node: "revoked"}, time.Hour)
	e.StartAKD(t, node.Name, node.Args()...)
	namespace := e.Namespace(t, "revoked")
	e.Apply(t, namespace, env.Web(node.Name, 1))
	e.WaitRollout(t, namespace, "deployment/web")
	stolen := e.StoredCredential(t, node.Name)
	list := func(ctx context.Context) error {
		_, err := stolen.CoreV1().Pods(contract.RemoteNamespace(node.Name, namespace)).List(ctx, metav1.ListOptions{})
		return err
	}
	if err := list(t.Context()); err != nil {
		t.Fatal(err)
	}
	session := e.OpenSession(t, namespace, "deployment/web")

	e.MustActual(t, "token", "rotate", node.Name, "--revoke-all", "--remote-context=remote")
	env.Eventually(t, "the stolen token is rejected", func(ctx context.Context) error { // an API server may cache it for 10 s
		if err := list(ctx); !apierrors.IsUnauthorized(err) {
			return errors.Join(errors.New("it is not"), err)
		}
		return nil
	})
	e.Kubectl(t, "local", "scale", "deployment/web", "-n", namespace, "--replicas=2")
	e.WaitRollout(t, namespace, "deployment/web")
	session.MustAnswer(t)
}

// akd was away for longer than its token was valid. It used to say so in its log and
// by an event only: the Node said that its kubelet had stopped, and kubectl actual
// status sent people to the log. It waits for another token, and needs no restart.
func TestTokenExpired(t *testing.T) {
	e := shared
	node := e.InstallNode(t, manifests.Values{Node: "expired"}, time.Hour)
	akd := e.StartAKD(t, node.Name, node.Args()...)
	namespace := e.Namespace(t, "expired")
	e.Apply(t, namespace, env.Web(node.Name, 1))
	e.WaitRollout(t, namespace, "deployment/web")

	akd.Stop(t, syscall.SIGTERM)
	e.ExpireCredential(t, node.Name)
	akd.Start(t)
	const cure = "kubectl actual token rotate expired --remote-context=CONTEXT"
	env.Eventually(t, "akd says that it is not ready", func(ctx context.Context) error {
		said, err := e.Unready(ctx, env.FirstMetrics) // whoever reads it may not learn the reason
		return errors.Join(err, saysAll(said, "[-]start failed"))
	})
	env.Eventually(t, "the Node says why", func(ctx context.Context) error {
		_, err := credentialRejected(ctx, e, node.Name, cure)
		return err
	})
	events := e.Kubectl(t, "local", "get", "events", "-n", "default", "-o", "yaml",
		"--field-selector=reason=CredentialRejected,involvedObject.name="+node.Name)
	if err := saysAll(strings.Join(strings.Fields(events), " "), "which expired at ", cure); err != nil {
		t.Errorf("events: %v", err)
	}
	status, _, code := e.Actual(t, "status", node.Name)
	if err := saysAll(strings.Join(strings.Fields(status), " "), "CredentialRejected", "fix: "+cure); err != nil || code != 3 {
		t.Errorf("kubectl actual status: exit code %d, %v", code, err)
	}
	if env.Slow() {
		env.Eventually(t, "akd goes on to say so, for longer than a cluster waits for a kubelet", func(ctx context.Context) error {
			ready, err := credentialRejected(ctx, e, node.Name, cure)
			if err != nil {
				return err
			}
			if said := ready.LastHeartbeatTime.Sub(ready.LastTransitionTime.Time); said < time.Minute {
				return fmt.Errorf("for only %s", said)
			}
			return nil
		})
	}
	if akd.HasExited() {
		t.Error("akd has exited")
	}

	e.MustActual(t, "token", "rotate", node.Name, "--remote-context=remote")
	akd.WaitReady(t)
	e.Kubectl(t, "local", "scale", "deployment/web", "-n", namespace, "--replicas=2")
	e.WaitRollout(t, namespace, "deployment/web")
	e.WaitSynced(t, env.FirstMetrics)
	if akd.HasExited() {
		t.Error("akd has exited")
	}
}

// credentialRejected returns the Node's condition Ready if that says that akd's
// credential is rejected, and how to cure that.
func credentialRejected(ctx context.Context, e *env.Env, node, cure string) (*corev1.NodeCondition, error) {
	found, err := e.Local.CoreV1().Nodes().Get(ctx, node, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	_, ready := nodeutil.GetNodeCondition(&found.Status, corev1.NodeReady)
	if ready == nil || ready.Status != corev1.ConditionFalse || ready.Reason != contract.ReasonCredentialRejected {
		return nil, fmt.Errorf("condition Ready: %v", ready)
	}
	return ready, saysAll(ready.Message, cure)
}

// saysAll returns an error if a text lacks one of the parts.
func saysAll(text string, parts ...string) error {
	for _, part := range parts {
		if !strings.Contains(text, part) {
			return fmt.Errorf("no %q in %q", part, text)
		}
	}
	return nil
}
