//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

// adding has a remote cluster add a label to the namespaces of a node.
const adding = `
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicy
metadata: {name: e2e-revisions}
spec:
  failurePolicy: Fail
  reinvocationPolicy: Never
  matchConstraints:
    resourceRules: [{apiGroups: [""], apiVersions: [v1], resources: [namespaces], operations: [CREATE]}]
  matchConditions: [{name: of-the-node, expression: "request.name.startsWith('particular-')"}]
  mutations:
  - patchType: JSONPatch
    jsonPatch:
      expression: >-
        [JSONPatch{op: "add", path: "/metadata/labels/" + jsonpatch.escapeKey("example.com/revision"), value: "stable"}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicyBinding
metadata: {name: e2e-revisions}
spec: {policyName: e2e-revisions}
`

// demanding has it demand another one.
const demanding = `
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: e2e-teams}
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules: [{apiGroups: [""], apiVersions: [v1], resources: [namespaces], operations: [CREATE]}]
  matchConditions: [{name: of-the-node, expression: "request.name.startsWith('particular-')"}]
  validations:
  - expression: "'team' in object.metadata.?labels.orValue({})"
    message: every namespace has a label team
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: e2e-teams}
spec: {policyName: e2e-teams, validationActions: [Deny]}
`

// A policy of the remote cluster that adds a label, or demands one, made it refuse every
// namespace, and no option of install helped. Pods that wait, check and install name the
// flags with which pods run.
func TestNamespaceMetadata(t *testing.T) {
	const (
		node     = "particular"
		team     = "--namespace-label=team=payments"
		revision = "--allow-namespace-metadata=example.com/revision"
	)
	e, whole := shared, t // the rules last
	install := []string{"install", node, "--remote-context=remote", "--services=none", "--image=" + e.AKDImage(t)}
	t.Cleanup(func() { e.Actual(t, "uninstall", node, "--remote-context=remote", "--force") })
	e.MustActual(t, install...)

	t.Run("Added", func(t *testing.T) {
		withRule(whole, e, adding, func(stored *corev1.Namespace, err error) bool {
			return err == nil && stored.Labels["example.com/revision"] == "stable"
		})
		hint := "kubectl actual install " + revision + " allows them"
		waits := unadmitted(t, e, node, "RemoteForbidden", "label example.com/revision: if the remote cluster adds them, "+hint)
		notInstalled(t, e, hint, install...)
		install = append(install, revision)
		e.MustActual(t, install...)
		waits.WaitReady(t)
		wantMetadata(t, e, waits.Namespace, map[string]string{"example.com/revision": "stable"}, nil)
	})
	t.Run("Demanded", func(t *testing.T) {
		withRule(whole, e, demanding, func(_ *corev1.Namespace, err error) bool { return err != nil })
		if out, stderr, code := e.Actual(t, "check", node, "--pre", "--remote-context=remote"); code != 0 ||
			!strings.Contains(out, "a namespace such as akd's is refused: ") || !strings.Contains(out, "every namespace has a label team") {
			t.Errorf("check --pre: exit code %d, want 0 and the refusal\n%s%s", code, out, stderr)
		}
		waits := unadmitted(t, e, node, "RemoteInvalid",
			"every namespace has a label team; kubectl actual install --namespace-label and --namespace-annotation")
		notInstalled(t, e, "hint: if the remote cluster demands labels or annotations of namespaces", install...)
		install = append(install, team)
		e.MustActual(t, install...)
		waits.WaitReady(t)
		wantMetadata(t, e, waits.Namespace, map[string]string{"team": "payments", "example.com/revision": "stable"}, nil)
	})
	t.Run("Existing", func(t *testing.T) {
		e.MustActual(t, append(slices.Clone(install), "--namespace-annotation=example.com/contact=a, b", "--namespace-label=stage=test")...)
		wantMetadata(t, e, contract.SystemNamespace,
			map[string]string{"team": "payments", "stage": "test"}, map[string]string{"example.com/contact": "a, b"})
	})
}

// withRule creates a rule for the namespaces of the node particular until the test ends,
// and waits until it is in force: a dry run of such a namespace says so.
func withRule(t *testing.T, e *env.Env, rule string, inForce func(*corev1.Namespace, error) bool) {
	t.Helper()
	t.Cleanup(func() {
		if out, stderr, err := e.TryKubectl("remote", strings.NewReader(rule), "delete", "--ignore-not-found", "-f", "-"); err != nil {
			t.Errorf("%v\n%s%s", err, out, stderr)
		}
	})
	if out, stderr, err := e.TryKubectl("remote", strings.NewReader(rule), "create", "-f", "-"); err != nil {
		t.Fatalf("%v\n%s%s", err, out, stderr)
	}
	env.Eventually(t, "the rule is in force", func(ctx context.Context) error {
		probe := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "particular-probe"}}
		stored, err := e.Remote.CoreV1().Namespaces().Create(ctx, probe, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if !inForce(stored, err) {
			return fmt.Errorf("a namespace: %v, %w", stored.Labels, err)
		}
		return nil
	})
}

// unadmitted creates a pod in a new namespace, and waits until it has a condition and an
// event for the refusal of its remote namespace, and check has found it.
func unadmitted(t *testing.T, e *env.Env, node, reason, text string) env.Pod {
	t.Helper()
	_, name, _ := strings.Cut(t.Name(), "/")
	waits := e.Pod(e.Namespace(t, "particular-"+strings.ToLower(name)), "web")
	e.Apply(t, waits.Namespace, strings.Replace(sleeper(waits.Name, ""), "nodeName: "+env.ExampleNode, "nodeName: "+node, 1))
	refused(t, waits, reason, text)
	if found := failedChecks(t, e, node, "--no-probe"); !slices.Contains(found, "namespaces-admitted") {
		t.Errorf("check: %v, want namespaces-admitted", found)
	}
	return waits
}

// notInstalled checks that install gives up with a text.
func notInstalled(t *testing.T, e *env.Env, text string, install ...string) {
	t.Helper()
	out, stderr, code := e.Actual(t, append(slices.Clone(install), "--timeout=5s")...)
	if code != 1 || !strings.Contains(stderr, "open a namespace as akd: ") || !strings.Contains(stderr, text) {
		t.Errorf("%v: exit code %d, want 1 and %q\n%s%s", install, code, text, out, stderr)
	}
}

// wantMetadata checks what a node's namespace for a local one has.
func wantMetadata(t *testing.T, e *env.Env, local string, labels, annotations map[string]string) {
	t.Helper()
	namespace, err := e.Remote.CoreV1().Namespaces().Get(t.Context(), contract.RemoteNamespace("particular", local), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range labels {
		if got := namespace.Labels[key]; got != want {
			t.Errorf("label %s is %q, want %q", key, got, want)
		}
	}
	for key, want := range annotations {
		if got := namespace.Annotations[key]; got != want {
			t.Errorf("annotation %s is %q, want %q", key, got, want)
		}
	}
}
