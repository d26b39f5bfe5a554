//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

// With mirrored Services a pod finds those of its own cluster by the names and
// addresses that its cluster gave them.
func TestServices(t *testing.T) {
	e := shared
	e.AddServiceRange(t, env.LocalServices, env.ExampleNode)
	e.StartAKD(t, env.ExampleNode, "--services=mirror")
	servicesWork(t, e, env.ExampleNode)
}

// Likewise as users have it: install makes the range and the rights, and says
// what is in the way of another node; uninstall leaves no range behind.
func TestServicesInstalled(t *testing.T) {
	env.SkipUnlessSlow(t)
	e := shared
	const node = "mirroring"
	args := []string{"--remote-context=remote", "--image=" + e.AKDImage(t)}
	install := func(node string, more ...string) (string, string, int) {
		return e.Actual(t, append(append([]string{"install", node}, args...), more...)...)
	}
	out, stderr, code := install(node, "--services=mirror")
	t.Cleanup(func() { _, _, _ = e.Actual(t, "uninstall", node, "--remote-context=remote", "--force") })
	if code != 0 || !strings.Contains(stderr, "services: mirror 10.96.0.0/16, which may lead to 10.244.") {
		t.Fatalf("install: exit code %d\n%s%s", code, out, stderr)
	}
	if out, stderr, code = install(node); code != 0 || !strings.Contains(out, " 0 created, 0 changed,") {
		t.Errorf("install again, without a word of services: exit code %d\n%s%s", code, out, stderr)
	}
	t.Run("Services", func(t *testing.T) { servicesWork(t, e, node) })
	t.Run("DNSOnTheNode", func(t *testing.T) { runDNSOn(t, e, node) })
	t.Run("InTheWay", func(t *testing.T) {
		for address, want := range map[string]string{
			"":               "node mirroring mirrors services with addresses in 10.96.0.0/16 already (ServiceCIDR services.mirroring.actual.vk), and two local clusters",
			"10.97.128.0/17": "the local cluster's service range 10.97.128.0/17 overlaps the remote cluster's own, 10.97.0.0/16 (ServiceCIDR kubernetes): create one of the clusters with another",
			"10.245.0.0/20":  "the local cluster's service range 10.245.0.0/20 overlaps the remote cluster's pod ranges",
			"172.18.2.0/28":  "the local cluster's service range 172.18.2.0/28 has the address of a remote one (node remote-1, 172.18.2.11)",
		} {
			more := []string{"--dry-run=server"}
			if address != "" {
				more = append(more, "--service-cidr="+address)
			}
			_, stderr, code := install("another", append(more, "--services=mirror")...)
			if code != 1 || !strings.Contains(stderr, "services cannot be mirrored: "+want) {
				t.Errorf("range %q: exit code %d\n%s\nwant %q", address, code, stderr, want)
			}
			if _, stderr, code = install("another", more...); code != 0 || !strings.Contains(stderr, "services: none: "+want) {
				t.Errorf("range %q, unless it can be: exit code %d\n%s\nwant %q", address, code, stderr, want)
			}
		}
	})
	if out, stderr, code = e.Actual(t, "uninstall", node, "--remote-context=remote"); code != 0 {
		t.Fatalf("uninstall: exit code %d\n%s%s", code, out, stderr)
	}
	left, err := e.Remote.NetworkingV1().ServiceCIDRs().List(t.Context(), metav1.ListOptions{LabelSelector: contract.LabelNodeName})
	if err != nil || len(left.Items) > 0 {
		t.Errorf("service ranges after uninstall: %v, %v", left.Items, err)
	}
}

