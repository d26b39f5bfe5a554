package plugin

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/config"
)

const (
	servicesMirror = string(config.ServicesMirror)
	servicesNone   = string(config.ServicesNone)
)

// samplePods is how many pods of a cluster are looked at for where pods are.
const samplePods = 500

// serviceFlags are what the user says of mirrored Services.
type serviceFlags struct {
	services  string // mirror, none, or empty: as the configuration says, or as the clusters allow
	ranges    []string
	endpoints []string
}

func (f *serviceFlags) addFlags(flags *pflag.FlagSet) {
	flags.StringVar(&f.services, "services", "",
		"how pods reach Services of the local cluster: mirror, with copies in the remote cluster, or none; mirror where the remote allows it, unless given")
	flags.StringSliceVar(&f.ranges, "service-cidr", nil, "the local cluster's ranges of service addresses; read from its ServiceCIDR objects, unless given")
	flags.StringSliceVar(&f.endpoints, "endpoint-cidr", nil,
		"ranges that mirrored Services may lead to, beside the local API server: those of both clusters' pods; read from the clusters, unless given")
}

// check says what is wrong with the flags.
func (f *serviceFlags) check() error {
	if f.services != "" && f.services != servicesMirror && f.services != servicesNone {
		return usagef("--services %q: want mirror or none", f.services)
	}
	for name, given := range map[string][]string{"--service-cidr": f.ranges, "--endpoint-cidr": f.endpoints} {
		if _, err := prefixes(given); err != nil {
			return usagef("%s: %w", name, err)
		}
	}
	return nil
}

// asked is what the user wants: mirror, none, or nothing in particular.
func (s *site) asked() (string, error) {
	if s.services != "" || s.file == "" {
		return s.services, nil
	}
	file, err := os.ReadFile(s.file)
	if err != nil {
		return "", usagef("--config: %w", err)
	}
	var said struct {
		Services string `json:"services"`
	}
	if err := yaml.Unmarshal(file, &said); err != nil {
		return "", usagef("--config %s: %w", s.file, err)
	}
	return said.Services, nil
}

// needRanges is for where no cluster can be asked.
func (s *site) needRanges() error {
	if s.values.MirrorServices && (len(s.values.ServiceCIDRs) == 0 || len(s.values.EndpointCIDRs) == 0) {
		return usagef("services: mirror needs --service-cidr, the local cluster's range of service addresses, and --endpoint-cidr, those of both clusters' pods and the local API server: only install reads them from the clusters")
	}
	return nil
}

// chooseServices decides whether Services are mirrored, and with which ranges.
// Only who did not ask for it goes without, and is told why; a node that has
// mirrored Services does not stop because something came in the way.
func (i *install) chooseServices(ctx context.Context) (string, error) {
	asked, err := i.asked()
	if err != nil || asked == servicesNone {
		return "none, as configured", err
	}
	given, err := prefixes(i.ranges)
	if err != nil {
		return "", usagef("--service-cidr: %w", err)
	}
	found, err := checkServiceRanges(ctx, i.both, i.values.Node, given)
	if apierrors.IsForbidden(err) && asked == "" {
		i.services = servicesNone
		return "none: " + err.Error(), nil
	}
	if err != nil {
		return "", err
	}
	unknown := ""
	if len(i.endpoints) == 0 {
		i.endpoints, unknown = texts(found.Pods), found.PodsUnknown
	}
	for _, reason := range []string{found.Unsupported, found.Overlap, unknown} {
		switch {
		case reason == "":
		case asked == "" && found.Object == "":
			i.services = servicesNone
			return "none: " + reason, nil
		default:
			return "", fmt.Errorf("services cannot be mirrored: %s", reason)
		}
	}
	i.services, i.ranges = servicesMirror, texts(found.Local)
	i.endpoints = append(i.endpoints, texts(found.Servers)...)
	return fmt.Sprintf("mirror %s, which may lead to %s", strings.Join(i.ranges, ", "), strings.Join(i.endpoints, ", ")), nil
}

// serviceRanges is what there is to know before, and while, the local cluster's
// Services have copies in the remote one.
type serviceRanges struct {
	Local       []netip.Prefix // the local cluster's ranges of service addresses
	Pods        []netip.Prefix // where pods of both clusters are
	PodsUnknown string         // why Pods is not to be relied on, and what to do; empty if it is
	Servers     []netip.Prefix // the local API servers, as the local cluster publishes them
	Object      string         // the ServiceCIDR object that the node has in the remote cluster; empty if none
	Missing     []netip.Prefix // local ranges that the node's ServiceCIDR objects lack
	Ready       bool           // the node's ServiceCIDR objects are all ready
	Unsupported string         // why the clusters cannot mirror, and what to do; empty if they can
	Overlap     string         // what has addresses of the local ranges already, and what to do; empty if nothing
	Strangers   []string       // the remote cluster's own Services that got addresses of the local ranges
}

