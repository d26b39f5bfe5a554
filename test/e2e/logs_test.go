//go:build e2e

package e2e

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

// logWriters are a pod that has said all it will say, one whose container says
// when it begins and ends another life, one that waits for ever, and one that
// the remote cluster does not take.
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
    command: [sh, -c, 'echo one 1; echo one 2; sleep 2; echo one 3 >&2; sleep 1; echo one 4; touch /said; trap exit TERM; while :; do sleep 1 & wait; done']
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
    command: [sh, -c, 'echo x >> /ashes/lives; n=$(wc -l < /ashes/lives); echo life $n begins; until [ -e /ashes/end$n ]; do sleep 0.2; done; echo life $n ends; exit 1']
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

// Logs are what the remote kubelet says, whichever part of them is wanted, and
// what goes wrong is told in local names.
func TestLogs(t *testing.T) {
	b := shared
	b.startAKD(t, exampleNode)
	p := pod{b, b.namespace(t, "logs"), "talker"}
	b.apply(t, p.namespace, logWriters(exampleNode))
	b.kubectl(t, "local", "wait", "--for=condition=Ready", "pod/talker", "pod/phoenix", "-n", p.namespace, "--timeout=3m")
	t.Run("Options", func(t *testing.T) { testLogOptions(t, p) })
	t.Run("Queries", func(t *testing.T) { testLogQueries(t, p) })
	t.Run("Follow", func(t *testing.T) { testFollow(t, pod{b, p.namespace, "phoenix"}) })
	t.Run("Sentences", func(t *testing.T) { testSentences(t, p) })
}

func testLogOptions(t *testing.T, p pod) {
	const one = "one 1\none 2\none 3\none 4\n"
	stamp, _, _ := strings.Cut(p.kubectl(t, "local", "logs", p.name, "-n", p.namespace, "-c", "one", "--timestamps", "--tail=1"), " ")
	cases := map[string]struct {
		reason string
		args   string
		want   string
	}{
		"All":           {"without options everything is shown", "-c one", one},
		"Tail0":         {"zero lines are none, not all", "-c one --tail=0", ""},
		"Tail2":         {"the last lines are counted over both outputs", "-c one --tail=2", "one 3\none 4\n"},
		"LimitBytes":    {"a line may be cut", "-c one --limit-bytes=8", "one 1\non"},
		"Since":         {"an hour ago nothing had been said yet", "-c one --since=1h", one},
		"SinceTime":     {"only what came since", "-c one --since-time=" + stamp, "one 4\n"},
		"SinceFuture":   {"nothing has been said since tomorrow", "-c one --since-time=2999-01-01T00:00:00Z", ""},
		"Init":          {"init containers have logs of their own", "-c zero", "zero 1\n"},
		"AllContainers": {"of each container, in any order", "--all-containers --prefix --tail=1", "[pod/talker/one] one 4\n[pod/talker/two] two 1\n[pod/talker/zero] zero 1\n"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"logs", p.name}, strings.Fields(tc.args)...)
			got := p.kubectl(t, "local", append(args, "-n", p.namespace)...)
			if inOrder(got) != inOrder(tc.want) {
				t.Errorf("%s: %q, want %q", tc.reason, got, tc.want)
			}
			direct := p.kubectl(t, "remote", append(args, "-n", translate.RemoteNamespace(exampleNode, p.namespace))...)
			if inOrder(got) != inOrder(direct) {
				t.Errorf("%q, but the remote cluster itself says %q", got, direct)
			}
		})
	}
}

