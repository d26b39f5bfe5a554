package check

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-logr/logr"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	scheduling "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
	podsecurity "k8s.io/pod-security-admission/api"
	podpolicy "k8s.io/pod-security-admission/policy"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/internal/remotenodes"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/config"
)

// daemonSets looks for DaemonSets that put a pod on the node, which has no machine that
// the pod could serve.
func daemonSets(ctx context.Context, s *Subject) Finding {
	list, err := s.Local.Client.AppsV1().DaemonSets(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err != nil {
		return unknown(err)
	}
	node := s.node(ctx)
	all := slices.DeleteFunc(list.Items, func(ds appsv1.DaemonSet) bool {
		return ds.DeletionTimestamp != nil || ds.Labels[contract.LabelNodeName] != ""
	})
	total := len(all)
	return s.judgeDaemonSets(slices.DeleteFunc(all, func(ds appsv1.DaemonSet) bool { return !getsPod(&ds, node) }), total)
}

// judgeDaemonSets tells of those that put a pod on the node, and what the pod meets there.
func (s *Subject) judgeDaemonSets(there []appsv1.DaemonSet, total int) Finding {
	if len(there) == 0 {
		return ok("0 of %d", total)
	}
	security, err := podpolicy.NewEvaluator(podpolicy.DefaultChecks(), nil)
	if err != nil {
		return unknown(err)
	}
	level := podsecurity.LevelVersion{
		Level:   podsecurity.Level(cmp.Or(s.Node.Values.PodSecurity, string(config.Default().Pods.PodSecurity))),
		Version: podsecurity.LatestVersion(),
	}
	var found, details []string
	fix := []string{"keep away those that are for machines only; as any change of a template does, this replaces their pods everywhere:"}
	for i := range there {
		ds := &there[i]
		patch, err := keepAway(ds)
		if err != nil {
			return unknown(err)
		}
		fix = append(fix, s.Commands.Kubectl(kubeclient.Local, "patch", "daemonset", ds.Name, "-n", ds.Namespace, "-p", string(patch)))
		short, long := "runs in the remote cluster", "its pod runs in the remote cluster, as any pod of the node"
		template := ds.Spec.Template.DeepCopy()
		judged := podpolicy.AggregateCheckResults(security.EvaluatePod(level, &template.ObjectMeta, &template.Spec))
		if !judged.Allowed {
			short = fmt.Sprintf("denied by Pod Security %q: %s", level.Level, judged.ForbiddenReason())
			long = fmt.Sprintf("the remote cluster denies its pod, which violates Pod Security %q: %s", level.Level, judged.ForbiddenDetail())
		}
		found = append(found, fmt.Sprintf("%s/%s (%s)", ds.Namespace, ds.Name, short))
		details = append(details, fmt.Sprintf("%s/%s: %s", ds.Namespace, ds.Name, long))
	}
	finding := warning(strings.Join(fix, "\n"), "%d of %d do: %s", len(there), total, strings.Join(found, ", "))
	finding.Details = details
	return finding
}

// node returns the Node, or, if akd has not registered it yet, what it will be as far as
// DaemonSets look at it.
func (s *Subject) node(ctx context.Context) *corev1.Node {
	if s.Node.Object != nil {
		return s.Node.Object
	}
	name := cmp.Or(s.Node.Name, anyNode)
	labels := contract.NodeLabels(name, name)
	maps.Copy(labels, s.remoteLabels(ctx))
	maps.Copy(labels, s.Labels)
	for _, key := range []string{corev1.LabelOSStable, corev1.LabelArchStable} {
		if labels[key] == "" { // akd leaves it out
			delete(labels, key)
			continue
		}
		// The controller of nodes copies it to the label's former name.
		// https://github.com/kubernetes/kubernetes/blob/v1.37.1/pkg/controller/nodelifecycle/node_lifecycle_controller.go (labelReconcileInfo)
		labels["beta."+key] = labels[key]
	}
	return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}, Spec: corev1.NodeSpec{Taints: s.Taints}}
}

// remoteLabels are those on which the remote nodes agree, as install reads them. Who may
// not list them gets what akd assumes.
func (s *Subject) remoteLabels(ctx context.Context) map[string]string {
	nodes, err := s.Remote.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err == nil {
		if together := remotenodes.Of(nodes.Items, remotenodes.Placement{}); together.Labels != nil {
			return together.Labels
		}
	}
	return map[string]string{corev1.LabelOSStable: "linux", corev1.LabelArchStable: "amd64"}
}

// getsPod reports whether the DaemonSet controller creates a pod for the node. It creates
// none while it does not tolerate how the node is just now, which does not matter here: of
// the taints that remain, it tolerates none on its own account.
// https://github.com/kubernetes/kubernetes/blob/v1.37.1/pkg/controller/daemon/daemon_controller.go (NodeShouldRunDaemonPod)
func getsPod(ds *appsv1.DaemonSet, node *corev1.Node) bool {
	spec := &ds.Spec.Template.Spec
	if spec.NodeName != "" && spec.NodeName != node.Name {
		return false
	}
	// The controller ignores errors as well: a term that cannot be parsed matches nothing.
	fits, _ := nodeaffinity.NewRequiredNodeAffinity(spec.NodeSelector, spec.Affinity).Match(node)
	_, repelled := scheduling.FindMatchingUntoleratedTaint(logr.Discard(), node.Spec.Taints, spec.Tolerations, remotenodes.IsLasting, true)
	return fits && !repelled
}

// keepAway returns the strategic merge patch that keeps the DaemonSet's pods away from all
// nodes of akd, and leaves everything else as it is. A node has to match one term, so
// that each needs the requirement; a term without any matches no node, and would match
// all others with it. The patch replaces the list of terms, which is atomic.
func keepAway(ds *appsv1.DaemonSet) ([]byte, error) {
	away := corev1.NodeSelectorRequirement{Key: contract.LabelNode, Operator: corev1.NodeSelectorOpDoesNotExist}
	terms := []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{away}}}
	affinity := ds.Spec.Template.Spec.Affinity
	if affinity != nil && affinity.NodeAffinity != nil && affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution != nil {
		terms = nil
		for _, term := range affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms {
			if len(term.MatchExpressions)+len(term.MatchFields) > 0 {
				term.MatchExpressions = append(slices.Clone(term.MatchExpressions), away)
			}
			terms = append(terms, term)
		}
	}
	type object = map[string]any
	patch, err := json.Marshal(object{"spec": object{"template": object{"spec": object{"affinity": object{"nodeAffinity": object{
		"requiredDuringSchedulingIgnoredDuringExecution": corev1.NodeSelector{NodeSelectorTerms: terms},
	}}}}}})
	if err != nil {
		return nil, fmt.Errorf("write the patch for DaemonSet %s/%s: %w", ds.Namespace, ds.Name, err)
	}
	return patch, nil
}
