package ranges

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
)

// samplePods is how many pods of a cluster are compared with its pod ranges.
const samplePods = 500

// podRanges are the addresses of a cluster's nodes and pods.
type podRanges struct {
	side   kubeclient.Side
	ranges []netip.Prefix
	nodes  map[string]netip.Addr // by address as a message names it
	pods   map[string]netip.Addr // some, likewise
}

// findPods reads the ranges of a cluster's pods from kubeadm's record, if there
// is one, and otherwise from its nodes.
func findPods(ctx context.Context, c *kubeclient.Cluster) (podRanges, error) {
	found := podRanges{side: c.Side, nodes: map[string]netip.Addr{}, pods: map[string]netip.Addr{}}
	if err := found.addNodes(ctx, c); err != nil {
		return found, err
	}
	if whole := kubeadmRanges(ctx, c); len(whole) > 0 {
		found.ranges = whole
	}
	pods, err := c.Client.CoreV1().Pods(metav1.NamespaceAll).List(ctx, metav1.ListOptions{Limit: samplePods})
	if err != nil {
		return found, fmt.Errorf("list the %s cluster's pods: %w", c.Side, err)
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

func (p *podRanges) addNodes(ctx context.Context, c *kubeclient.Cluster) error {
	nodes, err := c.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{LabelSelector: "!" + contract.LabelNode})
	if err != nil {
		return fmt.Errorf("list the %s cluster's nodes: %w", c.Side, err)
	}
	for i := range nodes.Items {
		node := &nodes.Items[i]
		ranges, err := Parse(node.Spec.PodCIDRs)
		if err != nil {
			return fmt.Errorf("%s node %s: pod range: %w", c.Side, node.Name, err)
		}
		p.ranges = append(p.ranges, ranges...)
		for _, address := range node.Status.Addresses {
			if ip, err := netip.ParseAddr(address.Address); err == nil {
				p.nodes[fmt.Sprintf("node %s, %s", node.Name, ip)] = ip
			}
		}
	}
	return nil
}

// kubeadmRanges are the pod ranges in kubeadm's own record, if there is one.
// https://kubernetes.io/docs/reference/config-api/kubeadm-config.v1beta4/
func kubeadmRanges(ctx context.Context, c *kubeclient.Cluster) []netip.Prefix {
	record, err := c.Client.CoreV1().ConfigMaps(metav1.NamespaceSystem).Get(ctx, "kubeadm-config", metav1.GetOptions{})
	if err != nil {
		return nil // another installer's cluster, or not ours to read: the nodes have the ranges, too
	}
	var content struct {
		Networking struct {
			PodSubnet string `json:"podSubnet"`
		} `json:"networking"`
	}
	if err := yaml.Unmarshal([]byte(record.Data["ClusterConfiguration"]), &content); err != nil || content.Networking.PodSubnet == "" {
		return nil
	}
	ranges, err := Parse(strings.Split(content.Networking.PodSubnet, ","))
	if err != nil {
		return nil
	}
	return ranges
}

// unknown says why the ranges are not those of the pods.
func (p *podRanges) unknown() Problem {
	const fix = "give the ranges of both clusters' pods with --endpoint-cidr, or install with --services=none"
	if len(p.ranges) == 0 {
		return Problem{fmt.Sprintf("the %s cluster's nodes do not publish their pods' ranges", p.side), fix}
	}
	for name, ip := range p.pods {
		if !contains(p.ranges, ip) {
			return Problem{fmt.Sprintf("a pod of the %s cluster (%s) is outside the ranges that its nodes publish, %s",
				p.side, name, strings.Join(Strings(p.ranges), ", ")), fix}
		}
	}
	return Problem{}
}
