//go:build e2e

package e2e

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

// logWriters are four pods: talker has written all its logs when it is ready,
// phoenix logs when its container begins and ends, waiting has an image that no
// node has, and refused violates the Pod Security of the remote cluster.
func logWriters(node string) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: talker}
spec:
  nodeName: %[1]s
  terminationGracePeriodSeconds: 1
  initContainers:
  - name: zero
    image: busybox:1.36
    imagePullPolicy: Never
    command: [sh, -c, 'echo zero 1']
  containers:
  - name: one
    image: busybox:1.36
    imagePullPolicy: Never
    command: [sh, -c, 'echo one 1; echo one 2; sleep 2; echo one 3 >&2; sleep 1; echo one 4; touch /said;
      trap exit TERM; while :; do sleep 1 & wait; done']
    readinessProbe: {exec: {command: [cat, /said]}, periodSeconds: 1}
  - name: two
    image: busybox:1.36
    imagePullPolicy: Never
    command: [sh, -c, 'echo two 1; trap exit TERM; while :; do sleep 1 & wait; done']
---
apiVersion: v1
kind: Pod
metadata: {name: phoenix}
spec:
  nodeName: %[1]s
  terminationGracePeriodSeconds: 1
  containers:
  - name: phoenix
    image: busybox:1.36
    imagePullPolicy: Never
    command: [sh, -c, 'echo x >> /ashes/lives; n=$(wc -l < /ashes/lives); echo life $n begins;
      until [ -e /ashes/end$n ]; do sleep 0.2; done; echo life $n ends; exit 1']
    volumeMounts: [{name: ashes, mountPath: /ashes}]
  volumes: [{name: ashes, emptyDir: {}}]
---
apiVersion: v1
kind: Pod
metadata: {name: waiting}
spec:
  nodeName: %[1]s
  terminationGracePeriodSeconds: 1
  containers: [{name: app, image: "not-on-any-node:1", imagePullPolicy: Never}]
---
apiVersion: v1
kind: Pod
metadata: {name: refused}
spec:
  nodeName: %[1]s
  hostPID: true
  terminationGracePeriodSeconds: 1
  containers: [{name: app, image: "busybox:1.36", imagePullPolicy: Never}]
`, node)
}

// Logs are those of the remote kubelet, with all of kubectl's options, and errors
// contain local names only.
func TestLogs(t *testing.T) {
	e := shared
	e.StartAKD(t, env.ExampleNode)
	p := e.Pod(e.Namespace(t, "logs"), "talker")
	e.Apply(t, p.Namespace, logWriters(env.ExampleNode))
	e.WaitReady(t, p.Namespace, "talker", "phoenix")
	t.Run("Options", func(t *testing.T) { testLogOptions(t, p) })
	t.Run("Queries", func(t *testing.T) { testLogQueries(t, p) })
	t.Run("Follow", func(t *testing.T) { testFollow(t, e.Pod(p.Namespace, "phoenix")) })
	t.Run("Errors", func(t *testing.T) { testErrors(t, p) })
}

func testLogOptions(t *testing.T, p env.Pod) {
	const one = "one 1\none 2\none 3\none 4\n"
	stamp, _, _ := strings.Cut(p.Kubectl(t, "local", "logs", p.Name, "-n", p.Namespace, "-c", "one", "--timestamps", "--tail=1"), " ")
	cases := map[string]struct {
		reason string
		args   string
		want   string
	}{
		"All":         {"by default, the whole log is shown", "-c one", one},
		"Tail0":       {"zero lines are none, not all", "-c one --tail=0", ""},
		"Tail2":       {"lines of both outputs count", "-c one --tail=2", "one 3\none 4\n"},
		"LimitBytes":  {"the limit may cut a line", "-c one --limit-bytes=8", "one 1\non"},
		"Since":       {"everything was written in the last hour", "-c one --since=1h", one},
		"SinceTime":   {"only lines written since then", "-c one --since-time=" + stamp, "one 4\n"},
		"SinceFuture": {"nothing has been written since then", "-c one --since-time=2999-01-01T00:00:00Z", ""},
		"Init":        {"init containers have logs of their own", "-c zero", "zero 1\n"},
		"AllContainers": {
			"lines of each container, in any order",
			"--all-containers --prefix --tail=1",
			"[pod/talker/one] one 4\n[pod/talker/two] two 1\n[pod/talker/zero] zero 1\n",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"logs", p.Name}, strings.Fields(tc.args)...)
			got := p.Kubectl(t, "local", append(args, "-n", p.Namespace)...)
			if inOrder(got) != inOrder(tc.want) {
				t.Errorf("%s: %q, want %q", tc.reason, got, tc.want)
			}
			direct := p.Kubectl(t, "remote", append(args, "-n", contract.RemoteNamespace(env.ExampleNode, p.Namespace))...)
			if inOrder(got) != inOrder(direct) {
				t.Errorf("%q, but in the remote cluster %q", got, direct)
			}
		})
	}
}

// inOrder sorts the logs of containers, which kubectl reads concurrently.
func inOrder(log string) string {
	if !strings.HasPrefix(log, "[") {
		return log
	}
	lines := strings.Split(strings.TrimSpace(log), "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// Query parameters that kubectl does not send work, too, and timestamps are the
// remote kubelet's, to the nanosecond.
func testLogQueries(t *testing.T, p env.Pod) {
	for query, want := range map[string]string{
		"container=one&timestamps=true":                 `^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z one [1234]\n){4}$`,
		"container=one&timestamps=true&limitBytes=30":   `^\S{30}$`,
		"container=one&sinceSeconds=3600&tailLines=1":   `^one 4\n$`,
		"container=one&follow=false&previous=false":     `^one 1\none 2\none 3\none 4\n$`,
		"container=zero&timestamps=true&tailLines=1000": `^\S{30} zero 1\n$`,
	} {
		raw := func(side, namespace string) string {
			return p.Kubectl(t, side, "get", "--raw", "/api/v1/namespaces/"+namespace+"/pods/"+p.Name+"/log?"+query)
		}
		got := raw("local", p.Namespace)
		if !regexp.MustCompile(want).MatchString(got) {
			t.Errorf("log?%s: %q, want it to match %q", query, got, want)
		}
		if direct := raw("remote", contract.RemoteNamespace(env.ExampleNode, p.Namespace)); got != direct {
			t.Errorf("log?%s: %q, but in the remote cluster %q", query, got, direct)
		}
	}
}

// A followed log ends with its container, as it does on an actual node; the next
// container has a log of its own.
func testFollow(t *testing.T, p env.Pod) {
	remote := contract.RemoteNamespace(env.ExampleNode, p.Namespace)
	for life, restarts := range []int32{0, 1} {
		p.Eventually(t, fmt.Sprintf("the container has been restarted %d times and runs", restarts), func(pod *corev1.Pod) error {
			if status := pod.Status.ContainerStatuses[0]; status.RestartCount != restarts || status.State.Running == nil {
				return fmt.Errorf("%d restarts, %+v", status.RestartCount, status.State)
			}
			return nil
		})
		begins, ends := fmt.Sprintf("life %d begins\n", life+1), fmt.Sprintf("life %d ends\n", life+1)
		if restarts > 0 {
			if log := p.Kubectl(t, "local", "logs", "--previous", p.Name, "-n", p.Namespace); log != "life 1 begins\nlife 1 ends\n" {
				t.Errorf("the log before the restart: %q", log)
			}
		}
		follow := env.Start(t, p.KubectlCommand(t.Context(), "local", "logs", "-f", p.Name, "-n", p.Namespace))
		direct := env.Start(t, p.KubectlCommand(t.Context(), "remote", "logs", "-f", p.Name, "-n", remote))
		follow.Transcript.WaitFor(t, begins)
		direct.Transcript.WaitFor(t, begins)
		p.Kubectl(t, "local", "exec", "-n", p.Namespace, p.Name, "--", "touch", fmt.Sprintf("/ashes/end%d", life+1))
		for where, run := range map[string]*env.Process{"through akd": follow, "directly": direct} {
			if code := run.WaitExit(t); code != 0 || run.Transcript.String() != begins+ends {
				t.Errorf("kubectl logs -f %s, life %d: exit code %d, %q", where, life+1, code, &run.Transcript)
			}
		}
	}
}

// foreign matches names and addresses of the remote cluster, which users of the
// local cluster must not see.
var foreign = regexp.MustCompile(env.ExampleNode + `-[0-9a-f]{16}|172\.18\.|:6443|:10250|https://|remote-1`)

// Errors contain local names only.
func testErrors(t *testing.T, p env.Pod) {
	p.Name = "waiting"
	p.Eventually(t, "the remote kubelet has looked for the image", func(pod *corev1.Pod) error {
		for _, status := range pod.Status.ContainerStatuses {
			if waiting := status.State.Waiting; waiting != nil && waiting.Reason == "ErrImageNeverPull" {
				return nil
			}
		}
		return fmt.Errorf("%+v", pod.Status.ContainerStatuses)
	})
	const notCreated = `container "app" in pod "refused" is waiting to start: ` +
		"the pod has not been created in the remote cluster yet; its events say why"
	cases := map[string]struct {
		reason string
		args   string
		want   string
	}{
		"PodNotFound": {
			"the local API server knows its pods",
			"exec nobody -- true",
			`Error from server (NotFound): pods "nobody" not found`,
		},
		"UnknownContainer": {
			"and their containers",
			"logs talker -c nothing",
			"container nothing is not valid for pod talker",
		},
		"NoPrevious": {
			"the kubelet's own message",
			"logs --previous talker -c one",
			`Error from server (BadRequest): previous terminated container "one" in pod "talker" not found`,
		},
		"NoCommand": {
			"the container runtime's message",
			"exec talker -c one -- /not/there",
			`exec: "/not/there": stat /not/there: no such file or directory`,
		},
		"LogsWaiting": {
			"the kubelet's own message",
			"logs waiting",
			`Error from server (BadRequest): container "app" in pod "waiting" is waiting to start: ErrImageNeverPull`,
		},
		"ExecWaiting": {
			"there is no container to execute it in",
			"exec waiting -- true",
			`the remote cluster could not open a stream to pod "waiting": container not found ("app")`,
		},
		"AttachWaiting": {
			"the namespace in the kubelet's name of the pod is local",
			"attach waiting",
			"container app not found in pod waiting_" + p.Namespace,
		},
		"ForwardWaiting": {
			"kubectl itself reads the status",
			"port-forward pod/waiting :80",
			"unable to forward port because pod is not running. Current status=Pending",
		},
		"LogsRefused": {
			"the pod does not exist in the remote cluster, which must not read as if it did not exist at all",
			"logs refused",
			"Error from server (BadRequest): " + notCreated,
		},
		"ExecRefused": {
			"the same for a stream",
			"exec refused -- true",
			notCreated,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			fails(t, p, tc.reason, tc.want, strings.Fields(tc.args)...)
		})
	}
}

