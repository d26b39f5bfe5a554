package rights

import (
	"cmp"
	"maps"
	"slices"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/config"
)

// Configure sets the values by which akd gets the rights that its configuration
// makes it need.
func Configure(values *manifests.Values, cfg *config.Configuration) {
	values.PodSecurity = string(cfg.Pods.PodSecurity)
	values.NamespaceMetadata.Labels, values.NamespaceMetadata.Annotations = cfg.Namespaces.Labels, cfg.Namespaces.Annotations
	values.Placement.NodeSelector, values.Placement.Tolerations = cfg.Pods.NodeSelector, cfg.Pods.Tolerations
	values.Placement.RuntimeClass, values.Placement.PriorityClass = cfg.Pods.RuntimeClassName, cfg.Pods.PriorityClassName
	placement := &cfg.Pods.Placement
	values.Placement.NodeLabels, values.Placement.MoreTolerations = placement.NodeLabels, placement.Tolerations
	values.Placement.Schedulers = placement.Schedulers
	values.Placement.MoreRuntimeClasses = slices.Collect(maps.Values(placement.RuntimeClasses))
	values.Placement.MorePriorityClasses = slices.Collect(maps.Values(placement.PriorityClasses))
	values.Hostname, values.Signer = cmp.Or(cfg.Node.Hostname, cfg.NodeName), cfg.KubeletAPI.Certificate.Signer
	values.MirrorServices = cfg.Services == config.ServicesMirror
	values.MirrorBudgets = cfg.DisruptionBudgets == config.BudgetsMirror
	values.MaxUnevictable = cfg.Limits.UnevictablePerBudget
	values.Storage = manifests.Storage{Enabled: cfg.Storage.Mode == config.StorageClaims, Classes: cfg.Storage.Classes}
	values.Limits = manifests.Limits{
		ResourceQuota: len(cfg.Namespaces.ResourceQuota) > 0,
		LimitRange:    len(cfg.Namespaces.LimitRange) > 0,
		NetworkPolicy: cfg.Namespaces.NetworkPolicy.Enabled,
	}
}
