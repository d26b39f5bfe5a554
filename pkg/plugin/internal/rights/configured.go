package rights

import (
	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/config"
)

// Configure sets the values by which akd gets the rights that its configuration
// makes it need.
func Configure(values *manifests.Values, cfg *config.Configuration) {
	values.PodSecurity = string(cfg.Pods.PodSecurity)
	values.Placement.NodeSelector, values.Placement.Tolerations = cfg.Pods.NodeSelector, cfg.Pods.Tolerations
	values.Placement.RuntimeClass, values.Placement.PriorityClass = cfg.Pods.RuntimeClassName, cfg.Pods.PriorityClassName
	values.MirrorServices = cfg.Services == config.ServicesMirror
	values.Limits = manifests.Limits{
		ResourceQuota: len(cfg.Namespaces.ResourceQuota) > 0,
		LimitRange:    len(cfg.Namespaces.LimitRange) > 0,
		NetworkPolicy: cfg.Namespaces.NetworkPolicy.Enabled,
	}
}
