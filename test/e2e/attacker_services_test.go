//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

// The victim mirrors the Services of another local cluster.
const (
	victimServices = "10.98.0.0/16"
	victimAddress  = "10.98.0.80"
	thiefAddress   = "10.96.0.80"
)

// With a stolen remote credential of a node that mirrors Services, a Service
// can have addresses of its own local cluster's range only, and can lead to pods
// only.
func TestAttackerServices(t *testing.T) {
	e := shared
	e.AddServiceRange(t, env.LocalServices, thief)
	e.AddServiceRange(t, victimServices, victim)
	attacker := e.InstallTenant(t, e.MirroringValues(thief))
	other := e.MirroringValues(victim)
	other.ServiceCIDRs = []string{victimServices}
	attacked := e.InstallTenant(t, other)
	own := attacker.Settle(t, "home", contract.TenantServicesRole)
	foreign := attacked.Settle(t, "home", contract.TenantServicesRole)

	// The policies allow what akd itself makes, up to the largest slice that there is.
	for tn, address := range map[*env.Tenant]string{attacked: victimAddress, attacker: thiefAddress} {
		local := localService(address)
		site := servicesSite(tn.Node, local.Namespace)
		service, slice := site.Service(local), site.EndpointSlice(largeSlice(), local)
		if _, err := tn.Client.CoreV1().Services(service.Namespace).Create(t.Context(), service, metav1.CreateOptions{}); err != nil {
			t.Fatalf("akd's own service: %v", err)
		}
		if _, err := tn.Client.DiscoveryV1().EndpointSlices(slice.Namespace).Create(t.Context(), slice, metav1.CreateOptions{}); err != nil {
			t.Fatalf("akd's own slice: %v", err)
		}
		slice.Name, slice.Endpoints, slice.Ports = "web-empty", nil, nil
		if _, err := tn.Client.DiscoveryV1().EndpointSlices(slice.Namespace).Create(t.Context(), slice, metav1.CreateOptions{}); err != nil {
			t.Fatalf("akd's own slice of a service that leads nowhere: %v", err)
		}
	}

	attacks := serviceAttacks(own, foreign)
	maps.Copy(attacks, sliceAttacks(own, foreign))
	for name, a := range attacks {
		t.Run(name, func(t *testing.T) {
			err := a.try(t.Context(), attacker.Client)
			switch {
			case err == nil:
				t.Error("it succeeded")
			case !apierrors.IsForbidden(err) && !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), a.want):
				t.Errorf("it was refused for another reason: %v\nwant %q", err, a.want)
			}
		})
	}
}

func localService(address string) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "home", Name: "web", UID: "some"},
		Spec: corev1.ServiceSpec{
			ClusterIP:  address,
			ClusterIPs: []string{address},
			Ports:      []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(8080)}},
		},
	}
}

// largeSlice has as many endpoints as a slice can have.
func largeSlice() *discoveryv1.EndpointSlice {
	const most = 1000
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "home", Name: "web-abcde", UID: "slice",
			Labels: map[string]string{discoveryv1.LabelServiceName: "web"},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
	}
	for i := range most {
		address := fmt.Sprintf("10.245.%d.%d", 8+i/250, 1+i%250)
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{Addresses: []string{address}})
	}
	return slice
}

