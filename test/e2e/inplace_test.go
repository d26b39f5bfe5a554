//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

// Every change that the API allows in a running pod reaches its containers, and
// the remote pod remains the same.
func TestInPlace(t *testing.T) {
	e := shared
	e.StartAKD(t, env.ExampleNode)
	p := e.Pod(e.Namespace(t, "in-place"), "app")
	e.Apply(t, p.Namespace, fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: app, labels: {tier: silver, app: app}}
spec:
  nodeName: %s
  terminationGracePeriodSeconds: 1
  readinessGates: [{conditionType: example.com/balanced}]
  containers:
  - name: app
    image: busybox:1.36
    imagePullPolicy: Never
    command: [sh, -c, 'trap exit TERM; while :; do sleep 1 & wait; done']
    resources: {requests: {cpu: 10m, memory: 16Mi}, limits: {cpu: 200m, memory: 64Mi}}
    volumeMounts: [{name: self, mountPath: /self}]
  volumes:
  - {name: self, downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}}
`, env.ExampleNode))
	e.Kubectl(t, "local", "wait", "--for=condition=ContainersReady", "pod/app", "-n", p.Namespace, "--timeout=3m")
	first := p.RemotePod(t)
	for _, step := range []struct {
		name string
		run  func(*testing.T, env.Pod)
	}{
		{"ReadinessGate", testReadinessGate},
		{"LabelsAndAnnotations", testLabelsAndAnnotations},
		{"Resize", testResize},
		{"EphemeralContainer", testEphemeralContainer},
		{"Image", testImage},
		{"ActiveDeadline", testActiveDeadline},
	} {
		t.Run(step.name, func(t *testing.T) { step.run(t, p) })
	}
	if last := p.RemotePod(t); last.UID != first.UID {
		t.Errorf("the remote pod was replaced: %s by %s", first.UID, last.UID)
	}
}

// has returns an error unless the pod has the condition with that status.
func has(pod *corev1.Pod, kind corev1.PodConditionType, status corev1.ConditionStatus) error {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == kind {
			if condition.Status == status {
				return nil
			}
			return fmt.Errorf("condition %s is %s: %s %s", kind, condition.Status, condition.Reason, condition.Message)
		}
	}
	return fmt.Errorf("no condition %s", kind)
}

// observed returns an error until the status is that of the latest spec.
func observed(pod *corev1.Pod) error {
	if pod.Status.ObservedGeneration != pod.Generation {
		return fmt.Errorf("generation %d, observed %d", pod.Generation, pod.Status.ObservedGeneration)
	}
	return nil
}

// The condition of a readiness gate exists in the local cluster alone; Ready
// follows it.
func testReadinessGate(t *testing.T, p env.Pod) {
	p.Eventually(t, "the closed gate keeps the pod from being Ready", func(pod *corev1.Pod) error {
		return has(pod, corev1.PodReady, corev1.ConditionFalse)
	})
	for _, status := range []corev1.ConditionStatus{corev1.ConditionTrue, corev1.ConditionFalse, corev1.ConditionTrue} {
		patch := fmt.Appendf(nil, `{"status":{"conditions":[{"type":"example.com/balanced","status":%q}]}}`, status)
		_, err := p.Local.CoreV1().Pods(p.Namespace).
			Patch(t.Context(), p.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
		if err != nil {
			t.Fatal(err)
		}
		p.Eventually(t, "Ready is "+string(status)+", as the gate is", func(pod *corev1.Pod) error {
			return errors.Join(has(pod, corev1.PodReady, status), has(pod, "example.com/balanced", status))
		})
	}
}

func testLabelsAndAnnotations(t *testing.T, p env.Pod) {
	p.Kubectl(t, "local", "label", "pod", p.Name, "-n", p.Namespace, "--overwrite", "tier=gold", "app-")
	p.Kubectl(t, "local", "annotate", "pod", p.Name, "-n", p.Namespace, "example.com/note=in place")
	p.EventuallyRemote(t, "the remote pod has them", func(pod *corev1.Pod) error {
		if _, left := pod.Labels["app"]; left || pod.Labels["tier"] != "gold" || pod.Annotations["example.com/note"] != "in place" {
			return fmt.Errorf("labels %v, annotations %v", pod.Labels, pod.Annotations)
		}
		return nil
	})
	env.Eventually(t, "the file in the container has the new label", func(context.Context) error {
		out, _, err := p.TryKubectl("local", nil, "exec", "-n", p.Namespace, p.Name, "--", "cat", "/self/labels")
		if err == nil && (!strings.Contains(out, `tier="gold"`) || strings.Contains(out, "app=")) {
			err = fmt.Errorf("it contains %q", out)
		}
		return err
	})
}

// The container gets more resources and keeps running.
func testResize(t *testing.T, p env.Pod) {
	p.Kubectl(t, "local", "patch", "pod", p.Name, "-n", p.Namespace, "--subresource", "resize", "-p",
		`{"spec":{"containers":[{"name":"app","resources":{"requests":{"cpu":"20m","memory":"24Mi"},"limits":{"cpu":"300m","memory":"96Mi"}}}]}}`)
	p.Eventually(t, "the container has the new size", func(pod *corev1.Pod) error {
		status := pod.Status.ContainerStatuses[0]
		switch {
		case status.Resources == nil:
			return errors.New("no resources in the status")
		case status.Resources.Limits.Cpu().String() != "300m", status.Resources.Limits.Memory().String() != "96Mi",
			status.Resources.Requests.Cpu().String() != "20m":
			return fmt.Errorf("it has %v, conditions %v", status.Resources, pod.Status.Conditions)
		case status.RestartCount != 0:
			return errors.New("it was restarted")
		}
		return observed(pod)
	})
}

func testEphemeralContainer(t *testing.T, p env.Pod) {
	p.Kubectl(t, "local", "debug", p.Name, "-n", p.Namespace, "--image=busybox:1.36", "-c", "debugger",
		"--target=app", "--profile=baseline", "--", "sh", "-c", "echo debugging $HOSTNAME at $KUBERNETES_SERVICE_HOST")
	p.Eventually(t, "the debugger has run", func(pod *corev1.Pod) error {
		for _, status := range pod.Status.EphemeralContainerStatuses {
			if ended := status.State.Terminated; status.Name == "debugger" && ended != nil {
				if ended.ExitCode != 0 {
					t.Errorf("it ended with %d: %s", ended.ExitCode, ended.Message)
				}
				return nil
			}
		}
		return fmt.Errorf("it has not: %v", pod.Status.EphemeralContainerStatuses)
	})
	host := strings.TrimSpace(p.Shell(t, "echo $KUBERNETES_SERVICE_HOST"))
	log := p.Kubectl(t, "local", "logs", "-n", p.Namespace, p.Name, "-c", "debugger")
	if host == "" || log != "debugging app at "+host+"\n" {
		t.Errorf("the debugger wrote %q, want the container's API server, %q", log, host)
	}
}

func testImage(t *testing.T, p env.Pod) {
	p.Kubectl(t, "local", "set", "image", "pod/"+p.Name, "-n", p.Namespace, "app=agnhost:stable")
	p.Eventually(t, "the container runs the new image", func(pod *corev1.Pod) error {
		status := pod.Status.ContainerStatuses[0]
		if status.State.Running == nil || status.RestartCount != 1 || !strings.Contains(status.Image, "/agnhost:") {
			return fmt.Errorf("image %s, %d restarts, %+v", status.Image, status.RestartCount, status.State)
		}
		return observed(pod)
	})
}

func testActiveDeadline(t *testing.T, p env.Pod) {
	p.Kubectl(t, "local", "patch", "pod", p.Name, "-n", p.Namespace, "-p", `{"spec":{"activeDeadlineSeconds":1}}`)
	p.Eventually(t, "the pod has failed", func(pod *corev1.Pod) error {
		if pod.Status.Phase != corev1.PodFailed || pod.Status.Reason != "DeadlineExceeded" {
			return fmt.Errorf("phase %s, reason %q", pod.Status.Phase, pod.Status.Reason)
		}
		return nil
	})
}
