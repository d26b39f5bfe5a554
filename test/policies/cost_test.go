package policies_test

import (
	"context"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/test/attacks"
)

func tenants(n int) []manifests.Values {
	all := make([]manifests.Values, n)
	for i := range all {
		all[i] = manifests.Values{
			Node:           fmt.Sprintf("node-%d", i),
			MirrorServices: true,
			MirrorBudgets:  true,
			Storage:        manifests.Storage{Enabled: true, Classes: []string{"standard"}},
			ServiceCIDRs:   []string{fmt.Sprintf("10.%d.0.0/16", i)},
			EndpointCIDRs:  []string{"10.244.0.0/16"},
		}
	}
	return all
}

// writes are what others than tenants write.
func writes() map[string]request {
	meta := metav1.ObjectMeta{Namespace: "default", Name: "any"}
	one := corev1.PodSpec{Containers: []corev1.Container{{Name: "main"}}}
	return map[string]request{
		"ConfigMap": {user: "other", object: &corev1.ConfigMap{ObjectMeta: meta, Data: map[string]string{"a": "b"}}},
		"Pod":       {user: "other", object: admitted(&corev1.Pod{ObjectMeta: meta, Spec: one})},
		"Service":   {user: "other", object: &corev1.Service{ObjectMeta: meta}},
		"Namespace": {user: "other", object: &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "any"}}},
		"Claim":     {user: "other", object: &corev1.PersistentVolumeClaim{ObjectMeta: meta}},
		"Budget":    {user: "other", object: &policyv1.PodDisruptionBudget{ObjectMeta: meta}},
	}
}

// What others write costs them the same with a hundred tenants as with one.
func TestTenantsCostOthersNothing(t *testing.T) {
	one, hundred := serve(t, tenants(1)...), serve(t, tenants(100)...)
	for name, r := range writes() {
		few, many := allocations(t, one, r), allocations(t, hundred, r)
		t.Logf("%s: %.0f allocations with one tenant, %.0f with a hundred", name, few, many)
		if many > few+5 {
			t.Errorf("%s: %.0f allocations with one tenant, %.0f with a hundred", name, few, many)
		}
	}
}

func allocations(t *testing.T, s *server, r request) float64 {
	t.Helper()
	const times = 200
	return testing.AllocsPerRun(times, func() { expect(t, s.do(t, r), "") })
}

// BenchmarkOthers measures what the policies add to the writes of others.
func BenchmarkOthers(b *testing.B) {
	for _, n := range []int{0, 1, 100} {
		s := serve(b, tenants(n)...)
		for name, r := range writes() {
			benchmark(b, fmt.Sprintf("%s/tenants=%d", name, n), s, r)
		}
	}
}

// BenchmarkTenant measures what the policies add to a tenant's own writes.
func BenchmarkTenant(b *testing.B) {
	for _, n := range []int{1, 100} {
		s := serve(b, tenants(n)...)
		const node = "node-0"
		meta := metav1.ObjectMeta{Namespace: namespace(node).Name, Name: "any", Labels: owner(node).Labels("home", "uid")}
		for name, r := range map[string]request{
			"ConfigMap": {user: account(node), object: &corev1.ConfigMap{ObjectMeta: meta}},
			"Pod":       {user: account(node), object: admitted(attacks.Pod(owner(node), "home", "web"))},
		} {
			benchmark(b, fmt.Sprintf("%s/tenants=%d", name, n), s, r)
		}
	}
}

func benchmark(b *testing.B, name string, s *server, r request) {
	b.Helper()
	b.Run(name, func(b *testing.B) {
		attributes := s.attributes(b, r)
		for b.Loop() {
			if err := s.plugin.Validate(context.Background(), attributes, s.interfaces); err != nil {
				b.Fatal(err)
			}
		}
	})
}
