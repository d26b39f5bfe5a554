package install

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/failure"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/ranges"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/config"
)

// serviceChoice is how pods reach Services of the local cluster.
type serviceChoice struct {
	mode      config.ServicesMode
	ranges    []string // of service addresses
	endpoints []string // that copies may lead to
	mirror    string   // the node whose copies are shared
	reason    string   // why they are not mirrored
}

// String is the choice as the outcome of a step.
func (c *serviceChoice) String() string {
	switch c.mode {
	case config.ServicesNone:
		return "none: " + c.reason
	case config.ServicesShared:
		return "shared: node " + c.mirror + " mirrors them"
	case config.ServicesMirror:
	}
	return fmt.Sprintf("mirror %s; copies may lead to %s", strings.Join(c.ranges, ", "), strings.Join(c.endpoints, ", "))
}

// chooseServices decides whether Services are mirrored, and with which ranges,
// from what was found in the clusters, or from the error that kept it from being
// found. Only somebody who did not ask for mirroring goes without it, and is told
// why; a node that mirrors Services does not stop because of a problem, or because
// another administrator installs it again with fewer rights. current is what the
// installed node does, or empty.
func (o *nodeOptions) chooseServices(found *ranges.Found, current config.ServicesMode, err error) (serviceChoice, error) {
	requested := o.requestedServices()
	if requested == "" && current == config.ServicesMirror {
		requested = string(current)
		err = failure.Hintf(err,
			"node %s mirrors services, and goes on: install it with the right to read what that needs, or with --services=none", o.node)
	}
	if apierrors.IsForbidden(err) && requested == "" {
		return serviceChoice{mode: config.ServicesNone, reason: err.Error()}, nil
	}
	if err != nil {
		return serviceChoice{}, err
	}
	switch shared := requested == string(config.ServicesShared); {
	case found.Mirror != "" && (shared || requested == ""):
		return serviceChoice{mode: config.ServicesShared, mirror: found.Mirror}, nil
	case shared:
		err := errors.New("services cannot be shared: no other node of this local cluster mirrors them in the remote cluster")
		return serviceChoice{}, failure.Hintf(err, "install one with --services=mirror first, or this one")
	}
	choice := serviceChoice{
		mode:      config.ServicesMirror,
		ranges:    ranges.Strings(found.Local),
		endpoints: slices.Clone(o.endpointCIDRs),
	}
	problems := found.Problems()
	if len(choice.endpoints) > 0 { // the ranges of pods are not needed
		problems = slices.DeleteFunc(problems, func(p ranges.Problem) bool { return p == found.PodsUnknown })
	} else {
		choice.endpoints = ranges.Strings(found.Pods)
	}
	switch {
	case len(problems) == 0:
		choice.endpoints = append(choice.endpoints, ranges.Strings(found.Servers)...)
		return choice, nil
	case requested == "" && found.Object == "":
		return serviceChoice{mode: config.ServicesNone, reason: problems[0].What + "; " + problems[0].Fix}, nil
	default:
		err := errors.New("services cannot be mirrored: " + problems[0].What)
		return serviceChoice{}, failure.Hintf(err, "%s", problems[0].Fix)
	}
}

// currentServices is how the installed node's akd treats Services, according to its
// configuration, or empty if there is none.
func (o *nodeOptions) currentServices(ctx context.Context, both kubeclient.Clusters) (config.ServicesMode, error) {
	host := both.Local
	if o.runIn == manifests.RunInRemote {
		host = both.Remote
	}
	stored, err := host.Client.CoreV1().ConfigMaps(contract.SystemNamespace).Get(ctx, o.node, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
		return "", nil // who may not read it may not change it either: the review of rights says so
	}
	if err != nil {
		return "", fmt.Errorf("read akd's configuration: %w", err)
	}
	cfg, err := configurationIn(stored)
	if err != nil {
		return "", nil //nolint:nilerr // install writes it anew
	}
	return cfg.Services, nil
}

// configurationIn returns the configuration that an installed akd reads.
func configurationIn(stored *corev1.ConfigMap) (*config.Configuration, error) {
	return config.Decode("akd.yaml", []byte(stored.Data["akd.yaml"]), nil)
}

// sharing returns the nodes of the same local cluster that rely on a node's copies of
// Services, as far as the user may read configurations: it only warns.
func sharing(ctx context.Context, both kubeclient.Clusters, node string) []string {
	mirrors := false
	var nodes []string
	for _, c := range []*kubeclient.Cluster{both.Local, both.Remote} {
		if c == nil {
			continue
		}
		stored, err := c.Client.CoreV1().ConfigMaps(contract.SystemNamespace).List(ctx, metav1.ListOptions{LabelSelector: contract.LabelNodeName})
		if err != nil {
			continue
		}
		for i := range stored.Items {
			configMap := &stored.Items[i]
			if uid, remote := configMap.Labels[contract.LabelClusterUID]; remote && (both.Local == nil || uid != string(both.Local.UID)) {
				continue
			}
			cfg, err := configurationIn(configMap)
			switch {
			case err != nil:
			case cfg.NodeName == node:
				mirrors = mirrors || cfg.Services == config.ServicesMirror
			case cfg.Services == config.ServicesShared:
				nodes = append(nodes, cfg.NodeName)
			}
		}
	}
	if !mirrors {
		return nil
	}
	slices.Sort(nodes)
	return nodes
}

// needRanges is for where no cluster can be asked.
func needRanges(values *manifests.Values) error {
	if !values.MirrorServices || len(values.ServiceCIDRs) > 0 && len(values.EndpointCIDRs) > 0 {
		return nil
	}
	err := failure.Usagef("services: mirror needs --service-cidr, the local cluster's range of service addresses, " +
		"and --endpoint-cidr, the ranges of both clusters' pods and of the local API servers")
	return failure.Hintf(err, "give both: only install itself reads them from the clusters")
}