// serviceAttacks try to get the traffic to addresses of others.
func serviceAttacks(own, foreign string) map[string]attack {
	const (
		badType     = "akd may make services of type ClusterIP only"
		badExternal = "akd may make services without external addresses and ports of the nodes only"
		badSelector = "akd may make services without a selector only"
		badAddress  = "akd may make services with addresses in 10.96.0.0/16 only"
		badLabel    = "akd may label a service with its origin only"
		taken       = "provided IP is already allocated"
	)
	attacks := map[string]attack{}
	add := func(name, want string, change func(*corev1.Service)) {
		attacks["a Service with "+name] = attack{func(ctx context.Context, c *kubernetes.Clientset) error {
			service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "mine", Labels: shared.Owner(thief).ObjectLabels()}}
			service.Spec.ClusterIP, service.Spec.Ports = "10.96.0.81", []corev1.ServicePort{{Port: 443}}
			change(service)
			_, err := c.CoreV1().Services(own).Create(ctx, service, metav1.CreateOptions{})
			return err
		}, want}
		attacks["its own Service changed to one with "+name] = attack{func(ctx context.Context, c *kubernetes.Clientset) error {
			local := localService(thiefAddress)
			service := servicesSite(thief, local.Namespace).Service(local)
			change(service)
			_, err := c.CoreV1().Services(own).Update(ctx, service, metav1.UpdateOptions{})
			return err
		}, want}
	}
	add("an external address", badExternal, func(s *corev1.Service) { s.Spec.ExternalIPs = []string{"192.0.2.1"} })
	add("the API server as external address", badExternal, func(s *corev1.Service) { s.Spec.ExternalIPs = []string{"10.97.0.1"} })
	add("a port of the nodes", badType, func(s *corev1.Service) { s.Spec.Type = corev1.ServiceTypeNodePort })
	add("a load balancer", badType, func(s *corev1.Service) { s.Spec.Type = corev1.ServiceTypeLoadBalancer })
	add("a selector", badSelector, func(s *corev1.Service) { s.Spec.Selector = map[string]string{"app": "web"} })
	add("an annotation", badLabel, func(s *corev1.Service) {
		s.Annotations = map[string]string{"external-dns.alpha.kubernetes.io/hostname": "bank.example.com"}
	})
	add("a finalizer", "may not give objects finalizers or owners", func(s *corev1.Service) { s.Finalizers = []string{"example.org/stays"} })
	add("the victim's label", "must label what it writes", func(s *corev1.Service) { s.Labels[contract.LabelNodeName] = victim })
	add("a label", badLabel, func(s *corev1.Service) { s.Labels["team"] = "payments" })

	create := func(name, want string, change func(*corev1.Service)) {
		add(name, want, change)
		delete(attacks, "its own Service changed to one with "+name) // addresses of a Service never change
	}
	create("a name for another place", badType, func(s *corev1.Service) {
		s.Spec = corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "example.com"}
	})
	for name, address := range map[string]string{
		"a free address of the victim's range": "10.98.0.81",
		"a free address of the remote's range": "10.97.0.81",
		"no address, as headless ones":         corev1.ClusterIPNone,
	} {
		create(name, badAddress, func(s *corev1.Service) { s.Spec.ClusterIP = address })
	}
	for name, address := range map[string]string{
		"the victim's address":     victimAddress,
		"the API server's address": "10.97.0.1",
		"the DNS server's address": "10.97.0.10",
	} {
		create(name, taken, func(s *corev1.Service) { s.Spec.ClusterIP = address })
	}
	for _, namespace := range []string{foreign, "kube-system", "default", contract.SystemNamespace} {
		attacks["a Service in "+namespace] = attack{func(ctx context.Context, c *kubernetes.Clientset) error {
			service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "mine"}}
			_, err := c.CoreV1().Services(namespace).Create(ctx, service, metav1.CreateOptions{})
			return err
		}, `cannot create resource "services"`}
	}
	attacks["an address by a load balancer's status"] = attack{func(ctx context.Context, c *kubernetes.Clientset) error {
		patch := []byte(`{"status": {"loadBalancer": {"ingress": [{"ip": "10.97.0.1"}]}}}`)
		_, err := c.CoreV1().Services(own).Patch(ctx, "web", types.MergePatchType, patch, metav1.PatchOptions{}, "status")
		return err
	}, `cannot patch resource "services/status"`}
	attacks["a range of addresses"] = attack{func(ctx context.Context, c *kubernetes.Clientset) error {
		return c.NetworkingV1().ServiceCIDRs().Delete(ctx, manifests.ServiceRange(victim), metav1.DeleteOptions{})
	}, `cannot delete resource "servicecidrs"`}
	return attacks
}

