package check

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/rights"
)

// namespacesAdmitted asks, in a dry run, for a namespace as akd creates it: as akd, or, if
// none is installed, as the user.
func namespacesAdmitted(ctx context.Context, s *Subject) Finding {
	if s.Node.AKD == nil {
		return admittedBeforeInstall(ctx, s)
	}
	err := rights.TryNamespace(ctx, s.Remote, s.owner(), &s.Node.Values)
	switch {
	case err == nil:
		return ok("")
	case errors.Is(err, kubeclient.ErrMayNotActAsAKD):
		return skipped("your user may not %s of the remote cluster", rights.ToActAsAKD(s.Remote))
	case !rights.IsDenied(err):
		return unknown(err)
	}
	return failed(onRefusedNamespace(s), "no new local namespace gets a remote one: %s", err)
}

// onRefusedNamespace is how to fix the refusal of a namespace.
func onRefusedNamespace(s *Subject) string {
	return "if the remote cluster demands labels or annotations of namespaces, or adds some: " +
		s.installCommand("--namespace-label=KEY=VALUE", "--namespace-annotation=KEY=VALUE", "--allow-namespace-metadata=KEY")
}

// admittedBeforeInstall finds out what install has to be told. The user's request need not
// be judged as akd's would be, and a flag may help: nothing here is a failure.
func admittedBeforeInstall(ctx context.Context, s *Subject) Finding {
	owner := contract.Owner{Node: cmp.Or(s.Node.Name, anyNode), ClusterUID: s.Local.UID}
	requested, stored, err := rights.ProbeNamespace(ctx, s.Remote, owner, &manifests.Values{PodSecurity: "baseline"})
	switch {
	case apierrors.IsAlreadyExists(err):
		return ok("")
	case rights.IsDenied(err):
		return warning(onRefusedNamespace(s), "a namespace such as akd's is refused: %s", err)
	case err != nil:
		return unknown(err)
	}
	return judgeAdded(s, map[string][]string{
		"label":      added(requested.Labels, stored.Labels),
		"annotation": added(requested.Annotations, stored.Annotations),
	})
}

// judgeAdded says how install allows what admission adds, KEY=VALUE by kind.
func judgeAdded(s *Subject, all map[string][]string) Finding {
	var found, fixes, fixed, keys []string
	for _, kind := range []string{"label", "annotation"} {
		for _, pair := range all[kind] {
			found = append(found, kind+" "+pair)
			key, _, _ := strings.Cut(pair, "=")
			if contract.IsReservedKey(key) {
				fixes = append(fixes, "exempt the namespaces with label "+contract.LabelNodeName+" from what adds "+key)
				continue
			}
			keys, fixed = append(keys, key), append(fixed, "--namespace-"+kind+"="+pair)
		}
	}
	if len(found) == 0 {
		return ok("")
	}
	if len(keys) > 0 {
		fixes = append(fixes, "if the values are always the same: "+s.installCommand(fixed...),
			"otherwise: "+s.installCommand("--allow-namespace-metadata="+strings.Join(keys, ",")))
	}
	return warning(strings.Join(fixes, "\n"),
		"the remote cluster adds to namespaces, and akd's policies would refuse: %s", strings.Join(found, ", "))
}

// added returns the KEY=VALUE that admission has added or changed, except those that
// every cluster adds, or that akd's policies admit.
func added(requested, stored map[string]string) []string {
	const audit, warn = "pod-security.kubernetes.io/audit", "pod-security.kubernetes.io/warn"
	harmless := []string{corev1.LabelMetadataName, audit, audit + "-version", warn, warn + "-version"}
	var pairs []string
	for _, key := range slices.Sorted(maps.Keys(stored)) {
		former, was := requested[key]
		if !slices.Contains(harmless, key) && (!was || former != stored[key]) {
			pairs = append(pairs, key+"="+stored[key])
		}
	}
	return pairs
}
