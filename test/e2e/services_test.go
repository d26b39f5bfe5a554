//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

// localServices is the local clusters' range of service addresses; see
// test/clusters.
const localServices = "10.96.0.0/16"

// With mirrored Services a pod finds those of its own cluster by the names and
// addresses that its cluster gave them.
func TestServices(t *testing.T) {
	b := shared
	b.serviceRange(t, localServices, exampleNode)
	b.startAKD(t, exampleNode, "--services=mirror")
	b.servicesWork(t, exampleNode)
}

// Likewise as users have it: install makes the range and the rights, and says
// what is in the way of another node; uninstall leaves no range behind.
func TestServicesInstalled(t *testing.T) {
	slow(t)
	b := shared
	const node = "mirroring"
	args := []string{"--remote-context=remote", "--image=" + b.akdImage(t)}
	install := func(node string, more ...string) (string, string, int) {
		return b.actual(t, append(append([]string{"install", node}, args...), more...)...)
	}
	out, stderr, code := install(node, "--services=mirror")
	t.Cleanup(func() { _, _, _ = b.actual(t, "uninstall", node, "--remote-context=remote", "--force") })
	if code != 0 || !strings.Contains(stderr, "services: mirror 10.96.0.0/16, which may lead to 10.244.") {
		t.Fatalf("install: exit code %d\n%s%s", code, out, stderr)
	}
	if out, stderr, code = install(node); code != 0 || !strings.Contains(out, " 0 created, 0 changed,") {
		t.Errorf("install again, without a word of services: exit code %d\n%s%s", code, out, stderr)
	}
	t.Run("Services", func(t *testing.T) { b.servicesWork(t, node) })
	t.Run("DNSOnTheNode", func(t *testing.T) { b.runDNSOn(t, node) })
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
	if out, stderr, code = b.actual(t, "uninstall", node, "--remote-context=remote"); code != 0 {
		t.Fatalf("uninstall: exit code %d\n%s%s", code, out, stderr)
	}
	left, err := b.remote.NetworkingV1().ServiceCIDRs().List(t.Context(), metav1.ListOptions{LabelSelector: translate.LabelNodeName})
	if err != nil || len(left.Items) > 0 {
		t.Errorf("service ranges after uninstall: %v, %v", left.Items, err)
	}
}

// servicesWork runs servers and a client, and has the client call.
func (b *bed) servicesWork(t *testing.T, node string) {
	t.Helper()
	servers, clients := b.namespace(t, "servers"), b.namespace(t, "clients")
	b.apply(t, servers, server(node))
	b.apply(t, servers, onRealNode)
	b.apply(t, clients, client(node))
	b.kubectl(t, "local", "rollout", "status", "statefulset/web", "-n", servers, "--timeout=3m")
	b.kubectl(t, "local", "wait", "--for=condition=Ready", "pod/real", "-n", servers, "--timeout=3m")
	b.kubectl(t, "local", "wait", "--for=condition=Ready", "pod/client", "pod/in-cluster", "-n", clients, "--timeout=3m")
	here := pod{b, clients, "client"}
	service, err := b.local.CoreV1().Services(servers).Get(t.Context(), "web", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}

	t.Run("Names", func(t *testing.T) {
		for _, name := range []string{"web." + servers, "web." + servers + ".svc", "web." + servers + ".svc.cluster.local", service.Spec.ClusterIP} {
			here.asks(t, "http://"+name+"/hostname", "web-0", "web-1")
		}
		pod{b, servers, "web-0"}.asks(t, "http://web/hostname", "web-0", "web-1")
		here.asks(t, "http://web-1.headless."+servers+":8080/hostname", "web-1")
		found := here.sh(t, "nslookup headless."+servers+".svc.cluster.local")
		for _, name := range []string{"web-0", "web-1"} {
			server, err := b.local.CoreV1().Pods(servers).Get(t.Context(), name, metav1.GetOptions{})
			if err != nil || !strings.Contains(found, server.Status.PodIP) {
				t.Errorf("the headless service has not %s: %v\n%s", name, err, found)
			}
		}
		here.asks(t, "http://real."+servers+"/hostname", "real")
		pod{b, servers, "real"}.asks(t, "http://web/hostname", "web-0", "web-1") // the other way
	})
	t.Run("Readiness", func(t *testing.T) {
		other := pod{b, servers, "web-1"}
		other.sh(t, "touch /tmp/unready")
		b.leadsTo(t, node, servers, "web", 1)
		here.hearsOnly(t, "http://web."+servers+"/hostname", "web-0")
		other.sh(t, "rm /tmp/unready")
		here.asks(t, "http://web."+servers+"/hostname", "web-0", "web-1")
	})
	t.Run("Scale", func(t *testing.T) {
		b.kubectl(t, "local", "scale", "statefulset/web", "-n", servers, "--replicas=1")
		b.leadsTo(t, node, servers, "web", 1)
		here.hearsOnly(t, "http://web."+servers+"/hostname", "web-0")
	})
	t.Run("APIServer", func(t *testing.T) {
		env := here.sh(t, "echo $KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT; cat /etc/hosts /etc/resolv.conf")
		if !strings.HasPrefix(env, "10.96.0.1:443\n") || strings.Contains(env, "kubernetes.default") || !strings.Contains(env, "search clients.svc.cluster.local svc.cluster.local cluster.local") {
			t.Errorf("environment, hosts and resolv.conf:\n%s", env)
		}
		out := here.sh(t, `D=/var/run/secrets/kubernetes.io/serviceaccount; curl -sS --cacert $D/ca.crt -H "Authorization: Bearer $(cat $D/token)" `+
			`https://kubernetes.default.svc/apis/authentication.k8s.io/v1/selfsubjectreviews -X POST -H 'Content-Type: application/json' -d '{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}'`)
		if !strings.Contains(out, "system:serviceaccount:clients:default") {
			t.Errorf("the local API server says: %s", out)
		}
		// client-go's own way in, by what every pod has.
		eventually(t, "a program finds its cluster", func(context.Context) error {
			log := b.kubectl(t, "local", "logs", "in-cluster", "-n", clients)
			if !strings.Contains(log, "calling /healthz") || !strings.Contains(log, "authz_header=") || strings.Contains(log, "status=failed") {
				return fmt.Errorf("it says:\n%s", log)
			}
			return nil
		})
	})
	t.Run("Gone", func(t *testing.T) {
		b.kubectl(t, "local", "delete", "service", "web", "-n", servers)
		eventually(t, "the remote service is gone", func(ctx context.Context) error {
			found, err := b.remote.CoreV1().Services(translate.RemoteNamespace(node, servers)).Get(ctx, "web", metav1.GetOptions{})
			if apierrors.IsNotFound(err) {
				return nil
			}
			return fmt.Errorf("%v, %w", found, err)
		})
	})
}

