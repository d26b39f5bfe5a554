package check

import (
	"context"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/inspect"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/ranges"
)

func podChecks() []Check {
	clusters := []string{"local-reachable", "remote-reachable", "clusters-distinct"}
	installed := []string{"node-installed"}
	return []Check{
		{
			ID:      "remote-pods-reach-local",
			Title:   "pods in the remote cluster reach the local API server",
			Early:   true,
			Needs:   clusters,
			Timeout: probeTimeout,
			examine: remotePodsReachLocal,
		},
		{
			ID:      "services",
			Title:   "Services of the local cluster can be mirrored",
			Early:   true,
			Needs:   clusters,
			examine: services,
		},
		{
			ID:      "daemonsets",
			Title:   "no DaemonSets put pods on the node",
			Early:   true,
			Needs:   clusters,
			examine: daemonSets,
		},
		{
			ID:      "orphaned-namespaces",
			Title:   "every remote namespace of the node has a local one",
			Needs:   installed,
			examine: orphanedNamespaces,
		},
		{
			ID:      "pods-scheduled",
			Title:   "the remote scheduler finds a node for every pod",
			Needs:   installed,
			examine: podsScheduled,
		},
		{
			ID:      "pods-start",
			Title:   "nothing else keeps pods of the node from starting",
			Needs:   installed,
			examine: podsStart,
		},
	}
}

// services says whether Services are mirrored, or could be.
func services(ctx context.Context, s *Subject) Finding {
	if s.Node.AKD != nil && !s.Node.SharesServices && !s.Node.Values.MirrorServices {
		return skipped("akd is configured with services: none")
	}
	found, err := ranges.Find(ctx, s.Clusters, s.Node.Name, nil)
	if err != nil {
		return unknown(err)
	}
	switch {
	case s.Node.SharesServices && found.Mirror == "":
		return failed(s.installCommand("--services=mirror"),
			"the node shares the copies of Services of another node, and no other node of this local cluster mirrors them any more")
	case s.Node.SharesServices, s.Node.AKD == nil && found.Mirror != "":
		return ok("node %s mirrors them", found.Mirror)
	}
	return judgeRanges(s, &found)
}

func judgeRanges(s *Subject, found *ranges.Found) Finding {
	mirrors := s.Node.Values.MirrorServices
	if problems := found.Problems(); len(problems) > 0 {
		if mirrors {
			return failed(problems[0].Fix, "%s", problems[0].What)
		}
		return warning(problems[0].Fix, "%s", problems[0].What)
	}
	local := strings.Join(ranges.Strings(found.Local), ", ")
	switch {
	case !mirrors:
		return ok("%s is free in the remote cluster", local)
	case found.Object == "" || len(found.Missing) > 0:
		return failed(s.installCommand(), "the remote cluster has no ServiceCIDR with %s for the node",
			strings.Join(ranges.Strings(found.Missing), ", "))
	case !found.Ready:
		return failed(s.Commands.Kubectl(kubeclient.Remote, "describe", "servicecidr", found.Object), "ServiceCIDR %s is not ready", found.Object)
	case len(found.Colliding) > 0:
		return warning("recreate these Services with other addresses in the remote cluster",
			"Services of the remote cluster itself have addresses in %s, so local Services with the same addresses cannot be mirrored: %s",
			local, strings.Join(found.Colliding, ", "))
	default:
		return ok("%s, by ServiceCIDR %s", local, found.Object)
	}
}

// orphanedNamespaces compares the node's remote namespaces with the local ones
// and with akd's record.
func orphanedNamespaces(ctx context.Context, s *Subject) Finding {
	locals, err := s.Local.Client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
	if err != nil {
		return unknown(err)
	}
	remotes, err := s.Remote.Client.CoreV1().Namespaces().List(ctx,
		metav1.ListOptions{LabelSelector: labels.Set(s.owner().ObjectLabels()).String()})
	if err != nil {
		return unknown(err)
	}
	return judgeNamespaces(s, locals.Items, remotes.Items)
}

func judgeNamespaces(s *Subject, locals, remotes []corev1.Namespace) Finding {
	var orphans, unrecorded []string
	for i := range remotes {
		remote := &remotes[i]
		if remote.DeletionTimestamp != nil {
			continue
		}
		local := remote.Labels[contract.LabelNamespace]
		if !slices.ContainsFunc(locals, func(n corev1.Namespace) bool { return n.Name == local }) {
			orphans = append(orphans, remote.Name)
		}
		if _, recorded := s.Node.Record[remote.Name]; !recorded {
			unrecorded = append(unrecorded, remote.Name)
		}
	}
	paused := s.Node.condition(contract.ConditionOrphanDeletionPaused)
	switch {
	case len(orphans) > 0:
		return warning("wait a few minutes for akd to delete them; if it does not, delete those whose pods nobody needs: "+s.remotePodsCommand(),
			"%d of %d have no local namespace: %s", len(orphans), len(remotes), strings.Join(orphans, ", "))
	case len(unrecorded) > 0 && s.Node.AKD != nil:
		return warning(s.hostCommand("rollout", "restart", "deployment", s.Node.Name, "-n", contract.SystemNamespace),
			"akd's record, ConfigMap %s/%s of the remote cluster, lacks: %s",
			contract.SystemNamespace, contract.RecordName(s.Node.Name), strings.Join(unrecorded, ", "))
	case paused != nil && paused.Status == corev1.ConditionTrue:
		return failed("delete the remote pods that nobody needs: "+s.remotePodsCommand(), "%s", paused.Message)
	default:
		return ok("%d of %d", len(remotes), len(remotes))
	}
}

// podsScheduled looks for pods for which the remote scheduler finds no node.
func podsScheduled(ctx context.Context, s *Subject) Finding {
	pods, err := inspect.PodsOf(ctx, s.Local, s.Node.Name)
	if err != nil {
		return unknown(err)
	}
	pending := inspect.PendingOf(pods, s.Node.Name, s.Clock.Now(), inspect.PendingBound)
	if len(pending.Pods) == 0 {
		return ok("%d of %d", len(pods), len(pods))
	}
	finding := warning(pending.Fix(s.Commands), "%s", pending.What(len(pods)))
	for i := range pending.Pods {
		finding.Details = append(finding.Details, pending.Pods[i].Why())
	}
	return finding
}

// podsStart looks for pods that akd cannot run.
func podsStart(ctx context.Context, s *Subject) Finding {
	pods, err := inspect.PodsOf(ctx, s.Local, s.Node.Name)
	if err != nil {
		return unknown(err)
	}
	held := inspect.Held(pods, s.Node.Name)
	if len(held) == 0 {
		return ok("")
	}
	finding := warning(held[0].Look(s.Commands), "%d of %d cannot: %s", len(held), len(pods), held[0].Why())
	for i := range held {
		finding.Details = append(finding.Details, held[i].Why())
	}
	return finding
}
