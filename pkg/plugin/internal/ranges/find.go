package ranges

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/failure"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
)

// Found is what there is to know before, and while, the local cluster's Services
// have copies in the remote one.
type Found struct {
	Local       []netip.Prefix // the local cluster's ranges of service addresses
	Pods        []netip.Prefix // of the pods of both clusters
	PodsUnknown Problem        // why Pods cannot be relied on
	Servers     []netip.Prefix // the local API servers, as the local cluster publishes them
	Object      string         // the ServiceCIDR object that the node has in the remote cluster; empty if none
	Missing     []netip.Prefix // local ranges that the node's ServiceCIDR objects lack
	Ready       bool           // the node's ServiceCIDR objects are all ready
	Mirror      string         // another node of the local cluster whose ServiceCIDR objects have all local ranges
	Unsupported Problem        // why the clusters cannot mirror
	Overlap     Problem        // what already has addresses of the local ranges
	Colliding   []string       // the remote cluster's own Services that got addresses of the local ranges
}

// Problem is why Services cannot be mirrored, and what to do. The zero value is
// none.
type Problem struct{ What, Fix string }

// Problems are all that keep Services from being mirrored.
func (f *Found) Problems() []Problem {
	return slices.DeleteFunc([]Problem{f.Unsupported, f.Overlap, f.PodsUnknown}, func(p Problem) bool { return p == Problem{} })
}

// Find finds out whether a node's Services can be mirrored. The local ranges are
// discovered unless they are given.
func Find(ctx context.Context, both kubeclient.Clusters, node string, given []netip.Prefix) (found Found, err error) {
	remote, err := both.Remote.Client.NetworkingV1().ServiceCIDRs().List(ctx, metav1.ListOptions{})
	if apierrors.IsNotFound(err) {
		found.Unsupported = Problem{
			fmt.Sprintf("the remote cluster %s has no ServiceCIDR objects, which Kubernetes has since 1.33", both.Remote.Version),
			"upgrade the remote cluster, or install with --services=none",
		}
		return found, nil
	}
	if err != nil {
		return found, fmt.Errorf("list the remote cluster's service ranges: %w", err)
	}
	if found.Local = given; len(given) == 0 {
		if found.Local, err = localRanges(ctx, both.Local); err != nil {
			return found, err
		}
	}
	if len(found.Local) == 0 {
		found.Unsupported = Problem{
			fmt.Sprintf("the local cluster %s does not publish its range of service addresses", both.Local.Version),
			"give it with --service-cidr, or install with --services=none",
		}
		return found, nil
	}
	found.addInstalled(remote.Items, node)
	found.Mirror = mirrorOf(remote.Items, node, string(both.Local.UID), found.Local)
	if err := found.addServers(ctx, both.Local); err != nil {
		return found, err
	}
	inLocal, err := findPods(ctx, both.Local)
	if err != nil {
		return found, err
	}
	inRemote, err := findPods(ctx, both.Remote)
	if err != nil {
		return found, err
	}
	found.addPods(inLocal, inRemote)
	found.Overlap = overlap(found.Local, slices.DeleteFunc(remote.Items, func(o networkingv1.ServiceCIDR) bool {
		return o.Labels[contract.LabelNodeName] == node
	}), found.Mirror, inRemote)
	found.Colliding, err = Colliding(ctx, both.Remote, found.Local)
	return found, err
}

// addInstalled adds what the node already has.
func (f *Found) addInstalled(objects []networkingv1.ServiceCIDR, node string) {
	f.Missing, f.Ready = slices.Clone(f.Local), true
	for i := range objects {
		object := &objects[i]
		if object.Labels[contract.LabelNodeName] != node {
			continue
		}
		if f.Object == "" || object.Name == manifests.ServiceRange(node) {
			f.Object = object.Name
		}
		f.Missing = slices.DeleteFunc(f.Missing, func(p netip.Prefix) bool { return slices.Contains(object.Spec.CIDRs, p.String()) })
		f.Ready = f.Ready && slices.ContainsFunc(object.Status.Conditions, func(c metav1.Condition) bool {
			return c.Type == networkingv1.ServiceCIDRConditionReady && c.Status == metav1.ConditionTrue
		})
	}
	f.Ready = f.Ready && f.Object != ""
}

// mirrorOf returns the other node of a local cluster that mirrors all of its ranges, or an
// empty string.
func mirrorOf(objects []networkingv1.ServiceCIDR, node, clusterUID string, local []netip.Prefix) string {
	have := map[string][]string{}
	for i := range objects {
		labels := objects[i].Labels
		if by := labels[contract.LabelNodeName]; by != "" && by != node && labels[contract.LabelClusterUID] == clusterUID {
			have[by] = append(have[by], objects[i].Spec.CIDRs...)
		}
	}
	for _, by := range slices.Sorted(maps.Keys(have)) {
		if !slices.ContainsFunc(local, func(p netip.Prefix) bool { return !slices.Contains(have[by], p.String()) }) {
			return by
		}
	}
	return ""
}