// sliceAttacks try to reach other things than pods through a Service of the
// attacker's own.
func sliceAttacks(own, foreign string) map[string]attack {
	attacks := map[string]attack{}
	const (
		badPlace = "akd may lead to addresses in "
		badKind  = "akd may not lead to addresses that are loopback, link-local, multicast or unspecified"
		badLabel = "akd may label an endpoint slice with its origin and its service only"
		// The API server's own validation comes first.
		loopback, linkLocal, unspecified, multicast = "loopback range", "link-local range", "may not be unspecified", "link-local multicast range"
	)
	add := func(name, want string, change func(*discoveryv1.EndpointSlice)) {
		slice := func() *discoveryv1.EndpointSlice {
			local := localService(thiefAddress)
			slice := servicesSite(thief, local.Namespace).EndpointSlice(largeSlice(), local)
			slice.Endpoints = slice.Endpoints[:2]
			return slice
		}
		attacks["a slice with "+name] = attack{func(ctx context.Context, c *kubernetes.Clientset) error {
			made := slice()
			made.Name = "mine"
			change(made)
			_, err := c.DiscoveryV1().EndpointSlices(own).Create(ctx, made, metav1.CreateOptions{})
			return err
		}, want}
		changed := slice()
		if change(changed); changed.AddressType != discoveryv1.AddressTypeIPv4 {
			return // the type of a slice never changes
		}
		attacks["its own slice changed to one with "+name] = attack{func(ctx context.Context, c *kubernetes.Clientset) error {
			made := slice()
			change(made)
			_, err := c.DiscoveryV1().EndpointSlices(own).Update(ctx, made, metav1.UpdateOptions{})
			return err
		}, want}
	}
	leads := func(address string) func(*discoveryv1.EndpointSlice) {
		return func(s *discoveryv1.EndpointSlice) {
			if strings.Contains(address, ":") {
				s.AddressType, s.Endpoints = discoveryv1.AddressTypeIPv6, nil
			}
			// The last of several: policies must look at each.
			s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{address}})
		}
	}
	for name, address := range map[string]string{
		"a remote node":                "172.18.2.11",
		"the remote API server":        "172.18.2.1",
		"its Service":                  "10.97.0.1",
		"the Service kube-dns":         "10.97.0.10",
		"the victim's Service":         victimAddress,
		"its own Service":              thiefAddress,
		"a local node":                 "172.18.1.11",
		"the internet":                 "192.0.2.1",
		"the internet by IPv6":         "2001:db8::1",
		"an address of 0.0.0.0/8":      "0.0.0.1",
		"any pod beyond the ranges":    "10.246.0.1",
		"the cloud's IPv6 credentials": "fd00:ec2::254",
	} {
		add(name, badPlace, leads(address))
	}
	add("broadcast", badKind, leads("255.255.255.255"))
	for address, want := range map[string]string{
		"127.0.0.1":       loopback,
		"127.8.8.8":       loopback,
		"::1":             loopback,
		"169.254.169.254": linkLocal,
		"fe80::1":         linkLocal,
		"224.0.0.1":       multicast,
		"ff02::1":         multicast,
		"0.0.0.0":         unspecified,
		"::":              unspecified,
		"239.1.1.1":       badKind,
		"ff05::1":         badKind,
	} {
		add("address "+address, want, leads(address))
	}
	add("a name", "akd may make endpoint slices of IP addresses only", func(s *discoveryv1.EndpointSlice) {
		s.AddressType, s.Endpoints = discoveryv1.AddressTypeFQDN, []discoveryv1.Endpoint{{Addresses: []string{"example.com"}}}
	})
	add("an annotation", badLabel, func(s *discoveryv1.EndpointSlice) { s.Annotations = map[string]string{"a": "b"} })
	add("a finalizer", "may not give objects finalizers or owners", func(s *discoveryv1.EndpointSlice) {
		s.Finalizers = []string{"example.org/stays"}
	})
	add("a label", badLabel, func(s *discoveryv1.EndpointSlice) { s.Labels["team"] = "payments" })
	for _, namespace := range []string{foreign, "kube-system", "default", contract.SystemNamespace} {
		attacks["a slice in "+namespace] = attack{func(ctx context.Context, c *kubernetes.Clientset) error {
			slice := largeSlice()
			slice.Namespace = namespace
			_, err := c.DiscoveryV1().EndpointSlices(namespace).Create(ctx, slice, metav1.CreateOptions{})
			return err
		}, `cannot create resource "endpointslices"`}
		attacks["endpoints in "+namespace] = attack{func(ctx context.Context, c *kubernetes.Clientset) error {
			endpoints := []byte(`{"metadata": {"name": "web"}}`)
			return c.CoreV1().RESTClient().Post().Namespace(namespace).Resource("endpoints").Body(endpoints).Do(ctx).Error()
		}, `cannot create resource "endpoints"`}
	}
	return attacks
}

// servicesSite is where akd of a node mirrors the Services of a local namespace.
func servicesSite(node, local string) translate.Site {
	mapper := &translate.Mapper{Owner: shared.Owner(node)}
	return mapper.In(contract.RemoteNamespace(node, local))
}