// checkServiceRanges learns whether a node's Services can be mirrored. It only
// reads. The local ranges are discovered unless they are given.
func checkServiceRanges(ctx context.Context, both clusters, node string, given []netip.Prefix) (found serviceRanges, err error) {
	remote, err := both.remote.client.NetworkingV1().ServiceCIDRs().List(ctx, metav1.ListOptions{})
	if apierrors.IsNotFound(err) {
		found.Unsupported = fmt.Sprintf("the remote cluster %s has no ServiceCIDR objects, which Kubernetes has since 1.33: upgrade it, or install with --services=none", both.remote.version)
		return found, nil
	}
	if err != nil {
		return found, fmt.Errorf("list the remote cluster's service ranges: %w", err)
	}
	if found.Local = given; len(given) == 0 {
		if found.Local, err = localRanges(ctx, both.local); err != nil {
			return found, err
		}
	}
	if len(found.Local) == 0 {
		found.Unsupported = fmt.Sprintf("the local cluster %s does not say its range of service addresses: say it with --service-cidr, or install with --services=none", both.local.version)
		return found, nil
	}
	found.installed(remote.Items, node)
	servers, err := both.local.published(ctx)
	if err != nil {
		return found, err
	}
	for _, server := range servers {
		one := netip.PrefixFrom(server.Addr(), server.Addr().BitLen())
		if !slices.Contains(found.Servers, one) {
			found.Servers = append(found.Servers, one)
		}
	}
	inLocal, err := findPods(ctx, both.local)
	if err != nil {
		return found, err
	}
	inRemote, err := findPods(ctx, both.remote)
	if err != nil {
		return found, err
	}
	for _, pods := range []podRanges{inLocal, inRemote} {
		found.Pods = append(found.Pods, pods.ranges...)
		if found.PodsUnknown == "" {
			found.PodsUnknown = pods.unknown()
		}
	}
	found.Pods = merged(found.Pods)
	found.Overlap = overlap(found.Local, remote.Items, node, inRemote)
	found.Strangers, err = strangers(ctx, both.remote, found.Local)
	return found, err
}

// installed notes what the node has already.
func (r *serviceRanges) installed(objects []networkingv1.ServiceCIDR, node string) {
	r.Missing, r.Ready = slices.Clone(r.Local), true
	for i := range objects {
		object := &objects[i]
		if object.Labels[contract.LabelNodeName] != node {
			continue
		}
		if r.Object == "" || object.Name == manifests.ServiceRange(node) {
			r.Object = object.Name
		}
		r.Missing = slices.DeleteFunc(r.Missing, func(p netip.Prefix) bool { return slices.Contains(object.Spec.CIDRs, p.String()) })
		r.Ready = r.Ready && slices.ContainsFunc(object.Status.Conditions, func(c metav1.Condition) bool {
			return c.Type == networkingv1.ServiceCIDRConditionReady && c.Status == metav1.ConditionTrue
		})
	}
	r.Ready = r.Ready && r.Object != ""
}

// localRanges are those of the local cluster's ServiceCIDR objects, and none
// where it has no such objects.
func localRanges(ctx context.Context, local *cluster) ([]netip.Prefix, error) {
	objects, err := local.client.NetworkingV1().ServiceCIDRs().List(ctx, metav1.ListOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the local cluster's service ranges: %w: say them with --service-cidr", err)
	}
	var found []string
	for i := range objects.Items {
		found = append(found, objects.Items[i].Spec.CIDRs...)
	}
	return prefixes(found)
}

// podRanges is where a cluster's nodes and pods are.
type podRanges struct {
	side   string
	ranges []netip.Prefix
	nodes  map[string]netip.Addr // by address as a message names it
	pods   map[string]netip.Addr // some, likewise
}