// leadsTo waits until the remote copy of a Service leads to that many pods.
func (b *bed) leadsTo(t *testing.T, node, namespace, service string, pods int) {
	t.Helper()
	eventually(t, fmt.Sprintf("the remote service %s leads to %d pods", service, pods), func(ctx context.Context) error {
		list, err := b.remote.DiscoveryV1().EndpointSlices(translate.RemoteNamespace(node, namespace)).
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
func (b *bed) runDNSOn(t *testing.T, node string) {
	t.Helper()
	t.Cleanup(func() {
		b.kubectl(t, "local", "rollout", "undo", "deployment/coredns", "-n", "kube-system")
		b.kubectl(t, "local", "rollout", "status", "deployment/coredns", "-n", "kube-system", "--timeout=3m")
	})
	patch := fmt.Sprintf(`{"spec": {"template": {"spec": {"nodeSelector": {"kubernetes.io/hostname": %q, "actual.vk/infra": null}}}}}`, node)
	b.kubectl(t, "local", "patch", "deployment/coredns", "-n", "kube-system", "--patch", patch)
	b.kubectl(t, "local", "rollout", "status", "deployment/coredns", "-n", "kube-system", "--timeout=3m")
	eventually(t, "no other DNS server is left", func(ctx context.Context) error {
		pods, err := b.local.CoreV1().Pods("kube-system").List(ctx, metav1.ListOptions{LabelSelector: "k8s-app=kube-dns"})
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
	namespace := b.namespace(t, "resolving")
	b.apply(t, namespace, server(node))
	b.apply(t, namespace, onRealNode)
	b.kubectl(t, "local", "rollout", "status", "statefulset/web", "-n", namespace, "--timeout=3m")
	b.kubectl(t, "local", "wait", "--for=condition=Ready", "pod/real", "-n", namespace, "--timeout=3m")
	pod{b, namespace, "web-0"}.asks(t, "http://real."+namespace+".svc.cluster.local/hostname", "real")
	pod{b, namespace, "real"}.asks(t, "http://web-1.headless:8080/hostname", "web-1")
}

// A thousand Services cost one write each, and another for their endpoints; a
// restart costs none.
func TestManyServices(t *testing.T) {
	slow(t)
	b := shared
	const services = 1000
	b.serviceRange(t, localServices, exampleNode)
	d := b.startAKD(t, exampleNode, "--services=mirror")
	namespace := b.namespace(t, "many")
	b.apply(t, namespace, client(exampleNode))
	b.kubectl(t, "local", "wait", "--for=condition=Ready", "pod/client", "-n", namespace, "--timeout=3m")
	before := b.requests(t)
	var group errgroup.Group
	group.SetLimit(16)
	for i := range services {
		group.Go(func() error {
			service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("web-%d", i)}}
			service.Spec.Selector, service.Spec.Ports = map[string]string{"app": service.Name}, []corev1.ServicePort{{Port: 80}}
			_, err := b.local.CoreV1().Services(namespace).Create(t.Context(), service, metav1.CreateOptions{})
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	// Pods come and go meanwhile.
	b.kubectl(t, "local", "delete", "pod", "client", "-n", namespace)
	b.apply(t, namespace, client(exampleNode))
	b.kubectl(t, "local", "wait", "--for=condition=Ready", "pod/client", "-n", namespace, "--timeout=3m")
	remote := translate.RemoteNamespace(exampleNode, namespace)
	eventually(t, "all services have copies", func(ctx context.Context) error {
		copies, err := b.remote.CoreV1().Services(remote).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		slices, err := b.remote.DiscoveryV1().EndpointSlices(remote).List(ctx, metav1.ListOptions{})
		if err == nil && len(copies.Items)+len(slices.Items) != 2*services {
			return fmt.Errorf("%d services and %d slices", len(copies.Items), len(slices.Items))
		}
		return err
	})
	cost := b.requests(t).since(before)
	t.Logf("requests for %d services: %v", services, cost)
	cost.atMost(t, map[string]int{
		"remote create services": services, "remote update services": 0, "remote delete services": 0,
		"remote create endpointslices": services, "remote update endpointslices": 10, "remote delete endpointslices": 0,
	})
	d.restartsQuietly(t)
}

// serviceRange lets a node's remote Services have addresses of a range, as an
// administrator does once. The range goes when the Services have.
func (b *bed) serviceRange(t *testing.T, addresses, node string) {
	t.Helper()
	cidr := &networkingv1.ServiceCIDR{ObjectMeta: metav1.ObjectMeta{Name: manifests.ServiceRange(node)}, Spec: networkingv1.ServiceCIDRSpec{CIDRs: []string{addresses}}}
	if _, err := b.remote.NetworkingV1().ServiceCIDRs().Create(t.Context(), cidr, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _, _ = b.tryKubectl("remote", nil, "delete", "namespaces", "-l", translate.LabelNodeName+"="+node, "--wait=true", "--timeout=3m")
		if out, stderr, err := b.tryKubectl("remote", nil, "delete", "servicecidr", cidr.Name, "--timeout=3m"); err != nil {
			t.Errorf("delete servicecidr: %v\n%s%s", err, out, stderr)
		}
	})
	eventually(t, "the range of service addresses is ready", func(ctx context.Context) error {
		found, err := b.remote.NetworkingV1().ServiceCIDRs().Get(ctx, cidr.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, condition := range found.Status.Conditions {
			if condition.Type == networkingv1.ServiceCIDRConditionReady && condition.Status == metav1.ConditionTrue {
				return nil
			}
		}
		return fmt.Errorf("conditions %v", found.Status.Conditions)
	})
}

// asks waits until each of the answers has come, and none but them.
func (p pod) asks(t *testing.T, url string, answers ...string) {
	t.Helper()
	missing := map[string]bool{}
	for _, answer := range answers {
		missing[answer] = true
	}
	eventually(t, url+" answers", func(context.Context) error {
		out, stderr, err := p.tryKubectl("local", nil, "exec", "-n", p.namespace, p.name, "--", "curl", "-sS", "--max-time", "5", url)
		if err != nil {
			return fmt.Errorf("%w: %s%s", err, out, stderr)
		}
		if delete(missing, strings.TrimSpace(out)); len(missing) > 0 {
			return fmt.Errorf("no answer yet from %v", missing)
		}
		return nil
	})
}

// hearsOnly waits until one answer has come many times in a row.
func (p pod) hearsOnly(t *testing.T, url, answer string) {
	t.Helper()
	const times = 20
	script := fmt.Sprintf("for i in $(seq %d); do curl -sS --max-time 5 %s || exit 1; echo; done", times, url)
	eventually(t, url+" answers "+answer+" only", func(context.Context) error {
		out, stderr, err := p.tryKubectl("local", nil, "exec", "-n", p.namespace, p.name, "--", "sh", "-c", script)
		if err != nil {
			return fmt.Errorf("%w: %s%s", err, out, stderr)
		}
		if heard := strings.Count(out, answer+"\n"); heard != times {
			return fmt.Errorf("%d of %d times: %s", heard, times, out)
		}
		return nil
	})
}

func (p pod) sh(t *testing.T, script string) string {
	t.Helper()
	return p.kubectl(t, "local", "exec", "-n", p.namespace, p.name, "--", "sh", "-c", script)
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

// onRealNode is a server that no akd has anything to do with.
const onRealNode = `
apiVersion: v1
kind: Service
metadata: {name: real}
spec: {selector: {app: real}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Pod
metadata: {name: real, labels: {app: real}}
spec:
  nodeSelector: {actual.vk/infra: "true"}
  tolerations: [{key: actual.vk/infra, operator: Exists}]
  terminationGracePeriodSeconds: 1
  containers:
  - {name: web, image: agnhost:stable, imagePullPolicy: Never, args: [netexec]}
`

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
