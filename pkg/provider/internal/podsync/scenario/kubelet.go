package scenario

import (
	"cmp"
	"context"
	"strconv"
	"strings"
	"testing/synctest"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

// keepRunning is no exit code: a pod that may end does not.
const keepRunning = "none"

// kubelet does the next thing that a kubelet does with a pod that akd has created or that
// is being deleted, if there is any: it starts the container, which ends with that exit
// code if it may end or the pod is being deleted, and then it releases a deleted pod.
func (c *fakeServer) kubelet(ctx context.Context, namespace, name, code string) error {
	pod, err := c.podNamed(namespace, name)
	if err != nil {
		return err
	}
	if pod.Labels[contract.LabelUID] == "" && pod.DeletionTimestamp == nil {
		return nil
	}
	if code == keepRunning && pod.DeletionTimestamp != nil {
		code = "0"
	}
	report := func(phase corev1.PodPhase) error {
		c.tell(pod, string(phase))
		return c.edit(ctx, namespace, name, func(pod *corev1.Pod) { setPhase(pod, string(phase), code) })
	}
	ended := corev1.PodFailed
	if code == "0" {
		ended = corev1.PodSucceeded
	}
	deleted := pod.DeletionTimestamp != nil
	switch {
	case deleted && pod.Status.Phase == corev1.PodRunning:
		return report(ended)
	case deleted && ptr.Deref(pod.DeletionGracePeriodSeconds, 0) > 0:
		return c.deletePod(namespace, name, []string{"0"})
	case !deleted && pending(pod) && !c.canMount(pod):
		return nil
	case !deleted && pending(pod):
		return report(corev1.PodRunning)
	case code == keepRunning:
		return nil
	case translate.Finished(pod) || pod.Spec.RestartPolicy == corev1.RestartPolicyAlways || pod.Spec.RestartPolicy == "":
		return nil
	case pod.Spec.RestartPolicy == corev1.RestartPolicyOnFailure && code != "0":
		return nil // it runs again
	default:
		return report(ended)
	}
}

// tell records an event on a pod, as a kubelet does at each step. Its message ends with the
// UID of the local pod.
func (c *fakeServer) tell(pod *corev1.Pod, reason string) {
	if !c.tells || c.isEnding(pod.Namespace) {
		return
	}
	event := &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: pod.Namespace, GenerateName: pod.Name + "."},
		InvolvedObject: corev1.ObjectReference{Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID},
		Reason:         reason, Message: "told of " + pod.Labels[contract.LabelUID],
		Source: corev1.EventSource{Component: "kubelet"}, FirstTimestamp: in(0), LastTimestamp: in(0), Count: 1,
	}
	_ = c.add(event)
}

// pending reports whether no kubelet has said anything of the pod yet.
func pending(pod *corev1.Pod) bool {
	return cmp.Or(pod.Status.Phase, corev1.PodPending) == corev1.PodPending
}

// loseNext loses the answer to akd's next write: any, or the next with a verb and a resource.
func (c *fakeServer) loseNext(request []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lose, c.loseOnly = true, strings.Join(request, " ")
}

// holdNext holds that write back until arrive.
func (c *fakeServer) holdNext(request []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hold, c.holdOnly = true, strings.Join(request, " ")
}

// interrupt lets watches that have timed out begin again before something cuts them.
func (c *fakeServer) interrupt(cut func()) {
	c.storage.timeOut()
	synctest.Wait()
	cut()
}

// lag stops the watch cache, also a number of versions behind.
func (c *fakeServer) lag(words []string) (err error) {
	behind := 0
	if len(words) > 0 {
		behind, err = strconv.Atoi(words[0])
	}
	c.storage.lag(behind)
	return err
}