// servicesWork runs servers and a client, and has the client call.
func servicesWork(t *testing.T, e *env.Env, node string) {
	t.Helper()
	servers, clients := e.Namespace(t, "servers"), e.Namespace(t, "clients")
	e.Apply(t, servers, server(node))
	e.Apply(t, servers, env.LocalServer)
	e.Apply(t, clients, client(node))
	e.WaitRollout(t, servers, "statefulset/web")
	e.WaitReady(t, servers, "real")
	e.WaitReady(t, clients, "client", "in-cluster")
	here := e.Pod(clients, "client")
	service, err := e.Local.CoreV1().Services(servers).Get(t.Context(), "web", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}

	t.Run("Names", func(t *testing.T) {
		for _, name := range []string{"web." + servers, "web." + servers + ".svc", "web." + servers + ".svc.cluster.local", service.Spec.ClusterIP} {
			here.WaitAnswers(t, "http://"+name+"/hostname", "web-0", "web-1")
		}
		e.Pod(servers, "web-0").WaitAnswers(t, "http://web/hostname", "web-0", "web-1")
		here.WaitAnswers(t, "http://web-1.headless."+servers+":8080/hostname", "web-1")
		found := here.Shell(t, "nslookup headless."+servers+".svc.cluster.local")
		for _, name := range []string{"web-0", "web-1"} {
			server, err := e.Local.CoreV1().Pods(servers).Get(t.Context(), name, metav1.GetOptions{})
			if err != nil || !strings.Contains(found, server.Status.PodIP) {
				t.Errorf("the headless service has not %s: %v\n%s", name, err, found)
			}
		}
		here.WaitAnswers(t, "http://real."+servers+"/hostname", "real")
		e.Pod(servers, "real").WaitAnswers(t, "http://web/hostname", "web-0", "web-1") // the other way
	})
	t.Run("Readiness", func(t *testing.T) {
		other := e.Pod(servers, "web-1")
		other.Shell(t, "touch /tmp/unready")
		leadsTo(t, e, node, servers, "web", 1)
		here.WaitOnlyAnswer(t, "http://web."+servers+"/hostname", "web-0")
		other.Shell(t, "rm /tmp/unready")
		here.WaitAnswers(t, "http://web."+servers+"/hostname", "web-0", "web-1")
	})
	t.Run("Scale", func(t *testing.T) {
		e.Kubectl(t, "local", "scale", "statefulset/web", "-n", servers, "--replicas=1")
		leadsTo(t, e, node, servers, "web", 1)
		here.WaitOnlyAnswer(t, "http://web."+servers+"/hostname", "web-0")
	})
	t.Run("APIServer", func(t *testing.T) {
		environment := here.Shell(t, "echo $KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT; cat /etc/hosts /etc/resolv.conf")
		if !strings.HasPrefix(environment, "10.96.0.1:443\n") || strings.Contains(environment, "kubernetes.default") || !strings.Contains(environment, "search clients.svc.cluster.local svc.cluster.local cluster.local") {
			t.Errorf("environment, hosts and resolv.conf:\n%s", environment)
		}
		out := here.Shell(t, `D=/var/run/secrets/kubernetes.io/serviceaccount; curl -sS --cacert $D/ca.crt -H "Authorization: Bearer $(cat $D/token)" `+
			`https://kubernetes.default.svc/apis/authentication.k8s.io/v1/selfsubjectreviews -X POST -H 'Content-Type: application/json' -d '{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}'`)
		if !strings.Contains(out, "system:serviceaccount:clients:default") {
			t.Errorf("the local API server says: %s", out)
		}
		// client-go's own way in, by what every pod has.
		env.Eventually(t, "a program finds its cluster", func(context.Context) error {
			log := e.Kubectl(t, "local", "logs", "in-cluster", "-n", clients)
			if !strings.Contains(log, "calling /healthz") || !strings.Contains(log, "authz_header=") || strings.Contains(log, "status=failed") {
				return fmt.Errorf("it says:\n%s", log)
			}
			return nil
		})
	})
	t.Run("Gone", func(t *testing.T) {
		e.Kubectl(t, "local", "delete", "service", "web", "-n", servers)
		env.Eventually(t, "the remote service is gone", func(ctx context.Context) error {
			found, err := e.Remote.CoreV1().Services(contract.RemoteNamespace(node, servers)).Get(ctx, "web", metav1.GetOptions{})
			if apierrors.IsNotFound(err) {
				return nil
			}
			return fmt.Errorf("%v, %w", found, err)
		})
	})
}

