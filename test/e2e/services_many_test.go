//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"testing"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

// A thousand Services cost one write each, and one more for their endpoints; a
// restart costs none.
func TestManyServices(t *testing.T) {
	env.SkipUnlessSlow(t)
	e := shared
	const services = 1000
	e.AddServiceRange(t, env.LocalServices, env.ExampleNode)
	akd := e.StartAKD(t, env.ExampleNode, "--services=mirror")
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
	// A pod can be replaced at the same time.
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
		"remote create services":       services,
		"remote update services":       0,
		"remote delete services":       0,
		"remote create endpointslices": services,
		"remote update endpointslices": 10,
		"remote delete endpointslices": 0,
	})
	restartsQuietly(t, e, akd)
}
