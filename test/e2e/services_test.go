//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

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
	servers, clients := b.namespace(t, "servers"), b.namespace(t, "clients")
	b.apply(t, servers, server(exampleNode))
	b.apply(t, servers, onRealNode)
	b.apply(t, clients, client(exampleNode))
	b.kubectl(t, "local", "rollout", "status", "statefulset/web", "-n", servers, "--timeout=3m")
	b.kubectl(t, "local", "wait", "--for=condition=Ready", "pod/real", "-n", servers, "--timeout=3m")
	b.kubectl(t, "local", "wait", "--for=condition=Ready", "pod/client", "-n", clients, "--timeout=3m")
	here := pod{b, clients, "client"}
	service, err := b.local.CoreV1().Services(servers).Get(t.Context(), "web", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}

	t.Run("Names", func(t *testing.T) {
		for _, name := range []string{"web." + servers, "web." + servers + ".svc", "web." + servers + ".svc.cluster.local", service.Spec.ClusterIP} {
			here.asks(t, "http://"+name+"/hostname", "web-0", "web-1")
		}
		here.asks(t, "http://web-1.headless."+servers+":8080/hostname", "web-1")
		here.asks(t, "http://real."+servers+"/hostname", "real")
	})
	t.Run("Follow", func(t *testing.T) {
		b.kubectl(t, "local", "scale", "statefulset/web", "-n", servers, "--replicas=1")
		eventually(t, "the remote slice leads to one pod", func(ctx context.Context) error {
			slices, err := b.remote.DiscoveryV1().EndpointSlices(translate.RemoteNamespace(exampleNode, servers)).
				List(ctx, metav1.ListOptions{LabelSelector: "kubernetes.io/service-name=web"})
			if err != nil {
				return err
			}
			if len(slices.Items) != 1 || len(slices.Items[0].Endpoints) != 1 {
				return fmt.Errorf("%v", slices.Items)
			}
			return nil
		})
		here.asks(t, "http://web."+servers+"/hostname", "web-0")
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
	})
	t.Run("Gone", func(t *testing.T) {
		b.kubectl(t, "local", "delete", "service", "web", "-n", servers)
		eventually(t, "the remote service is gone", func(ctx context.Context) error {
			found, err := b.remote.CoreV1().Services(translate.RemoteNamespace(exampleNode, servers)).Get(ctx, "web", metav1.GetOptions{})
			if apierrors.IsNotFound(err) {
				return nil
			}
			return fmt.Errorf("%v, %w", found, err)
		})
	})
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
      - {name: web, image: agnhost:stable, imagePullPolicy: Never, args: [netexec]}
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
  nodeSelector: {kubernetes.io/hostname: %s}
  terminationGracePeriodSeconds: 1
  containers:
  - {name: main, image: agnhost:stable, imagePullPolicy: Never, args: [pause]}
`, node)
}