// addServers adds the addresses of the local API servers, each once.
func (f *Found) addServers(ctx context.Context, local *kubeclient.Cluster) error {
	servers, err := local.PublishedServers(ctx)
	for _, server := range servers {
		one := netip.PrefixFrom(server.Addr(), server.Addr().BitLen())
		if !slices.Contains(f.Servers, one) {
			f.Servers = append(f.Servers, one)
		}
	}
	return err
}

func (f *Found) addPods(clusters ...podRanges) {
	for i := range clusters {
		f.Pods = append(f.Pods, clusters[i].ranges...)
		if f.PodsUnknown == (Problem{}) {
			f.PodsUnknown = clusters[i].unknown()
		}
	}
	f.Pods = merged(f.Pods)
}

// localRanges are those of the local cluster's ServiceCIDR objects, and none if
// the cluster has no such objects.
func localRanges(ctx context.Context, local *kubeclient.Cluster) ([]netip.Prefix, error) {
	objects, err := local.Client.NetworkingV1().ServiceCIDRs().List(ctx, metav1.ListOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, failure.Hintf(fmt.Errorf("list the local cluster's service ranges: %w", err), "give them with --service-cidr")
	}
	var found []string
	for i := range objects.Items {
		found = append(found, objects.Items[i].Spec.CIDRs...)
	}
	return Parse(found)
}

// overlap says what of the remote cluster has addresses of the local cluster's
// service ranges: an address cannot mean two things there.
func overlap(local []netip.Prefix, objects []networkingv1.ServiceCIDR, mirror string, remote podRanges) Problem {
	const fix = "create one of the clusters with another --service-cluster-ip-range, or install with --services=none"
	for _, own := range local {
		if found := overlapWithRanges(own, objects, mirror, fix); found != (Problem{}) {
			return found
		}
		if overlaps(own, remote.ranges) {
			return Problem{fmt.Sprintf("the local cluster's service range %s overlaps the remote cluster's pod ranges %s",
				own, strings.Join(Strings(remote.ranges), ", ")), fix}
		}
		for _, addresses := range []map[string]netip.Addr{remote.nodes, remote.pods} {
			for name, ip := range addresses {
				if own.Contains(ip) {
					return Problem{fmt.Sprintf("the local cluster's service range %s has the address of a remote one (%s)", own, name), fix}
				}
			}
		}
	}
	return Problem{}
}

// overlapWithRanges says which ServiceCIDR object has addresses of a local range.
func overlapWithRanges(own netip.Prefix, objects []networkingv1.ServiceCIDR, mirror, fix string) Problem {
	for i := range objects {
		taken, err := Parse(objects[i].Spec.CIDRs)
		if err != nil || !overlaps(own, taken) {
			continue
		}
		switch by := objects[i].Labels[contract.LabelNodeName]; by {
		case "":
			return Problem{fmt.Sprintf("the local cluster's service range %s overlaps the remote cluster's own, %s (ServiceCIDR %s)",
				own, strings.Join(Strings(taken), ", "), objects[i].Name), fix}
		case mirror:
			return Problem{
				fmt.Sprintf("node %s of this local cluster already mirrors services with addresses in %s (ServiceCIDR %s)",
					by, strings.Join(Strings(taken), ", "), objects[i].Name),
				"install with --services=shared",
			}
		default:
			return Problem{
				fmt.Sprintf("node %s already mirrors services with addresses in %s (ServiceCIDR %s), "+
					"and two local clusters cannot have the same addresses",
					by, strings.Join(Strings(taken), ", "), objects[i].Name),
				"uninstall node " + by + ", or install with --services=none",
			}
		}
	}
	return Problem{}
}

// Colliding are Services of the remote cluster itself with addresses of the local
// ranges. Kubernetes gives new Services addresses of any ServiceCIDR.
func Colliding(ctx context.Context, remote *kubeclient.Cluster, local []netip.Prefix) ([]string, error) {
	services, err := remote.Client.CoreV1().Services(metav1.NamespaceAll).List(ctx,
		metav1.ListOptions{LabelSelector: "!" + contract.LabelNodeName})
	if err != nil {
		return nil, fmt.Errorf("list the remote cluster's services: %w", err)
	}
	var found []string
	for i := range services.Items {
		service := &services.Items[i]
		if slices.ContainsFunc(service.Spec.ClusterIPs, func(address string) bool {
			ip, err := netip.ParseAddr(address)
			return err == nil && contains(local, ip)
		}) {
			found = append(found, service.Namespace+"/"+service.Name)
		}
	}
	return found, nil
}