// findPods reads the ranges of a cluster's pods as kubeadm has written them
// down, or else as its nodes have them.
func findPods(ctx context.Context, c *cluster) (podRanges, error) {
	found := podRanges{side: c.side, nodes: map[string]netip.Addr{}, pods: map[string]netip.Addr{}}
	nodes, err := c.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{LabelSelector: "!actual.vk/node"})
	if err != nil {
		return found, fmt.Errorf("list the %s cluster's nodes: %w", c.side, err)
	}
	for i := range nodes.Items {
		node := &nodes.Items[i]
		ranges, err := prefixes(node.Spec.PodCIDRs)
		if err != nil {
			return found, fmt.Errorf("%s node %s: pod range: %w", c.side, node.Name, err)
		}
		found.ranges = append(found.ranges, ranges...)
		for _, address := range node.Status.Addresses {
			if ip, err := netip.ParseAddr(address.Address); err == nil {
				found.nodes[fmt.Sprintf("node %s, %s", node.Name, ip)] = ip
			}
		}
	}
	if whole := kubeadmRanges(ctx, c); len(whole) > 0 {
		found.ranges = whole
	}
	pods, err := c.client.CoreV1().Pods(metav1.NamespaceAll).List(ctx, metav1.ListOptions{Limit: samplePods})
	if err != nil {
		return found, fmt.Errorf("list the %s cluster's pods: %w", c.side, err)
	}
	for i := range pods.Items {
		pod := &pods.Items[i]
		ours := pod.Labels[contract.LabelNodeName] != "" || pod.Annotations[contract.AnnotationRemoteNode] != ""
		if pod.Spec.HostNetwork || ours || pod.Status.Phase != corev1.PodRunning {
			continue
		}
		if ip, err := netip.ParseAddr(pod.Status.PodIP); err == nil {
			found.pods[fmt.Sprintf("pod %s/%s, %s", pod.Namespace, pod.Name, ip)] = ip
		}
	}
	return found, nil
}

// kubeadmRanges are the pod ranges in kubeadm's own record, if there is one.
// https://kubernetes.io/docs/reference/config-api/kubeadm-config.v1beta4/
func kubeadmRanges(ctx context.Context, c *cluster) []netip.Prefix {
	record, err := c.client.CoreV1().ConfigMaps(metav1.NamespaceSystem).Get(ctx, "kubeadm-config", metav1.GetOptions{})
	if err != nil {
		return nil // another installer's cluster, or not ours to read: the nodes say it, too
	}
	var said struct {
		Networking struct {
			PodSubnet string `json:"podSubnet"`
		} `json:"networking"`
	}
	if err := yaml.Unmarshal([]byte(record.Data["ClusterConfiguration"]), &said); err != nil || said.Networking.PodSubnet == "" {
		return nil
	}
	ranges, err := prefixes(strings.Split(said.Networking.PodSubnet, ","))
	if err != nil {
		return nil
	}
	return ranges
}

// unknown says why the ranges are not those of the pods.
func (p *podRanges) unknown() string {
	const todo = "say the ranges of both clusters' pods with --endpoint-cidr, or install with --services=none"
	if len(p.ranges) == 0 {
		return fmt.Sprintf("the %s cluster's nodes do not say their pods' ranges: %s", p.side, todo)
	}
	for name, ip := range p.pods {
		if !within(ip, p.ranges) {
			return fmt.Sprintf("a pod of the %s cluster (%s) is not in the ranges that its nodes say, %s: %s", p.side, name, strings.Join(texts(p.ranges), ", "), todo)
		}
	}
	return ""
}

// overlap says what of the remote cluster has addresses of the local cluster's
// service ranges: an address cannot mean two things there.
func overlap(local []netip.Prefix, objects []networkingv1.ServiceCIDR, node string, remote podRanges) string {
	const otherwise = "create one of the clusters with another --service-cluster-ip-range, or install with --services=none"
	for _, own := range local {
		for i := range objects {
			taken, err := prefixes(objects[i].Spec.CIDRs)
			if err != nil || !overlaps(own, taken) {
				continue
			}
			switch by := objects[i].Labels[contract.LabelNodeName]; by {
			case node:
			case "":
				return fmt.Sprintf("the local cluster's service range %s overlaps the remote cluster's own, %s (ServiceCIDR %s): %s", own, strings.Join(texts(taken), ", "), objects[i].Name, otherwise)
			default:
				return fmt.Sprintf("node %s mirrors services with addresses in %s already (ServiceCIDR %s), and two local clusters, or two nodes of one, cannot have the same: uninstall that node, or install with --services=none",
					by, strings.Join(texts(taken), ", "), objects[i].Name)
			}
		}
		if overlaps(own, remote.ranges) {
			return fmt.Sprintf("the local cluster's service range %s overlaps the remote cluster's pod ranges %s: %s", own, strings.Join(texts(remote.ranges), ", "), otherwise)
		}
		for _, addresses := range []map[string]netip.Addr{remote.nodes, remote.pods} {
			for name, ip := range addresses {
				if own.Contains(ip) {
					return fmt.Sprintf("the local cluster's service range %s has the address of a remote one (%s): %s", own, name, otherwise)
				}
			}
		}
	}
	return ""
}

