//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

// sleeper is a small pod; more goes into its spec.
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
%s`, name, exampleNode, more)
}

// refused waits until the pod is Pending with a condition, and an event, that
// say why.
func (p pod) refused(t *testing.T, reason, words string) {
	t.Helper()
	p.until(t, "pod "+p.name+" says why it waits", func(pod *corev1.Pod) error {
		if pod.Status.Phase != corev1.PodPending {
			return fmt.Errorf("phase %s", pod.Status.Phase)
		}
		for _, condition := range pod.Status.Conditions {
			if condition.Type != translate.ConditionRemoteCreated {
				continue
			}
			if condition.Status != corev1.ConditionFalse || condition.Reason != reason || !strings.Contains(condition.Message, words) {
				return fmt.Errorf("condition %s=%s %s: %s", condition.Type, condition.Status, condition.Reason, condition.Message)
			}
			return nil
		}
		return errors.New("no condition yet")
	})
	p.hasEvent(t, reason, words)
}

// hasEvent waits for an event of the local pod with those words. Only akd itself
// speaks of remote names.
func (p pod) hasEvent(t *testing.T, reason, words string) {
	t.Helper()
	eventually(t, fmt.Sprintf("pod %s has the event %s with %q", p.name, reason, words), func(ctx context.Context) error {
		list, err := p.local.CoreV1().Events(p.namespace).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=" + p.name})
		if err != nil {
			return err
		}
		var others []string
		for _, event := range list.Items {
			if event.Source.Component != "akd" && strings.Contains(event.Message, translate.RemoteNamespace(exampleNode, p.namespace)) {
				t.Errorf("event %s tells the remote namespace: %s", event.Reason, event.Message)
			}
			if event.Reason == reason && strings.Contains(event.Message, words) {
				return nil
			}
			others = append(others, event.Reason+": "+event.Message)
		}
		return fmt.Errorf("only %q", others)
	})
}

func (p pod) ready(t *testing.T) {
	t.Helper()
	p.kubectl(t, "local", "wait", "--for=condition=Ready", "pod/"+p.name, "-n", p.namespace, "--timeout=3m")
}

// What cannot run waits and says why, in the words of whoever said no; what
// waited runs once the reason has gone. No pod is failed by it.
func TestRefusals(t *testing.T) {
	b := shared
	b.startAKD(t, exampleNode)
	namespace := b.namespace(t, "refusals")
	remote := translate.RemoteNamespace(exampleNode, namespace)
	first := pod{b, namespace, "first"}
	b.apply(t, namespace, sleeper("first", "")) // opens the namespace
	first.ready(t)

	t.Run("Claim", func(t *testing.T) {
		b.apply(t, namespace, sleeper("claim", "  volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]"))
		pod{b, namespace, "claim"}.refused(t, translate.ReasonUnsupportedVolume, `PersistentVolumeClaim "data"`)
	})
	t.Run("PodSecurity", func(t *testing.T) {
		b.apply(t, namespace, sleeper("privileged", "    securityContext: {privileged: true}"))
		pod{b, namespace, "privileged"}.refused(t, "RemoteForbidden", "violates PodSecurity")
		// A container that cannot be taken back, in a pod that runs.
		b.kubectl(t, "local", "debug", "first", "-n", namespace, "--image=busybox:1.36", "--profile=sysadmin", "--", "true")
		first.hasEvent(t, "RemoteForbidden", "violates PodSecurity")
		b.kubectl(t, "local", "exec", "first", "-n", namespace, "-c", "main", "--", "true")
	})
	t.Run("Quota", func(t *testing.T) {
		_, err := b.remote.CoreV1().ResourceQuotas(remote).Create(t.Context(), &corev1.ResourceQuota{
			ObjectMeta: metav1.ObjectMeta{Name: "few"},
			Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{corev1.ResourcePods: resource.MustParse("1")}},
		}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "the quota counts", func(ctx context.Context) error {
			quota, err := b.remote.CoreV1().ResourceQuotas(remote).Get(ctx, "few", metav1.GetOptions{})
			if err == nil && quota.Status.Used.Pods().Value() != 1 {
				err = fmt.Errorf("it counts %v", quota.Status.Used)
			}
			return err
		})
		second := pod{b, namespace, "second"}
		b.apply(t, namespace, sleeper("second", ""))
		second.refused(t, "RemoteForbidden", "exceeded quota: few")
		b.kubectl(t, "remote", "delete", "resourcequota", "few", "-n", remote)
		second.ready(t)
	})
	t.Run("ForeignPod", func(t *testing.T) {
		grace := int64(1)
		foreign, err := b.remote.CoreV1().Pods(remote).Create(t.Context(), &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "taken"},
			Spec: corev1.PodSpec{TerminationGracePeriodSeconds: &grace, Containers: []corev1.Container{{
				Name: "main", Image: "busybox:1.36", ImagePullPolicy: corev1.PullNever, Command: []string{"sleep", "1000000"},
			}}},
		}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		taken := pod{b, namespace, "taken"}
		b.apply(t, namespace, sleeper("taken", ""))
		taken.refused(t, translate.ReasonRemotePodForeign, "taken")
		if found := taken.remote(t); found.UID != foreign.UID || found.DeletionTimestamp != nil || len(found.Labels) > 0 {
			t.Errorf("the foreign pod was touched: %v", found.ObjectMeta)
		}
		b.kubectl(t, "remote", "delete", "pod", "taken", "-n", remote)
		taken.ready(t)
	})
}

// What a kubelet rejects of the pods that are bound to it past the scheduler
// fails here too, for the same reasons, and never reaches the remote cluster.
func TestRejectedPods(t *testing.T) {
	b := shared
	b.startAKD(t, exampleNode)
	namespace := b.namespace(t, "rejected")
	for name, tc := range map[string]struct{ more, reason, message string }{
		"cpu":      {"    resources: {requests: {cpu: 10k}}", "OutOfcpu", "Node didn't have enough resource: cpu, requested: 10000000, "},
		"memory":   {"    resources: {requests: {memory: 1Pi}}", "OutOfmemory", "Node didn't have enough resource: memory, "},
		"affinity": {"  nodeSelector: {disk: tape}", "NodeAffinity", "Predicate NodeAffinity failed"},
	} {
		b.apply(t, namespace, sleeper(name, tc.more))
		pod{b, namespace, name}.until(t, "pod "+name+" is rejected", func(pod *corev1.Pod) error {
			if pod.Status.Phase != corev1.PodFailed || pod.Status.Reason != tc.reason || !strings.Contains(pod.Status.Message, tc.message) {
				return fmt.Errorf("%s: %s: %s", pod.Status.Phase, pod.Status.Reason, pod.Status.Message)
			}
			return nil
		})
	}
	fits := pod{b, namespace, "fits"} // opens the namespace
	b.apply(t, namespace, sleeper("fits", "    resources: {requests: {cpu: 10m}}"))
	fits.ready(t)
	list, err := b.remote.CoreV1().Pods(translate.RemoteNamespace(exampleNode, namespace)).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) != 1 {
		t.Errorf("%d remote pods, want the one that fits: %v", len(list.Items), err)
	}
}

// A force-deleted pod is gone locally at once; what runs of it remotely ends,
// before another pod of its name begins.
func TestForceDelete(t *testing.T) {
	b := shared
	b.startAKD(t, exampleNode)
	p := pod{b, b.namespace(t, "force-delete"), "web"}
	b.apply(t, p.namespace, sleeper("web", ""))
	p.ready(t)
	old := p.remote(t)
	b.kubectl(t, "local", "delete", "pod", "web", "-n", p.namespace, "--force", "--grace-period=0")
	b.apply(t, p.namespace, sleeper("web", ""))
	p.ready(t)
	if now := p.remote(t); now.UID == old.UID {
		t.Error("the new pod is served by the old one's remote pod")
	}
	b.kubectl(t, "local", "delete", "pod", "web", "-n", p.namespace, "--force", "--grace-period=0")
	eventually(t, "the remote pod is gone", func(ctx context.Context) error {
		_, err := b.remote.CoreV1().Pods(old.Namespace).Get(ctx, "web", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("it is there (%w)", err)
	})
}

// What the remote cluster tells of a pod is told of the local pod, in local
// names.
func TestRemoteEvents(t *testing.T) {
	b := shared
	b.startAKD(t, exampleNode)
	namespace := b.namespace(t, "events")
	running, waiting := pod{b, namespace, "running"}, pod{b, namespace, "waiting"}
	b.apply(t, namespace, sleeper("running", ""))
	b.apply(t, namespace, sleeper("waiting", `
    volumeMounts: [{name: password, mountPath: /password}]
  volumes: [{name: password, secret: {secretName: password}}]`))
	running.ready(t)
	running.hasEvent(t, "Pulled", "already present on machine")
	running.hasEvent(t, "Created", "")
	running.hasEvent(t, "Started", "")
	waiting.hasEvent(t, "FailedMount", `secret "password" not found`)

	for _, event := range b.events(t, namespace, "reason=Scheduled") {
		t.Errorf("event of the remote scheduler: %s", event.Message) // no local one has scheduled these pods
	}

	local := b.pods(t, namespace)
	started := b.events(t, namespace, "reason=Started")
	for _, event := range started {
		if event.InvolvedObject.UID != local[0].UID || event.InvolvedObject.Namespace != namespace || event.Source.Host != exampleNode {
			t.Errorf("event %s is about %v and comes from %s", event.Name, event.InvolvedObject, event.Source.Host)
		}
	}
	if len(started) != 1 {
		t.Errorf("%d events Started, want 1: one container started once", len(started))
	}
}

// events lists local events by a field selector.
func (b *bed) events(t *testing.T, namespace, selector string) []corev1.Event {
	t.Helper()
	list, err := b.local.CoreV1().Events(namespace).List(t.Context(), metav1.ListOptions{FieldSelector: selector})
	if err != nil {
		t.Fatal(err)
	}
	return list.Items
}
