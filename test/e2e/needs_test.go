//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

// builder is a service account that may edit its namespace.
const builder = `
apiVersion: v1
kind: ServiceAccount
metadata: {name: builder}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: builder}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: edit}
subjects: [{kind: ServiceAccount, name: builder}]
`

// A client in a pod that uses its in-cluster config and nothing of AK's reaches
// and verifies the local API server, and has the identity and the rights of its
// local service account, with a renewed token, too.
func TestInClusterClient(t *testing.T) {
	e := shared
	akd := e.StartAKD(t, env.ExampleNode)
	namespace := e.Namespace(t, "in-cluster-client")
	e.Apply(t, namespace, builder)
	e.Apply(t, namespace, fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  nodeName: %s
  serviceAccountName: builder
  terminationGracePeriodSeconds: 1
  containers:
  - name: client
    image: kubectl:stable
    imagePullPolicy: Never
    command: [sh, -c, 'trap exit TERM; while :; do sleep 1 & wait; done']
    env:
    - {name: NAMESPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
    - {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
`, env.ExampleNode))
	e.WaitReady(t, namespace, "client")
	in := func(command string) string {
		return strings.TrimSpace(e.Pod(namespace, "client").Shell(t, command))
	}
	for command, want := range map[string]string{
		"kubectl auth whoami -o jsonpath={.status.userInfo.username}": "system:serviceaccount:" + namespace + ":builder",
		"kubectl get pods -o jsonpath={.items[*].metadata.name}":      "client",
		"kubectl create configmap made-in-the-pod -o name":            "configmap/made-in-the-pod",
		"cat /var/run/secrets/kubernetes.io/serviceaccount/namespace": namespace,
		"echo $NAMESPACE $NODE":                                       namespace + " " + env.ExampleNode,
		// By name, verified with the CA that the pod has.
		"cd /var/run/secrets/kubernetes.io/serviceaccount; kubectl --server https://kubernetes.default.svc:$KUBERNETES_SERVICE_PORT" +
			" --certificate-authority ca.crt --token $(cat token) get --raw /readyz": "ok",
	} {
		if got := in(command); got != want {
			t.Errorf("%s: %q, want %q", command, got, want)
		}
	}
	e.Kubectl(t, "local", "get", "configmap", "made-in-the-pod", "-n", namespace)

	// A token that is due, here because its annotation says so, is renewed, and
	// the container's file follows without a restart.
	const token = "cat /var/run/secrets/kubernetes.io/serviceaccount/token"
	before := in(token)
	makeTokenDue(t, e, namespace, "client")
	env.Eventually(t, "the token in the container is renewed", func(context.Context) error {
		out, _, err := e.TryKubectl("local", nil, "exec", "-n", namespace, "client", "--", "sh", "-c", token)
		if err == nil && strings.TrimSpace(out) == before {
			err = errors.New("it is the old one")
		}
		return err
	})
	user := "system:serviceaccount:" + namespace + ":builder"
	if got := in("kubectl auth whoami -o jsonpath={.status.userInfo.username}"); got != user {
		t.Errorf("whoami with the renewed token: %q, want %q", got, user)
	}
	if restarts := e.Pods(t, namespace)[0].Status.ContainerStatuses[0].RestartCount; restarts != 0 {
		t.Errorf("the container restarted %d times", restarts)
	}

	// A token that became due while akd was down is renewed when it is back.
	akd.Stop(t, syscall.SIGTERM)
	stale := makeTokenDue(t, e, namespace, "client")
	akd.Start(t)
	env.Eventually(t, "the token that was due is renewed", func(ctx context.Context) error {
		secret, err := e.Remote.CoreV1().Secrets(stale.Namespace).Get(ctx, stale.Name, metav1.GetOptions{})
		if err == nil && reflect.DeepEqual(secret.Data, stale.Data) {
			err = errors.New("it is the old one")
		}
		return err
	})
}

// A Job's pod works in the local cluster with nothing but what every pod has, and
// its log can be read after its end.
func TestJobInTheLocalCluster(t *testing.T) {
	e := shared
	e.StartAKD(t, env.ExampleNode)
	namespace := e.Namespace(t, "job")
	e.Apply(t, namespace, builder)
	e.Apply(t, namespace, fmt.Sprintf(`
apiVersion: batch/v1
kind: Job
metadata: {name: build}
spec:
  backoffLimit: 0
  template:
    spec:
      nodeSelector: {kubernetes.io/hostname: %s}
      serviceAccountName: builder
      restartPolicy: Never
      containers:
      - name: build
        image: kubectl:stable
        imagePullPolicy: Never
        command: [sh, -ec, 'kubectl auth whoami -o jsonpath={.status.userInfo.username};
          kubectl create secret generic built --from-literal=by=$HOSTNAME; kubectl get pods -o name']
`, env.ExampleNode))
	e.Kubectl(t, "local", "wait", "--for=condition=Complete", "job/build", "-n", namespace, "--timeout=3m")
	built, err := e.Local.CoreV1().Secrets(namespace).Get(t.Context(), "built", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	by := string(built.Data["by"])
	want := "system:serviceaccount:" + namespace + ":buildersecret/built created\npod/" + by + "\n"
	if log := e.Kubectl(t, "local", "logs", "job/build", "-n", namespace); log != want {
		t.Errorf("the Job's log is %q, want %q", log, want)
	}
}

// A token with the shortest lifetime that the API allows expires after ten
// minutes and is renewed after eight: the file in the container changes by itself
// and contains a valid token after the first one has expired.
func TestTokenOutlivesItself(t *testing.T) {
	env.SkipUnlessSlow(t)
	t.Parallel() // with other slow tests, so it has a node and a port of its own
	e := shared
	const node = "patient"
	e.StartAKD(t, node, "--kubelet-api-port", "10252", "--metrics-address", "")
	namespace := e.Namespace(t, "short-token")
	e.Apply(t, namespace, builder)
	e.Apply(t, namespace, fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  nodeName: %s
  serviceAccountName: builder
  terminationGracePeriodSeconds: 1
  containers:
  - name: client
    image: kubectl:stable
    imagePullPolicy: Never
    command: [sh, -c, 'trap exit TERM; while :; do sleep 1 & wait; done']
    volumeMounts: [{name: token, mountPath: /token}]
  volumes: [{name: token, projected: {sources: [{serviceAccountToken: {path: token, expirationSeconds: 600}}]}}]
`, node))
	e.WaitReady(t, namespace, "client")
	in := func(command string) (string, error) {
		out, stderr, err := e.TryKubectl("local", nil, "exec", "-n", namespace, "client", "--", "sh", "-c", command)
		return out + stderr, err
	}
	first, err := in("cat /token/token")
	if err != nil {
		t.Fatal(err)
	}
	const whoami = "kubectl auth whoami --token %s -o jsonpath={.status.userInfo.username}"
	env.Within(t, 15*time.Minute, "the first token has expired", func(context.Context) error {
		out, _ := in(fmt.Sprintf(whoami, first))
		if !strings.Contains(out, "Unauthorized") {
			return fmt.Errorf("it is the token of %s", out)
		}
		return nil
	})
	who, err := in(fmt.Sprintf(whoami, "$(cat /token/token)"))
	if want := "system:serviceaccount:" + namespace + ":builder"; err != nil || who != want {
		t.Errorf("the token in the file is that of %q (%v), want %q", who, err, want)
	}
}

// makeTokenDue backdates a pod's token Secret, which it returns, and changes the
// pod so that akd reconciles it.
func makeTokenDue(t *testing.T, e *env.Env, namespace, name string) *corev1.Secret {
	t.Helper()
	pod, err := e.Local.CoreV1().Pods(namespace).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	due := time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, contract.AnnotationRenewAfter, due)
	secret, err := e.Remote.CoreV1().Secrets(contract.RemoteNamespace(env.ExampleNode, namespace)).
		Patch(t.Context(), contract.TokenSecretName(pod.UID), types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	e.Kubectl(t, "local", "annotate", "pod", name, "-n", namespace, "--overwrite", "example.com/changed="+secret.ResourceVersion)
	return secret
}

// Mounted files follow their source, and what a pod waits for may be created later.
func TestNeedsFollow(t *testing.T) {
	e := shared
	e.StartAKD(t, env.ExampleNode)
	namespace := e.Namespace(t, "needs-follow")
	e.Apply(t, namespace, fmt.Sprintf(`
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {color: blue}
---
apiVersion: v1
kind: Pod
metadata: {name: reader}
spec:
  nodeName: %[1]s
  terminationGracePeriodSeconds: 1
  containers:
  - name: reader
    image: busybox:1.36
    command: [sh, -c, 'trap exit TERM; while :; do sleep 1 & wait; done']
    volumeMounts: [{name: settings, mountPath: /settings}, {name: late, mountPath: /late}]
  volumes:
  - {name: settings, configMap: {name: settings}}
  - {name: late, secret: {secretName: optional, optional: true}}
---
apiVersion: v1
kind: Pod
metadata: {name: waiter}
spec:
  nodeName: %[1]s
  terminationGracePeriodSeconds: 1
  containers:
  - name: waiter
    image: busybox:1.36
    command: [sh, -c, 'echo $PASSWORD; trap exit TERM; while :; do sleep 1 & wait; done']
    envFrom: [{secretRef: {name: password}}]
`, env.ExampleNode))
	e.WaitReady(t, namespace, "reader")
	env.Eventually(t, "the local pod has the remote kubelet's reason", func(ctx context.Context) error {
		pod, err := e.Local.CoreV1().Pods(namespace).Get(ctx, "waiter", metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, status := range pod.Status.ContainerStatuses {
			if waiting := status.State.Waiting; waiting != nil && waiting.Reason == "CreateContainerConfigError" {
				return nil
			}
		}
		return errors.New("no CreateContainerConfigError yet")
	})
	e.Kubectl(t, "local", "create", "secret", "generic", "password", "-n", namespace, "--from-literal=PASSWORD=hunter2")
	e.Kubectl(t, "local", "create", "secret", "generic", "optional", "-n", namespace, "--from-literal=file=came late")
	e.Kubectl(t, "local", "patch", "configmap", "settings", "-n", namespace, "-p", `{"data":{"color":"green"}}`)
	e.WaitReady(t, namespace, "waiter")
	if log := e.Kubectl(t, "local", "logs", "waiter", "-n", namespace); log != "hunter2\n" {
		t.Errorf("the value of the late Secret in the container: %q", log)
	}
	env.Eventually(t, "the mounted files follow", func(context.Context) error {
		out, _, err := e.TryKubectl("local", nil, "exec", "-n", namespace, "reader", "--", "sh", "-c", "cat /settings/color /late/file")
		if err == nil && out != "greencame late" {
			err = fmt.Errorf("the files contain %q", out)
		}
		return err
	})
}

// If somebody deletes the remote pod, the status of the local pod says so, and
// the Deployment replaces it.
func TestRemotePodDeletedByHand(t *testing.T) {
	e := shared
	e.StartAKD(t, env.ExampleNode)
	namespace := e.Namespace(t, "deleted-by-hand")
	e.Apply(t, namespace, env.Web(env.ExampleNode, 1))
	e.WaitRollout(t, namespace, "deployment/web")
	deleted := e.Pods(t, namespace)[0]
	e.Kubectl(t, "remote", "delete", "pod", deleted.Name, "-n", contract.RemoteNamespace(env.ExampleNode, namespace), "--wait=false")

	env.Eventually(t, "the local pod has failed with reason RemotePodDeleted", func(ctx context.Context) error {
		pod, err := e.Local.CoreV1().Pods(namespace).Get(ctx, deleted.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, condition := range pod.Status.Conditions {
			told := condition.Type == corev1.DisruptionTarget && condition.Reason == translate.ReasonRemotePodDeleted
			if told && pod.Status.Phase == corev1.PodFailed {
				return nil
			}
		}
		return fmt.Errorf("phase %s, reason %q", pod.Status.Phase, pod.Status.Reason)
	})
	e.WaitRollout(t, namespace, "deployment/web")
}