// strangers are Services of the remote cluster itself with addresses of the
// local ranges. Kubernetes gives new Services addresses of any ServiceCIDR.
func strangers(ctx context.Context, remote *cluster, local []netip.Prefix) ([]string, error) {
	services, err := remote.client.CoreV1().Services(metav1.NamespaceAll).List(ctx, metav1.ListOptions{LabelSelector: "!" + contract.LabelNodeName})
	if err != nil {
		return nil, fmt.Errorf("list the remote cluster's services: %w", err)
	}
	var found []string
	for i := range services.Items {
		service := &services.Items[i]
		if slices.ContainsFunc(service.Spec.ClusterIPs, func(address string) bool {
			ip, err := netip.ParseAddr(address)
			return err == nil && within(ip, local)
		}) {
			found = append(found, service.Namespace+"/"+service.Name)
		}
	}
	return found, nil
}

// awaitRanges waits until the remote cluster has no service range of the node
// any more. One whose addresses its own Services got stays until those go.
func (u *uninstall) awaitRanges(ctx context.Context, remote *cluster) (string, error) {
	outcome := ""
	err := until(ctx, func(ctx context.Context) (bool, string, error) {
		left, err := remote.client.NetworkingV1().ServiceCIDRs().List(ctx, metav1.ListOptions{LabelSelector: contract.LabelNodeName + "=" + u.node})
		if apierrors.IsNotFound(err) || err == nil && len(left.Items) == 0 {
			return true, "", nil
		}
		if err != nil {
			return false, "", fmt.Errorf("list the remote cluster's service ranges: %w", err)
		}
		ranges, err := prefixes(left.Items[0].Spec.CIDRs)
		if err != nil {
			return false, "", err
		}
		others, err := strangers(ctx, remote, ranges)
		if len(others) > 0 {
			outcome = fmt.Sprintf("%s goes when the remote cluster's own services with addresses of it have gone: %s", left.Items[0].Name, strings.Join(others, ", "))
		}
		return len(others) > 0, left.Items[0].Name + " is still in use", err
	})
	return outcome, err
}

func prefixes(cidrs []string) ([]netip.Prefix, error) {
	var found []netip.Prefix
	for _, cidr := range cidrs {
		prefix, err := netip.ParsePrefix(strings.TrimSpace(cidr))
		if err != nil {
			return nil, fmt.Errorf("%q: want an address and a length, such as 10.96.0.0/16", cidr)
		}
		if prefix != prefix.Masked() {
			return nil, fmt.Errorf("%q has address bits beyond its length: did you mean %s?", cidr, prefix.Masked())
		}
		found = append(found, prefix)
	}
	return found, nil
}

// merged returns the same addresses in as few ranges as that takes: clusters
// have one per node, and a policy that has to look at hundreds fails.
func merged(ranges []netip.Prefix) []netip.Prefix {
	ranges = slices.Clone(ranges)
	slices.SortFunc(ranges, netip.Prefix.Compare)
	var out []netip.Prefix
	for _, next := range ranges {
		for len(out) > 0 {
			last := out[len(out)-1]
			if last.Bits() <= next.Bits() && last.Contains(next.Addr()) {
				next = last
			} else if around, err := last.Addr().Prefix(last.Bits() - 1); err == nil && last.Bits() == next.Bits() && around.Contains(next.Addr()) {
				next = around // both halves of it
			} else {
				break
			}
			out = out[:len(out)-1]
		}
		out = append(out, next)
	}
	return out
}

func texts(ranges []netip.Prefix) []string {
	var out []string
	for _, prefix := range ranges {
		out = append(out, prefix.String())
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func within(ip netip.Addr, ranges []netip.Prefix) bool {
	return slices.ContainsFunc(ranges, func(p netip.Prefix) bool { return p.Contains(ip) })
}

func overlaps(prefix netip.Prefix, with []netip.Prefix) bool {
	return slices.ContainsFunc(with, prefix.Overlaps)
}
