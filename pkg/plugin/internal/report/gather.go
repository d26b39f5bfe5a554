package report

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/clock"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/check"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/output"
)

const (
	// maxLogBytes and maxLogLines are how much of the end of each log is kept.
	maxLogBytes = 5 << 20
	maxLogLines = 20000
	// maxObjects is how many objects of a list are kept.
	maxObjects = 1000
)

// gatherer collects the entries of a report.
type gatherer struct {
	node     string
	owner    contract.Owner
	entries  map[string]string // by name in the zip, not yet redacted
	objects  map[string][]unstructured.Unstructured
	notes    []string // what is missing, and why
	redactor *redactor
}

func newGatherer(owner contract.Owner) *gatherer {
	return &gatherer{
		node:     owner.Node,
		owner:    owner,
		entries:  map[string]string{},
		objects:  map[string][]unstructured.Unstructured{},
		redactor: newRedactor(),
	}
}

func (g *gatherer) note(format string, args ...any) {
	g.notes = append(g.notes, fmt.Sprintf(format, args...))
}

// cluster gathers objects, events and logs of one cluster.
func (g *gatherer) cluster(ctx context.Context, c *kubeclient.Cluster) error {
	g.redactor.addCredentials(c.Config)
	if err := g.list(ctx, c); err != nil {
		return err
	}
	return g.logs(ctx, c)
}

// listing is a list of objects in a report.
type listing struct {
	resource  schema.GroupVersionResource
	namespace string
	options   metav1.ListOptions
}

// listings returns the lists of objects that a report has of one cluster. In the
// remote one, other local clusters may have nodes of the same name.
func listings(side kubeclient.Side, owner contract.Owner) []listing {
	node := owner.Node
	ofNode := metav1.ListOptions{LabelSelector: contract.LabelNodeName + "=" + node, Limit: maxObjects}
	if side == kubeclient.Remote {
		ofNode.LabelSelector = labels.Set(owner.ObjectLabels()).String()
	}
	core := schema.GroupVersion{Version: "v1"}
	rbac := schema.GroupVersion{Group: "rbac.authorization.k8s.io", Version: "v1"}
	apps := schema.GroupVersion{Group: "apps", Version: "v1"}
	coordination := schema.GroupVersion{Group: "coordination.k8s.io", Version: "v1"}
	all := []listing{
		{core.WithResource("configmaps"), contract.SystemNamespace, ofNode},
		{core.WithResource("secrets"), contract.SystemNamespace, ofNode},
		{core.WithResource("serviceaccounts"), contract.SystemNamespace, ofNode},
		{core.WithResource("pods"), "", ofNode},
		{core.WithResource("events"), contract.SystemNamespace, metav1.ListOptions{Limit: maxObjects}},
		{core.WithResource("namespaces"), "", ofNode},
		{apps.WithResource("deployments"), contract.SystemNamespace, ofNode},
		{coordination.WithResource("leases"), contract.SystemNamespace, ofNode},
		{rbac.WithResource("roles"), "", ofNode},
		{rbac.WithResource("rolebindings"), "", ofNode},
		{rbac.WithResource("clusterroles"), "", ofNode},
		{rbac.WithResource("clusterrolebindings"), "", ofNode},
	}
	if side == kubeclient.Remote {
		admission := schema.GroupVersion{Group: "admissionregistration.k8s.io", Version: "v1"}
		networking := schema.GroupVersion{Group: "networking.k8s.io", Version: "v1"}
		return append(all,
			listing{admission.WithResource("validatingadmissionpolicies"), "", ofNode},
			listing{admission.WithResource("validatingadmissionpolicybindings"), "", ofNode},
			listing{networking.WithResource("servicecidrs"), "", ofNode},
		)
	}
	selected := func(selector string) metav1.ListOptions {
		return metav1.ListOptions{FieldSelector: selector + "=" + node, Limit: maxObjects}
	}
	return append(all,
		listing{core.WithResource("nodes"), "", selected("metadata.name")},
		listing{core.WithResource("pods"), "", selected("spec.nodeName")},
		listing{core.WithResource("events"), "", selected("involvedObject.name")},
	)
}

