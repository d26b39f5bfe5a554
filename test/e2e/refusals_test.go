//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

// sleeper is a small pod; more is added to its spec.
func sleeper(name, more string) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: %s}
spec:
  nodeName: %s
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: busybox:1.36
    imagePullPolicy: Never
    command: [sh, -c, 'trap exit TERM; while :; do sleep 1 & wait; done']
%s`, name, env.ExampleNode, more)
}

// refused waits until the pod is Pending with a condition and an event that
// contain the reason and the text.
func refused(t *testing.T, p env.Pod, reason, text string) {
	t.Helper()
	p.Eventually(t, "pod "+p.Name+" has a condition with the reason", func(pod *corev1.Pod) error {
		if pod.Status.Phase != corev1.PodPending {
			return fmt.Errorf("phase %s", pod.Status.Phase)
		}
		for _, condition := range pod.Status.Conditions {
			if condition.Type != contract.ConditionRemoteCreated {
				continue
			}
			if condition.Status != corev1.ConditionFalse || condition.Reason != reason || !strings.Contains(condition.Message, text) {
				return fmt.Errorf("condition %s=%s %s: %s", condition.Type, condition.Status, condition.Reason, condition.Message)
			}
			return nil
		}
		return errors.New("no condition yet")
	})
	p.WaitEvent(t, reason, text)
}

// A pod that cannot run is Pending and has the message of whoever refused it; it
// runs once it can. No pod fails because of a refusal.
func TestRefusals(t *testing.T) {
	e := shared
	e.StartAKD(t, env.ExampleNode)
	namespace := e.Namespace(t, "refusals")
	remote := contract.RemoteNamespace(env.ExampleNode, namespace)
	first := e.Pod(namespace, "first")
	e.Apply(t, namespace, sleeper("first", "")) // opens the namespace
	first.WaitReady(t)

	t.Run("Claim", func(t *testing.T) {
		e.Apply(t, namespace, sleeper("claim", "  volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]"))
		refused(t, e.Pod(namespace, "claim"), translate.ReasonUnsupportedVolume, `PersistentVolumeClaim "data"`)
		for _, command := range [][]string{{"status", env.ExampleNode}, {"where", "claim", "-n", namespace, "-o", "wide"}} {
			if out, _, _ := e.Actual(t, command...); !strings.Contains(out, translate.ReasonUnsupportedVolume) {
				t.Errorf("kubectl actual %s does not tell the reason:\n%s", strings.Join(command, " "), out)
			}
		}
	})
	t.Run("PodSecurity", func(t *testing.T) {
		e.Apply(t, namespace, sleeper("privileged", "    securityContext: {privileged: true}"))
		refused(t, e.Pod(namespace, "privileged"), "RemoteForbidden", "violates PodSecurity")
		// An ephemeral container, which cannot be removed, in a running pod.
		e.Kubectl(t, "local", "debug", "first", "-n", namespace, "--image=busybox:1.36", "--profile=sysadmin", "--", "true")
		first.WaitEvent(t, "RemoteForbidden", "violates PodSecurity")
		e.Kubectl(t, "local", "exec", "first", "-n", namespace, "-c", "main", "--", "true")
	})
	t.Run("Quota", func(t *testing.T) {
		_, err := e.Remote.CoreV1().ResourceQuotas(remote).Create(t.Context(), &corev1.ResourceQuota{
			ObjectMeta: metav1.ObjectMeta{Name: "few"},
			Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{corev1.ResourcePods: resource.MustParse("1")}},
		}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		env.Eventually(t, "the quota has counted the first pod", func(ctx context.Context) error {
			quota, err := e.Remote.CoreV1().ResourceQuotas(remote).Get(ctx, "few", metav1.GetOptions{})
			if err == nil && quota.Status.Used.Pods().Value() != 1 {
				err = fmt.Errorf("it counts %v", quota.Status.Used)
			}
			return err
		})
		second := e.Pod(namespace, "second")
		e.Apply(t, namespace, sleeper("second", ""))
		refused(t, second, "RemoteForbidden", "exceeded quota: few")
		e.Kubectl(t, "remote", "delete", "resourcequota", "few", "-n", remote)
		second.WaitReady(t)
	})
	t.Run("Policy", func(t *testing.T) {
		deny := denyPods(t, e, remote)
		denied := e.Pod(namespace, "denied")
		e.Apply(t, namespace, sleeper("denied", ""))
		refused(t, denied, "RemoteInvalid", "no pods on Sundays")
		e.Kubectl(t, "remote", "delete", "validatingadmissionpolicybinding", deny)
		denied.WaitReady(t)
	})
	t.Run("Copy", func(t *testing.T) { refusedCopy(t, e, namespace, remote) })
	t.Run("DisplacedCopy", func(t *testing.T) { displacedCopies(t, e, namespace, remote) })
	t.Run("Absent", func(t *testing.T) { absent(t, e, namespace, remote) })
	t.Run("LongName", func(t *testing.T) {
		long := strings.Repeat("a", 220)
		e.Apply(t, namespace, sleeper(long, ""))
		refused(t, e.Pod(namespace, long), translate.ReasonNameTooLong, remote)
	})
	t.Run("FormerPod", func(t *testing.T) { formerPod(t, e, namespace, remote) })
	t.Run("ForeignPod", func(t *testing.T) {
		foreign, err := e.Remote.CoreV1().Pods(remote).Create(t.Context(), env.IdlePod("taken"), metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		taken := e.Pod(namespace, "taken")
		e.Apply(t, namespace, sleeper("taken", ""))
		refused(t, taken, translate.ReasonRemotePodForeign, "taken")
		if found := taken.RemotePod(t); found.UID != foreign.UID || found.DeletionTimestamp != nil || len(found.Labels) > 0 {
			t.Errorf("the foreign pod was changed: %v", found.ObjectMeta)
		}
		e.Kubectl(t, "remote", "delete", "pod", "taken", "-n", remote)
		taken.WaitReady(t)
	})
}

// refusedCopy has a quota keep the copy of a ConfigMap from being made.
func refusedCopy(t *testing.T, e *env.Env, namespace, remote string) {
	t.Helper()
	// The namespace has more ConfigMaps than that already.
	e.Kubectl(t, "remote", "create", "quota", "no-configmaps", "-n", remote, "--hard=count/configmaps=0")
	e.Kubectl(t, "local", "create", "configmap", "settings", "-n", namespace, "--from-literal=color=blue")
	env.Eventually(t, "the quota counts", func(ctx context.Context) error {
		quota, err := e.Remote.CoreV1().ResourceQuotas(remote).Get(ctx, "no-configmaps", metav1.GetOptions{})
		if err == nil && len(quota.Status.Hard) == 0 {
			err = errors.New("it has no status")
		}
		return err
	})
	waits := e.Pod(namespace, "waits-for-copy")
	e.Apply(t, namespace, sleeper(waits.Name, "    envFrom: [{configMapRef: {name: settings}}]"))
	refused(t, waits, translate.ReasonReferenceNotCopied, "exceeded quota: no-configmaps")
	e.Kubectl(t, "remote", "delete", "quota", "no-configmaps", "-n", remote)
	waits.WaitReady(t)
	if color := strings.TrimSpace(waits.Shell(t, "echo $color")); color != "blue" {
		t.Errorf("the pod has color %q", color)
	}
}

// displacedCopies has an add-on of the remote cluster take the names of a ConfigMap and
// of a Secret.
func displacedCopies(t *testing.T, e *env.Env, namespace, remote string) {
	t.Helper()
	for side, where := range map[string]string{"local": namespace, "remote": remote} {
		e.Kubectl(t, side, "create", "configmap", "istio-ca-root-cert", "-n", where, "--from-literal=ca="+side)
		e.Kubectl(t, side, "create", "secret", "generic", "mesh", "-n", where, "--from-literal=key="+side)
	}
	meshed := e.Pod(namespace, "meshed")
	e.Apply(t, namespace, sleeper(meshed.Name, `    envFrom: [{configMapRef: {name: istio-ca-root-cert}}]
    volumeMounts: [{name: mesh, mountPath: /mesh}]
  volumes: [{name: mesh, secret: {secretName: mesh}}]`))
	meshed.WaitReady(t)
	if seen := strings.Fields(meshed.Shell(t, "echo $ca; cat /mesh/key")); len(seen) != 2 || seen[0] != "local" || seen[1] != "local" {
		t.Errorf("the pod sees %q, want what is local", seen)
	}
	e.Kubectl(t, "local", "patch", "secret", "mesh", "-n", namespace, "-p", `{"stringData":{"key":"renewed"}}`)
	env.Eventually(t, "the copy follows", func(ctx context.Context) error {
		found, err := e.Remote.CoreV1().Secrets(remote).Get(ctx, contract.ReservedName("mesh"), metav1.GetOptions{})
		if err == nil && string(found.Data["key"]) != "renewed" {
			err = fmt.Errorf("it has %q", found.Data["key"])
		}
		return err
	})
	if found := e.Kubectl(t, "remote", "get", "secret", "mesh", "-n", remote, "-o", "jsonpath={.data.key}"); found != "cmVtb3Rl" {
		t.Errorf("the object of the add-on has %q", found)
	}
}

// absent has a pod refer to a Secret that only the remote namespace has.
func absent(t *testing.T, e *env.Env, namespace, remote string) {
	t.Helper()
	e.Kubectl(t, "remote", "create", "secret", "generic", "registry", "-n", remote, "--from-literal=key=remote")
	curious := e.Pod(namespace, "curious")
	e.Apply(t, namespace, sleeper(curious.Name, `    envFrom: [{secretRef: {name: registry, optional: true}}]
    volumeMounts: [{name: registry, mountPath: /registry}]
  volumes: [{name: registry, secret: {secretName: registry, optional: true}}]`))
	curious.WaitReady(t)
	if seen := curious.Shell(t, "echo $key; ls /registry"); strings.TrimSpace(seen) != "" {
		t.Errorf("the pod sees %q of the remote cluster's Secret", seen)
	}
	e.Kubectl(t, "local", "create", "secret", "generic", "registry", "-n", namespace, "--from-literal=key=local")
	env.Eventually(t, "the volume follows", func(context.Context) error {
		if seen := curious.Shell(t, "cat /registry/key || true"); seen != "local" {
			return fmt.Errorf("it has %q", seen)
		}
		return nil
	})
}

// formerPod has a finalizer of the remote cluster hold the remote pod of a pod that was
// deleted by force.
func formerPod(t *testing.T, e *env.Env, namespace, remote string) {
	t.Helper()
	again := e.Pod(namespace, "again")
	e.Apply(t, namespace, sleeper(again.Name, ""))
	again.WaitReady(t)
	e.Kubectl(t, "remote", "patch", "pod", again.Name, "-n", remote, "-p", `{"metadata":{"finalizers":["example.com/backup"]}}`)
	e.Kubectl(t, "local", "delete", "pod", again.Name, "-n", namespace, "--grace-period=0", "--force")
	e.Apply(t, namespace, sleeper(again.Name, ""))
	refused(t, again, translate.ReasonFormerRemotePod, "example.com/backup")
	e.Kubectl(t, "remote", "patch", "pod", again.Name, "-n", remote, "--type=json", "-p", `[{"op":"remove","path":"/metadata/finalizers"}]`)
	again.WaitReady(t)
}

// denyPods makes a policy deny all new pods of a remote namespace, with the reason
// that policies have by default: Invalid, which is also that of validation. It returns
// the name of the policy and of its binding.
func denyPods(t *testing.T, e *env.Env, namespace string) string {
	t.Helper()
	const name = "no-pods-on-sundays"
	policies := e.Remote.AdmissionregistrationV1()
	_, err := policies.ValidatingAdmissionPolicies().Create(t.Context(), &admissionregistrationv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicySpec{
			MatchConstraints: &admissionregistrationv1.MatchResources{
				NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: namespace}},
				ResourceRules: []admissionregistrationv1.NamedRuleWithOperations{{RuleWithOperations: admissionregistrationv1.RuleWithOperations{
					Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
					Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}},
				}}},
			},
			Validations: []admissionregistrationv1.Validation{{Expression: "false", Message: "no pods on Sundays"}},
		},
	}, metav1.CreateOptions{})
	deleteAfter(t, e, "validatingadmissionpolicy", name, err)
	_, err = policies.ValidatingAdmissionPolicyBindings().Create(t.Context(), &admissionregistrationv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName:        name,
			ValidationActions: []admissionregistrationv1.ValidationAction{admissionregistrationv1.Deny},
		},
	}, metav1.CreateOptions{})
	deleteAfter(t, e, "validatingadmissionpolicybinding", name, err)
	env.Eventually(t, "the policy is in force", func(ctx context.Context) error {
		_, err := e.Remote.CoreV1().Pods(namespace).Create(ctx, env.IdlePod("probe"), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if apierrors.IsInvalid(err) {
			return nil
		}
		return fmt.Errorf("a pod: %w", err)
	})
	return name
}

// Pods that are bound to the node without the scheduler fail here for the same
// reasons for which a kubelet rejects them, and are never created in the remote
// cluster.
func TestRejectedPods(t *testing.T) {
	e := shared
	e.StartAKD(t, env.ExampleNode)
	namespace := e.Namespace(t, "rejected")
	for name, tc := range map[string]struct{ more, reason, message string }{
		"cpu": {
			"    resources: {requests: {cpu: 10k}}", "OutOfcpu",
			"Node didn't have enough resource: cpu, requested: 10000000, ",
		},
		"memory": {
			"    resources: {requests: {memory: 1Pi}}", "OutOfmemory",
			"Node didn't have enough resource: memory, ",
		},
		"affinity": {"  nodeSelector: {disk: tape}", "NodeAffinity", "Predicate NodeAffinity failed"},
	} {
		e.Apply(t, namespace, sleeper(name, tc.more))
		e.Pod(namespace, name).Eventually(t, "pod "+name+" is rejected", func(pod *corev1.Pod) error {
			got := pod.Status
			if got.Phase != corev1.PodFailed || got.Reason != tc.reason || !strings.Contains(got.Message, tc.message) {
				return fmt.Errorf("%s: %s: %s", got.Phase, got.Reason, got.Message)
			}
			return nil
		})
	}
	fits := e.Pod(namespace, "fits") // opens the namespace
	e.Apply(t, namespace, sleeper("fits", "    resources: {requests: {cpu: 10m}}"))
	fits.WaitReady(t)
	list, err := e.Remote.CoreV1().Pods(fits.RemoteNamespace()).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) != 1 {
		t.Errorf("%d remote pods, want the one that fits: %v", len(list.Items), err)
	}
}

// A force-deleted pod disappears from the local cluster at once; its remote pod
// ends before another pod of its name starts.
func TestForceDelete(t *testing.T) {
	e := shared
	e.StartAKD(t, env.ExampleNode)
	p := e.Pod(e.Namespace(t, "force-delete"), "web")
	e.Apply(t, p.Namespace, sleeper("web", ""))
	p.WaitReady(t)
	old := p.RemotePod(t)
	e.Kubectl(t, "local", "delete", "pod", "web", "-n", p.Namespace, "--force", "--grace-period=0")
	e.Apply(t, p.Namespace, sleeper("web", ""))
	p.WaitReady(t)
	if now := p.RemotePod(t); now.UID == old.UID {
		t.Error("the new pod has the remote pod of the old one")
	}
	e.Kubectl(t, "local", "delete", "pod", "web", "-n", p.Namespace, "--force", "--grace-period=0")
	env.Eventually(t, "the remote pod is gone", func(ctx context.Context) error {
		_, err := e.Remote.CoreV1().Pods(old.Namespace).Get(ctx, "web", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("it still exists (%w)", err)
	})
}

// Events of the remote pod appear on the local pod, with local names.
func TestRemoteEvents(t *testing.T) {
	e := shared
	e.StartAKD(t, env.ExampleNode)
	namespace := e.Namespace(t, "events")
	running, waiting := e.Pod(namespace, "running"), e.Pod(namespace, "waiting")
	e.Apply(t, namespace, sleeper("running", ""))
	e.Apply(t, namespace, sleeper("waiting", `
    volumeMounts: [{name: password, mountPath: /password}]
  volumes: [{name: password, secret: {secretName: password}}]`))
	running.WaitReady(t)
	running.WaitEvent(t, "Pulled", "already present on machine")
	running.WaitEvent(t, "Created", "")
	running.WaitEvent(t, "Started", "")
	waiting.WaitEvent(t, "FailedMount", `secret "password" not found`)

	for _, event := range events(t, e, namespace, "reason=Scheduled") {
		t.Errorf("event of the remote scheduler: %s", event.Message) // these pods were bound without a scheduler
	}

	local := e.Pods(t, namespace)
	started := events(t, e, namespace, "reason=Started")
	for _, event := range started {
		about := event.InvolvedObject
		if about.UID != local[0].UID || about.Namespace != namespace || event.Source.Host != env.ExampleNode {
			t.Errorf("event %s is about %v and comes from %s", event.Name, about, event.Source.Host)
		}
	}
	if len(started) != 1 {
		t.Errorf("%d events Started, want 1: one container started once", len(started))
	}
}

// events lists local events by a field selector.
func events(t *testing.T, e *env.Env, namespace, selector string) []corev1.Event {
	t.Helper()
	list, err := e.Local.CoreV1().Events(namespace).List(t.Context(), metav1.ListOptions{FieldSelector: selector})
	if err != nil {
		t.Fatal(err)
	}
	return list.Items
}
