//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

// No check fails on a fresh install, and pods of the remote cluster reach the
// local API server. If something is removed, the check for it fails, and install
// restores it, as the check says.
func TestCheck(t *testing.T) {
	env.SkipUnlessSlow(t)
	e, node := shared, "checked"
	const system = "actual-system"
	install := []string{
		"install", node, "--remote-context=remote", "--image=" + e.AKDImage(t), "--services=none",
		"--probe-image=registry.k8s.io/e2e-test-images/agnhost:2.66.1", "--force-conflicts",
	}
	e.MustActual(t, install...)
	t.Cleanup(func() {
		if out, stderr, code := e.Actual(t, "uninstall", node, "--remote-context=remote", "--force"); code != 0 {
			t.Errorf("uninstall: exit code %d\n%s%s", code, out, stderr)
		}
	})

	if failed := failedChecks(t, e, node); len(failed) > 0 {
		t.Fatalf("on a fresh install: %v", failed)
	}
	env.Eventually(t, "no probe pod is left behind", func(ctx context.Context) error { // it may be terminating
		made := metav1.ListOptions{LabelSelector: "app.kubernetes.io/managed-by=kubectl-actual"}
		left, err := e.Remote.CoreV1().Pods("").List(ctx, made)
		if err == nil && len(left.Items) > 0 {
			err = fmt.Errorf("%s/%s is left", left.Items[0].Namespace, left.Items[0].Name)
		}
		return err
	})
	for name, tc := range map[string]struct {
		reason string
		breaks func() error
		want   string
	}{
		"Binding": {
			reason: "Without its binding a policy does nothing.",
			breaks: func() error {
				return e.Remote.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings().
					Delete(t.Context(), "pods."+node+".actual.vk", metav1.DeleteOptions{})
			},
			want: "policies-present",
		},
		"ServiceAccount": {
			reason: "Tokens are valid as long as their account exists.",
			breaks: func() error {
				return e.Remote.CoreV1().ServiceAccounts(system).Delete(t.Context(), node, metav1.DeleteOptions{})
			},
			want: "credential-valid",
		},
		"Rights": {
			reason: "Somebody has removed a right of akd.",
			breaks: func() error {
				return e.Remote.RbacV1().ClusterRoleBindings().Delete(t.Context(), "actual.vk:"+node, metav1.DeleteOptions{})
			},
			want: "akd-remote-rights",
		},
		"AKD": {
			reason: "Nothing serves the node.",
			breaks: func() error {
				_, err := e.Local.AppsV1().Deployments(system).Patch(t.Context(), node, types.MergePatchType,
					[]byte(`{"spec":{"replicas":0}}`), metav1.PatchOptions{FieldManager: "kubectl-actual"})
				return err
			},
			want: "akd-runs",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if err := tc.breaks(); err != nil {
				t.Fatal(err)
			}
			env.Eventually(t, "check "+tc.want+" fails", func(context.Context) error {
				if failed := failedChecks(t, e, node, "--no-probe"); !slices.Contains(failed, tc.want) {
					return fmt.Errorf("%s These fail: %v", tc.reason, failed)
				}
				return nil
			})
			e.MustActual(t, install...)
		})
	}
}

// failedChecks runs kubectl actual check and returns the IDs of the checks that
// failed.
func failedChecks(t *testing.T, e *env.Env, node string, more ...string) []string {
	t.Helper()
	out, stderr, code := e.Actual(t, append([]string{"check", node, "--remote-context=remote", "-o", "json"}, more...)...)
	var found struct {
		Items []struct{ ID, Level, Found string }
	}
	if err := json.Unmarshal([]byte(out), &found); err != nil || len(found.Items) == 0 {
		t.Fatalf("check: exit code %d, %v\n%s%s", code, err, out, stderr)
	}
	var failed []string
	for _, item := range found.Items {
		if item.Level == "failed" {
			failed = append(failed, item.ID)
			t.Logf("%s: %s", item.ID, item.Found)
		}
		if item.ID == "remote-pods-reach-local" && item.Level != "ok" && len(more) == 0 {
			t.Errorf("%s: %s: %s", item.ID, item.Level, item.Found)
		}
	}
	want := 0
	if len(failed) > 0 {
		want = 3
	}
	if code != want {
		t.Errorf("check: exit code %d, want %d\n%s", code, want, stderr)
	}
	return failed
}