// list lists objects of one cluster, and the events of all pods among them.
func (g *gatherer) list(ctx context.Context, c *kubeclient.Cluster) error {
	namespaces := map[string]bool{}
	for i, listing := range listings(c.Side, g.owner) {
		found := g.find(ctx, c, listing)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if listing.resource.Resource == "pods" {
			for _, pod := range found {
				namespaces[pod.GetNamespace()] = true
			}
		}
		g.add(fmt.Sprintf("%s/%02d-%s.yaml", c.Side, i+1, listing.resource.Resource), found)
	}
	for _, namespace := range slices.Sorted(maps.Keys(namespaces)) {
		events := g.find(ctx, c, listing{
			resource:  schema.GroupVersionResource{Version: "v1", Resource: "events"},
			namespace: namespace,
			options:   metav1.ListOptions{FieldSelector: "involvedObject.kind=Pod", Limit: maxObjects},
		})
		g.add(fmt.Sprintf("%s/events-%s.yaml", c.Side, namespace), events)
	}
	return ctx.Err()
}

// add adds an entry with objects, unless there are none.
func (g *gatherer) add(name string, objects []unstructured.Unstructured) {
	if len(objects) > 0 {
		g.objects[name] = objects
		g.redactor.learn(objects)
	}
}

// find lists objects, or notes why it cannot.
func (g *gatherer) find(ctx context.Context, c *kubeclient.Cluster, l listing) []unstructured.Unstructured {
	found, err := c.Dynamic.Resource(l.resource).Namespace(l.namespace).List(ctx, l.options)
	if apierrors.IsNotFound(err) {
		return nil // the cluster does not have this kind
	}
	if err != nil {
		g.note("%s %s: %s", c.Side, l.resource.Resource, err)
		return nil
	}
	if found.GetContinue() != "" {
		g.note("%s %s beyond the first %d", c.Side, l.resource.Resource, maxObjects)
	}
	return found.Items
}

// logs gathers the logs of akd's pods in one cluster, and of their containers
// before the last restart.
func (g *gatherer) logs(ctx context.Context, c *kubeclient.Cluster) error {
	client := c.Client.CoreV1().Pods(contract.SystemNamespace)
	akds, err := client.List(ctx, kubeclient.AKDPods(g.node))
	if err != nil {
		g.note("%s logs of akd: %s", c.Side, err)
		return ctx.Err()
	}
	for i := range akds.Items {
		pod := &akds.Items[i]
		if c.Side == kubeclient.Remote && pod.Labels[contract.LabelClusterUID] != string(g.owner.ClusterUID) {
			continue
		}
		g.log(ctx, c, pod.Name, false)
		if slices.ContainsFunc(pod.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool { return s.RestartCount > 0 }) {
			g.log(ctx, c, pod.Name, true)
		}
	}
	return ctx.Err()
}

// log gathers one log, or notes why it cannot.
func (g *gatherer) log(ctx context.Context, c *kubeclient.Cluster, pod string, previous bool) {
	content, err := c.Client.CoreV1().Pods(contract.SystemNamespace).GetLogs(pod, &corev1.PodLogOptions{
		Previous:   previous,
		LimitBytes: new(int64(maxLogBytes)),
		TailLines:  new(int64(maxLogLines)),
	}).DoRaw(ctx)
	if err != nil {
		g.note("log of %s pod %s: %s", c.Side, pod, err)
		return
	}
	name := fmt.Sprintf("%s/logs/%s.log", c.Side, pod)
	if previous {
		name = fmt.Sprintf("%s/logs/%s-previous.log", c.Side, pod)
	}
	g.entries[name] = string(content)
}

// checks makes the checks. It leaves out the probe pod: a report changes nothing.
func (g *gatherer) checks(ctx context.Context, both kubeclient.Clusters, version string) error {
	var live strings.Builder
	results := check.Run(ctx, check.All(), check.Subject{
		Clusters: both,
		Commands: both.Commands(),
		Node:     check.Node{Name: g.node},
		Version:  version,
		Clock:    clock.RealClock{},
	}, output.Plain(&live))
	content, err := output.YAML(map[string]any{"apiVersion": output.SchemaVersion, "kind": "CheckList", "items": results})
	if err != nil {
		return fmt.Errorf("encode the results of the checks: %w", err)
	}
	g.entries["check.txt"] = live.String() + "\n" + check.Tally(results) + "\n"
	g.entries["check.yaml"] = string(content)
	return ctx.Err()
}
