//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

const budget = `
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec: {%s, selector: {matchLabels: {app: web}}}
`

// TestDisruptionBudgets drains real remote nodes. A PodDisruptionBudget did not hold there:
// none of three pods was left for eight seconds.
func TestDisruptionBudgets(t *testing.T) {
	env.SkipUnlessSlow(t)
	t.Parallel() // its clusters are its own
	p := &placed{Env: env.UpAlone(t, "--remote-nodes=2"), node: "budgeted"}
	node := p.InstallNode(t, manifests.Values{Node: p.node, MirrorBudgets: true, MaxUnevictable: 4}, time.Hour)
	p.StartAKD(t, p.node, node.Args("--disruption-budgets=mirror", "--max-unevictable=4")...)
	namespace := p.Namespace(t, "budgeted")
	p.Apply(t, namespace, strings.Replace(env.Web(p.node, 3), "      nodeName: \"\"\n", `
      topologySpreadConstraints:
      - maxSkew: 1
        topologyKey: kubernetes.io/hostname
        whenUnsatisfiable: ScheduleAnyway
        labelSelector: {matchLabels: {app: web}}
`, 1))
	p.WaitRollout(t, namespace, "deployment/web")
	p.Apply(t, namespace, fmt.Sprintf(budget, "maxUnavailable: 1"))
	p.wantBudget(t, namespace, 2)

	ready := p.sampleReady(t, namespace)
	for _, machine := range []string{"remote-1", "remote-2"} {
		p.Kubectl(t, "remote", p.drain(machine, "3m")...)
		p.WaitRollout(t, namespace, "deployment/web")
		p.Kubectl(t, "remote", "uncordon", machine)
	}
	lowest, samples := ready()
	t.Logf("at least %d pods were ready in %d samples", lowest, samples)
	if lowest < 2 {
		t.Errorf("only %d pods were ready at some time, want 2", lowest)
	}

	p.Apply(t, namespace, fmt.Sprintf(budget, "maxUnavailable: 0"))
	p.wantBudget(t, namespace, 3)
	p.wantMachines(t, namespace, map[string]int{"remote-1": 3})
	_, stderr, err := p.TryKubectl("remote", nil, p.drain("remote-1", "15s")...)
	if err == nil || !strings.Contains(stderr, "would violate the pod's disruption budget") {
		t.Errorf("a drain that the budget does not allow: %v\n%s", err, stderr)
	}
	drained := make(chan error, 1)
	go func() {
		_, stderr, err := p.TryKubectl("remote", nil, p.drain("remote-1", "3m")...)
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, stderr)
		}
		drained <- err
	}()
	p.Kubectl(t, "local", "delete", "poddisruptionbudget", "web", "-n", namespace)
	if err := <-drained; err != nil {
		t.Errorf("a drain after the budget has gone: %v", err)
	}
	p.wantBudget(t, namespace, 0)
	p.Kubectl(t, "remote", "uncordon", "remote-1")
	p.tellsOfLimit(t, namespace)
}

// mirrorsBudgets installs a node with mirrored budgets, wherever its akd runs, and without
// again, which removes the copies.
func mirrorsBudgets(t *testing.T, e *env.Env, node string, install []string) {
	t.Helper()
	p := &placed{Env: e, node: node}
	e.MustActual(t, append(install, "--disruption-budgets=mirror")...)
	namespace := e.Namespace(t, node)
	e.Apply(t, namespace, env.Web(node, 1))
	e.Apply(t, namespace, fmt.Sprintf(budget, "minAvailable: 1"))
	p.wantBudget(t, namespace, 1)
	e.MustActual(t, install...)
	p.wantBudget(t, namespace, 0)
	e.Kubectl(t, "local", "delete", "deployment", "web", "-n", namespace, "--cascade=foreground") // waits for the pods
}

func (p *placed) drain(machine, timeout string) []string {
	return []string{
		"drain", machine, "--ignore-daemonsets", "--timeout=" + timeout, "--pod-selector=" + contract.LabelNodeName + "=" + p.node,
	}
}

// wantBudget waits for the remote copy, with that many pods; 0 for none.
func (p *placed) wantBudget(t *testing.T, namespace string, want int) {
	t.Helper()
	env.Eventually(t, fmt.Sprintf("the remote budget has minAvailable %d", want), func(ctx context.Context) error {
		found, err := p.Remote.PolicyV1().PodDisruptionBudgets(contract.RemoteNamespace(p.node, namespace)).Get(ctx, "web", metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err) && want == 0:
			return nil
		case err != nil:
			return err
		case want == 0:
			return errors.New("it is still there")
		case found.Spec.MinAvailable.IntValue() != want:
			return fmt.Errorf("it has minAvailable %s", found.Spec.MinAvailable)
		case found.Status.ObservedGeneration != found.Generation:
			return errors.New("the remote disruption controller has not seen it")
		}
		return nil
	})
}

// sampleReady counts the local pods that are ready, again and again, until the returned
// function is called, which returns the lowest number.
func (p *placed) sampleReady(t *testing.T, namespace string) func() (lowest, samples int) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	lowest, samples, done := 1000, 0, make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			pods, err := p.Local.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=web"})
			if err != nil {
				continue
			}
			ready := 0
			for i := range pods.Items {
				for _, condition := range pods.Items[i].Status.Conditions {
					if condition.Type == corev1.PodReady && condition.Status == corev1.ConditionTrue {
						ready++
					}
				}
			}
			lowest, samples = min(lowest, ready), samples+1
		}
	}()
	return func() (int, int) {
		stop()
		<-done
		return lowest, samples
	}
}

// tellsOfLimit: a budget above the provider's limit is cut, and its owner learns it.
func (p *placed) tellsOfLimit(t *testing.T, namespace string) {
	t.Helper()
	p.Kubectl(t, "local", "scale", "deployment/web", "--replicas=6", "-n", namespace)
	p.WaitRollout(t, namespace, "deployment/web")
	p.Apply(t, namespace, fmt.Sprintf(budget, "minAvailable: 5"))
	p.wantBudget(t, namespace, 4)
	env.Eventually(t, "the owner of the budget learns the limit", func(ctx context.Context) error {
		events, err := p.Local.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.kind=PodDisruptionBudget"})
		if err != nil {
			return err
		}
		for i := range events.Items {
			if events.Items[i].Reason == translate.ReasonBudgetCut {
				return nil
			}
		}
		return fmt.Errorf("%d events say something else", len(events.Items))
	})
}