// leadsTo waits until the remote copy of a Service leads to that many pods.
func leadsTo(t *testing.T, e *env.Env, node, namespace, service string, pods int) {
	t.Helper()
	env.Eventually(t, fmt.Sprintf("the remote service %s leads to %d pods", service, pods), func(ctx context.Context) error {
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
			return fmt.Errorf("it leads to %d: %v", ready, list.Items)
		}
		return nil
	})
}

// runDNSOn moves the local cluster's DNS onto a node, asks it, and moves it back.
func runDNSOn(t *testing.T, e *env.Env, node string) {
	t.Helper()
	t.Cleanup(func() {
		e.Kubectl(t, "local", "rollout", "undo", "deployment/coredns", "-n", "kube-system")
		e.WaitRollout(t, "kube-system", "deployment/coredns")
	})
	patch := fmt.Sprintf(`{"spec": {"template": {"spec": {"nodeSelector": {"kubernetes.io/hostname": %q, "actual.vk/infra": null}}}}}`, node)
	e.Kubectl(t, "local", "patch", "deployment/coredns", "-n", "kube-system", "--patch", patch)
	e.WaitRollout(t, "kube-system", "deployment/coredns")
	env.Eventually(t, "no other DNS server is left", func(ctx context.Context) error {
		pods, err := e.Local.CoreV1().Pods("kube-system").List(ctx, metav1.ListOptions{LabelSelector: "k8s-app=kube-dns"})
		if err != nil {
			return err
		}
		for i := range pods.Items {
			if pods.Items[i].Spec.NodeName != node {
				return fmt.Errorf("%s is on %s", pods.Items[i].Name, pods.Items[i].Spec.NodeName)
			}
		}
		return nil
	})
	namespace := e.Namespace(t, "resolving")
	e.Apply(t, namespace, server(node))
	e.Apply(t, namespace, env.LocalServer)
	e.WaitRollout(t, namespace, "statefulset/web")
	e.WaitReady(t, namespace, "real")
	e.Pod(namespace, "web-0").WaitAnswers(t, "http://real."+namespace+".svc.cluster.local/hostname", "real")
	e.Pod(namespace, "real").WaitAnswers(t, "http://web-1.headless:8080/hostname", "web-1")
}

// A thousand Services cost one write each, and another for their endpoints; a
// restart costs none.
func TestManyServices(t *testing.T) {
	env.SkipUnlessSlow(t)
	e := shared
	const services = 1000
	e.AddServiceRange(t, env.LocalServices, env.ExampleNode)
	d := e.StartAKD(t, env.ExampleNode, "--services=mirror")
	namespace := e.Namespace(t, "many")
	e.Apply(t, namespace, client(env.ExampleNode))
	e.WaitReady(t, namespace, "client")
	before := e.Requests(t)
	var group errgroup.Group
	group.SetLimit(16)
	for i := range services {
		group.Go(func() error {
			service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("web-%d", i)}}
			service.Spec.Selector, service.Spec.Ports = map[string]string{"app": service.Name}, []corev1.ServicePort{{Port: 80}}
			_, err := e.Local.CoreV1().Services(namespace).Create(t.Context(), service, metav1.CreateOptions{})
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	// Pods come and go meanwhile.
	e.Kubectl(t, "local", "delete", "pod", "client", "-n", namespace)
	e.Apply(t, namespace, client(env.ExampleNode))
	e.WaitReady(t, namespace, "client")
	remote := contract.RemoteNamespace(env.ExampleNode, namespace)
	env.Eventually(t, "all services have copies", func(ctx context.Context) error {
		copies, err := e.Remote.CoreV1().Services(remote).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		slices, err := e.Remote.DiscoveryV1().EndpointSlices(remote).List(ctx, metav1.ListOptions{})
		if err == nil && len(copies.Items)+len(slices.Items) != 2*services {
			return fmt.Errorf("%d services and %d slices", len(copies.Items), len(slices.Items))
		}
		return err
	})
	cost := e.Requests(t).Since(before)
	t.Logf("requests for %d services: %v", services, cost)
	cost.AtMost(t, map[string]int{
		"remote create services": services, "remote update services": 0, "remote delete services": 0,
		"remote create endpointslices": services, "remote update endpointslices": 10, "remote delete endpointslices": 0,
	})
	restartsQuietly(t, e, d)
}

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