// fails checks that kubectl fails with a message that reveals nothing about the
// remote cluster.
func fails(t *testing.T, p env.Pod, reason, want string, args ...string) {
	t.Helper()
	args = slices.Insert(args, 1, "-n", p.Namespace)
	stdout, stderr, err := p.TryKubectl("local", nil, args...)
	if err == nil || !strings.Contains(stderr, want) {
		t.Errorf("%s: exit code %d, %q, want %q", reason, env.ExitCode(err), stderr, want)
	}
	if found := foreign.FindString(stdout + stderr); found != "" {
		t.Errorf("the user sees %q: %s%s", found, stdout, stderr)
	}
}

// If the remote cluster becomes unreachable without closing its connections,
// users get an error and do not wait forever.
func TestStreamsWhileRemoteIsAway(t *testing.T) {
	env.SkipUnlessSlow(t)
	e := shared
	e.StartAKD(t, env.ExampleNode)
	p := e.Pod(e.Namespace(t, "remote-away"), "talker")
	e.Apply(t, p.Namespace, logWriters(env.ExampleNode))
	e.WaitReady(t, p.Namespace, "talker")
	e.Kubectl(t, "local", "logs", p.Name, "-n", p.Namespace, "-c", "one")
	t.Cleanup(func() {
		if err := e.RestoreLink(); err != nil {
			t.Error(err)
		}
	})
	if err := e.CutLink(); err != nil {
		t.Fatal(err)
	}
	const want = `node "` + env.ExampleNode + `" cannot reach the remote cluster that runs pod "talker": retry in a few seconds`
	internal := "Error from server (InternalError): Internal error occurred: " + want
	fails(t, p, "a connection that was open may be dead", internal, "logs", p.Name, "-c", "one")
	fails(t, p, "a new connection must time out", want, "exec", p.Name, "-c", "one", "--", "true")
}