// inOrder sorts the containers' logs, which kubectl reads all at a time.
func inOrder(log string) string {
	if !strings.HasPrefix(log, "[") {
		return log
	}
	lines := strings.Split(strings.TrimSpace(log), "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// Timestamps are the remote's, to the nanosecond.
func testLogQueries(t *testing.T, p pod) {
	for query, want := range map[string]string{
		"container=one&timestamps=true":                 `^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z one [1234]\n){4}$`,
		"container=one&timestamps=true&limitBytes=30":   `^\S{30}$`,
		"container=one&sinceSeconds=3600&tailLines=1":   `^one 4\n$`,
		"container=one&follow=false&previous=false":     `^one 1\none 2\none 3\none 4\n$`,
		"container=zero&timestamps=true&tailLines=1000": `^\S{30} zero 1\n$`,
	} {
		raw := func(side, namespace string) string {
			return p.kubectl(t, side, "get", "--raw", "/api/v1/namespaces/"+namespace+"/pods/"+p.name+"/log?"+query)
		}
		got := raw("local", p.namespace)
		if !regexp.MustCompile(want).MatchString(got) {
			t.Errorf("log?%s: %q, want it to match %q", query, got, want)
		}
		if direct := raw("remote", translate.RemoteNamespace(exampleNode, p.namespace)); got != direct {
			t.Errorf("log?%s: %q, but the remote cluster itself says %q", query, got, direct)
		}
	}
}

// A followed log ends with its container, as it does on an actual node, and
// the next one's is another.
func testFollow(t *testing.T, p pod) {
	remote := translate.RemoteNamespace(exampleNode, p.namespace)
	for life, restarts := range []int32{0, 1} {
		p.until(t, fmt.Sprintf("it has been restarted %d times and runs", restarts), func(pod *corev1.Pod) error {
			if status := pod.Status.ContainerStatuses[0]; status.RestartCount != restarts || status.State.Running == nil {
				return fmt.Errorf("%d restarts, %+v", status.RestartCount, status.State)
			}
			return nil
		})
		begins, ends := fmt.Sprintf("life %d begins\n", life+1), fmt.Sprintf("life %d ends\n", life+1)
		if restarts > 0 {
			if log := p.kubectl(t, "local", "logs", "--previous", p.name, "-n", p.namespace); log != "life 1 begins\nlife 1 ends\n" {
				t.Errorf("the log of the life before: %q", log)
			}
		}
		follow := begin(t, p.kubectlCommand(t.Context(), "local", "logs", "-f", p.name, "-n", p.namespace))
		direct := begin(t, p.kubectlCommand(t.Context(), "remote", "logs", "-f", p.name, "-n", remote))
		follow.output.says(t, begins)
		direct.output.says(t, begins)
		p.kubectl(t, "local", "exec", "-n", p.namespace, p.name, "--", "touch", fmt.Sprintf("/ashes/end%d", life+1))
		for where, run := range map[string]*process{"through akd": follow, "directly": direct} {
			if code := run.ends(t); code != 0 || run.output.String() != begins+ends {
				t.Errorf("followed %s, the log of life %d ended with %d: %q", where, life+1, code, &run.output)
			}
		}
	}
}

// foreign is what a user of the local cluster has no business with.
var foreign = regexp.MustCompile(exampleNode + `-[0-9a-f]{16}|172\.18\.|:6443|:10250|https://|remote-1`)

// What a person is told of an error is in local names.
func testSentences(t *testing.T, p pod) {
	p.name = "waiting"
	p.until(t, "the remote kubelet has looked at the image", func(pod *corev1.Pod) error {
		for _, status := range pod.Status.ContainerStatuses {
			if waiting := status.State.Waiting; waiting != nil && waiting.Reason == "ErrImageNeverPull" {
				return nil
			}
		}
		return fmt.Errorf("%+v", pod.Status.ContainerStatuses)
	})
	cases := map[string]struct {
		reason string
		args   string
		want   string
	}{
		"PodNotFound":      {"the local API server knows its pods", "exec nobody -- true", `Error from server (NotFound): pods "nobody" not found`},
		"UnknownContainer": {"and their containers", "logs talker -c nothing", "container nothing is not valid for pod talker"},
		"NoPrevious":       {"a kubelet's own words", "logs --previous talker -c one", `Error from server (BadRequest): previous terminated container "one" in pod "talker" not found`},
		"NoCommand":        {"a container runtime's words", "exec talker -c one -- /not/there", `exec: "/not/there": stat /not/there: no such file or directory`},
		"LogsWaiting":      {"a kubelet's own words", "logs waiting", `Error from server (BadRequest): container "app" in pod "waiting" is waiting to start: ErrImageNeverPull`},
		"ExecWaiting":      {"nothing runs to execute it in", "exec waiting -- true", `the remote cluster could not open a stream to pod "waiting": container not found ("app")`},
		"AttachWaiting":    {"the namespace in a kubelet's name of the pod is local", "attach waiting", "container app not found in pod waiting_" + p.namespace},
		"ForwardWaiting":   {"kubectl itself looks at the status", "port-forward pod/waiting :80", "unable to forward port because pod is not running. Current status=Pending"},
		"LogsRefused":      {"the remote cluster has no such pod, which is no news to the user", "logs refused", `Error from server (BadRequest): container "app" in pod "refused" is waiting to start: the pod has not been created in the remote cluster yet; its events say why`},
		"ExecRefused":      {"the same of a stream", "exec refused -- true", `container "app" in pod "refused" is waiting to start: the pod has not been created in the remote cluster yet; its events say why`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			p.fails(t, tc.reason, tc.want, strings.Fields(tc.args)...)
		})
	}
}

// fails checks that kubectl fails with a sentence that tells nothing of the
// remote cluster.
func (p pod) fails(t *testing.T, reason, want string, args ...string) {
	t.Helper()
	args = slices.Insert(args, 1, "-n", p.namespace)
	stdout, stderr, err := p.tryKubectl("local", nil, args...)
	if err == nil || !strings.Contains(stderr, want) {
		t.Errorf("%s: it exits with %d and says %q, want %q", reason, exitCode(err), stderr, want)
	}
	if found := foreign.FindString(stdout + stderr); found != "" {
		t.Errorf("%q is told to the user: %s%s", found, stdout, stderr)
	}
}

// The remote cluster vanishes without a word: who asks is told, though a
// connection to it was open.
func TestStreamsWhileRemoteIsAway(t *testing.T) {
	slow(t)
	b := shared
	b.startAKD(t, exampleNode)
	p := pod{b, b.namespace(t, "remote-away"), "talker"}
	b.apply(t, p.namespace, logWriters(exampleNode))
	b.kubectl(t, "local", "wait", "--for=condition=Ready", "pod/talker", "-n", p.namespace, "--timeout=3m")
	b.kubectl(t, "local", "logs", p.name, "-n", p.namespace, "-c", "one")
	t.Cleanup(func() {
		if err := b.command("link", "--restore").Run(); err != nil {
			t.Error(err)
		}
	})
	if err := b.command("link", "--cut").Run(); err != nil {
		t.Fatal(err)
	}
	const want = `node "` + exampleNode + `" cannot reach the remote cluster that runs pod "talker": retry in a few seconds`
	p.fails(t, "a connection that was open must not be trusted", "Error from server (InternalError): Internal error occurred: "+want, "logs", p.name, "-c", "one")
	p.fails(t, "a new one must be given up", want, "exec", p.name, "-c", "one", "--", "true")
}
