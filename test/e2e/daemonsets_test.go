//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

// daemons are an agent, which tolerates no taint, and a proxy, which tolerates all, with an
// affinity of its own. Both keep away from the Nodes that other tests have left.
const daemons = `
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec:
      terminationGracePeriodSeconds: 1
      nodeSelector: {kubernetes.io/hostname: vk-ak-example}
      containers: [{name: main, image: "busybox:1.36", imagePullPolicy: Never, command: [sleep, "100000"]}]
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: proxy}
spec:
  selector: {matchLabels: {app: proxy}}
  template:
    metadata: {labels: {app: proxy}}
    spec:
      terminationGracePeriodSeconds: 1
      hostNetwork: true
      tolerations: [{operator: Exists}]
      affinity:
        nodeAffinity:
          preferredDuringSchedulingIgnoredDuringExecution:
          - {weight: 1, preference: {matchExpressions: [{key: actual.vk/infra, operator: Exists}]}}
          requiredDuringSchedulingIgnoredDuringExecution:
            nodeSelectorTerms:
            - matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [local-1, vk-ak-example]}]
            - matchFields: [{key: metadata.name, operator: In, values: [vk-ak-example]}]
      containers:
      - name: main
        image: busybox:1.36
        imagePullPolicy: Never
        command: [sleep, "100000"]
        securityContext: {privileged: true}
        volumeMounts: [{name: modules, mountPath: /lib/modules}]
      volumes: [{name: modules, hostPath: {path: /}}]
`

// The DaemonSets of a cluster put pods on the node that nobody wanted there, and nothing said
// so. check lists those that do, says what the pods meet, and its commands keep them away:
// without other nodes, none is desired any more, and machines keep theirs.
func TestDaemonSets(t *testing.T) {
	e := shared
	const machine = "local-1"
	e.StartAKD(t, env.ExampleNode)
	namespace := e.Namespace(t, "daemons")
	e.Apply(t, namespace, daemons)
	onNodes(t, e, namespace, "agent", env.ExampleNode)
	onNodes(t, e, namespace, "proxy", machine, env.ExampleNode)
	e.WaitRollout(t, namespace, "daemonset/agent")
	for _, pod := range e.Pods(t, namespace) {
		if pod.Labels["app"] == "proxy" && pod.Spec.NodeName == env.ExampleNode {
			refused(t, e.Pod(namespace, pod.Name), "RemoteForbidden", "hostNetwork=true")
		}
	}
	if out, _, err := e.TryKubectl("local", nil, "rollout", "status", "daemonset/proxy", "-n", namespace, "--timeout=3s"); err == nil {
		t.Errorf("a rollout does not wait for the pod that is refused:\n%s", out)
	}

	found := checked(t, e, "daemonsets", "--no-probe")
	listed := strings.Join(found.Details, "\n")
	for _, want := range []string{
		namespace + "/agent: its pod runs in the remote cluster",
		namespace + `/proxy: the remote cluster denies its pod, which violates Pod Security "baseline": ` +
			`host namespaces (hostNetwork=true), hostPath volumes (volume "modules"), privileged (container "main"`,
	} {
		if found.Level != "warning" || !strings.Contains(listed, want) {
			t.Errorf("want a warning of %q: %s\n%s", want, found.Level, listed)
		}
	}
	planned := resultOf(t, e, "daemonsets", []string{
		"check", env.ExampleNode, "--pre", "--no-probe", "--remote-context=remote", "-o", "json", "--taint=actual.vk/remote=true:NoSchedule",
	})
	if strings.Contains(planned.Found, namespace+"/agent") || !strings.Contains(planned.Found, namespace+"/proxy") {
		t.Errorf("a node with a taint repels what does not tolerate it: %s", planned.Found)
	}

	elsewhere := func(line string) bool { return !strings.Contains(line, "-n "+namespace+" ") }
	commands := slices.DeleteFunc(strings.Split(found.Fix, "\n"), elsewhere)
	if len(commands) != 2 {
		t.Fatalf("want a command for each:\n%s", found.Fix)
	}
	for _, command := range commands {
		paste(t, e, command)
	}
	onNodes(t, e, namespace, "agent")
	onNodes(t, e, namespace, "proxy", machine)
	e.WaitRollout(t, namespace, "daemonset/agent")
	e.WaitRollout(t, namespace, "daemonset/proxy")
	if found := checked(t, e, "daemonsets", "--no-probe"); strings.Contains(found.Found, namespace) {
		t.Errorf("they are still listed: %s", found.Found)
	}
	proxy, err := e.Local.AppsV1().DaemonSets(namespace).Get(t.Context(), "proxy", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	affinity := proxy.Spec.Template.Spec.Affinity.NodeAffinity
	terms := affinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms
	if len(affinity.PreferredDuringSchedulingIgnoredDuringExecution) != 1 || len(terms) != 2 ||
		len(terms[0].MatchExpressions) != 2 || len(terms[1].MatchFields) != 1 || len(terms[1].MatchExpressions) != 1 {
		t.Errorf("its own affinity is not what it was: %+v", affinity)
	}
}

// onNodes waits until a DaemonSet has pods on these nodes alone, and desires no others.
func onNodes(t *testing.T, e *env.Env, namespace, name string, nodes ...string) {
	t.Helper()
	env.Eventually(t, fmt.Sprintf("DaemonSet %s has pods on %v alone", name, nodes), func(ctx context.Context) error {
		ds, err := e.Local.AppsV1().DaemonSets(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if seen := ds.Status; int(seen.DesiredNumberScheduled) != len(nodes) || seen.ObservedGeneration != ds.Generation {
			return fmt.Errorf("its status is %+v", seen)
		}
		pods, err := e.Local.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=" + name})
		if err != nil {
			return err
		}
		var have []string
		for i := range pods.Items {
			have = append(have, pods.Items[i].Spec.NodeName)
		}
		slices.Sort(have)
		if !slices.Equal(have, nodes) {
			return fmt.Errorf("its pods are on %v", have)
		}
		return nil
	})
}

// paste runs a suggested command of kubectl, as a shell reads it.
func paste(t *testing.T, e *env.Env, command string) {
	t.Helper()
	words, err := exec.CommandContext(t.Context(), "sh", "-c", `kubectl() { printf '%s\0' "$@"; }; `+command).Output()
	if err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	args := slices.DeleteFunc(strings.Split(strings.TrimSuffix(string(words), "\x00"), "\x00"), func(word string) bool {
		return strings.HasPrefix(word, "--context=") || strings.HasPrefix(word, "--kubeconfig=")
	})
	e.Kubectl(t, "local", args...)
}
