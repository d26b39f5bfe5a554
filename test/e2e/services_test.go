//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

// With mirrored Services, pods reach those of their own cluster by the names and
// addresses that they have tpod.
func TestServices(t *testing.T) {
	e := shared
	e.AddServiceRange(t, env.LocalServices, env.ExampleNode)
	e.StartAKD(t, env.ExampleNode, "--services=mirror")
	testServices(t, e, env.ExampleNode, env.ExampleNode)
}

// testServices runs servers on a node, and a client that requests them by the copies of the
// Services that a node mirrors.
func testServices(t *testing.T, e *env.Env, node, mirror string) {
	t.Helper()
	servers, clients := e.Namespace(t, "servers"), e.Namespace(t, "clients")
	e.Apply(t, servers, server(node))
	e.Apply(t, servers, env.LocalServer)
	e.Apply(t, clients, client(node))
	e.WaitRollout(t, servers, "statefulset/web")
	e.WaitReady(t, servers, "real")
	e.WaitReady(t, clients, "client", "in-cluster")
	pod := e.Pod(clients, "client")
	service, err := e.Local.CoreV1().Services(servers).Get(t.Context(), "web", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}

	t.Run("Names", func(t *testing.T) {
		short := "web." + servers
		for _, name := range []string{short, short + ".svc", short + ".svc.cluster.local", service.Spec.ClusterIP} {
			pod.WaitAnswers(t, "http://"+name+"/hostname", "web-0", "web-1")
		}
		e.Pod(servers, "web-0").WaitAnswers(t, "http://web/hostname", "web-0", "web-1")
		pod.WaitAnswers(t, "http://web-1.headless."+servers+":8080/hostname", "web-1")
		found := pod.Shell(t, "nslookup headless."+servers+".svc.cluster.local")
		for _, name := range []string{"web-0", "web-1"} {
			server, err := e.Local.CoreV1().Pods(servers).Get(t.Context(), name, metav1.GetOptions{})
			if err != nil || !strings.Contains(found, server.Status.PodIP) {
				t.Errorf("the headless service does not resolve to %s: %v\n%s", name, err, found)
			}
		}
		pod.WaitAnswers(t, "http://real."+servers+"/hostname", "real")
		e.Pod(servers, "real").WaitAnswers(t, "http://web/hostname", "web-0", "web-1") // in the other direction
	})
	t.Run("Readiness", func(t *testing.T) {
		other := e.Pod(servers, "web-1")
		other.Shell(t, "touch /tmp/unready")
		waitEndpoints(t, e, mirror, servers, "web", 1)
		pod.WaitOnlyAnswer(t, "http://web."+servers+"/hostname", "web-0")
		other.Shell(t, "rm /tmp/unready")
		pod.WaitAnswers(t, "http://web."+servers+"/hostname", "web-0", "web-1")
	})
	t.Run("Scale", func(t *testing.T) {
		e.Kubectl(t, "local", "scale", "statefulset/web", "-n", servers, "--replicas=1")
		waitEndpoints(t, e, mirror, servers, "web", 1)
		pod.WaitOnlyAnswer(t, "http://web."+servers+"/hostname", "web-0")
	})
	t.Run("APIServer", func(t *testing.T) {
		environment := pod.Shell(t, "echo $KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT; cat /etc/hosts /etc/resolv.conf")
		if !strings.HasPrefix(environment, "10.96.0.1:443\n") || strings.Contains(environment, "kubernetes.default") ||
			!strings.Contains(environment, "search clients.svc.cluster.local svc.cluster.local cluster.local") {
			t.Errorf("environment, hosts and resolv.conf:\n%s", environment)
		}
		out := pod.Shell(t, `D=/var/run/secrets/kubernetes.io/serviceaccount;`+
			` curl -sS --cacert $D/ca.crt -H "Authorization: Bearer $(cat $D/token)" -H 'Content-Type: application/json'`+
			` -X POST https://kubernetes.default.svc/apis/authentication.k8s.io/v1/selfsubjectreviews`+
			` -d '{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}'`)
		if !strings.Contains(out, "system:serviceaccount:clients:default") {
			t.Errorf("the local API server answers: %s", out)
		}
		// client-go's in-cluster configuration.
		env.Eventually(t, "a program reaches its cluster", func(context.Context) error {
			log := e.Kubectl(t, "local", "logs", "in-cluster", "-n", clients)
			called := strings.Contains(log, "calling /healthz") && strings.Contains(log, "authz_header=")
			if !called || strings.Contains(log, "status=failed") {
				return fmt.Errorf("its log:\n%s", log)
			}
			return nil
		})
	})
	t.Run("Gone", func(t *testing.T) {
		e.Kubectl(t, "local", "delete", "service", "web", "-n", servers)
		env.Eventually(t, "the remote service is gone", func(ctx context.Context) error {
			found, err := e.Remote.CoreV1().Services(contract.RemoteNamespace(mirror, servers)).Get(ctx, "web", metav1.GetOptions{})
			if apierrors.IsNotFound(err) {
				return nil
			}
			return fmt.Errorf("%v, %w", found, err)
		})
	})
}

// waitEndpoints waits until the remote copy of a Service has that many ready
// endpoints.
func waitEndpoints(t *testing.T, e *env.Env, node, namespace, service string, pods int) {
	t.Helper()
	env.Eventually(t, fmt.Sprintf("the remote service %s has %d endpoints", service, pods), func(ctx context.Context) error {
		list, err := e.Remote.DiscoveryV1().EndpointSlices(contract.RemoteNamespace(node, namespace)).
			List(ctx, metav1.ListOptions{LabelSelector: "kubernetes.io/service-name=" + service})
		if err != nil {
			return err
		}
		ready := 0
		for i := range list.Items {
			for _, endpoint := range list.Items[i].Endpoints {
				if endpoint.Conditions.Ready == nil || *endpoint.Conditions.Ready {
					ready++
				}
			}
		}
		if ready != pods {
			return fmt.Errorf("it has %d: %v", ready, list.Items)
		}
		return nil
	})
}

// server is a StatefulSet of two web servers with a Service and a headless one;
// a file makes one of them unready.
func server(node string) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: headless}
spec: {clusterIP: None, selector: {app: web}, ports: [{port: 8080}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: web}
spec:
  serviceName: headless
  replicas: 2
  podManagementPolicy: Parallel
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      nodeSelector: {kubernetes.io/hostname: %s}
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        image: agnhost:stable
        imagePullPolicy: Never
        args: [netexec]
        readinessProbe: {periodSeconds: 1, exec: {command: [test, "!", -e, /tmp/unready]}}
`, node)
}

// client is a pod with curl, and one that calls the API server all the time.
func client(node string) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  nodeSelector: {kubernetes.io/hostname: %[1]s}
  terminationGracePeriodSeconds: 1
  containers:
  - {name: main, image: agnhost:stable, imagePullPolicy: Never, args: [pause]}
---
apiVersion: v1
kind: Pod
metadata: {name: in-cluster}
spec:
  nodeSelector: {kubernetes.io/hostname: %[1]s}
  terminationGracePeriodSeconds: 1
  containers:
  - {name: main, image: agnhost:stable, imagePullPolicy: Never, args: [inclusterclient, --poll-interval=1]}
`, node)
}
