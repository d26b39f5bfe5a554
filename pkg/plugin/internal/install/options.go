package install

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/yaml"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/internal/remotenodes"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/failure"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/ranges"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/rights"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/config"
)

// nodeOptions describe a node to install and manifests.
type nodeOptions struct {
	node        string
	image       string
	runIn       string
	replicas    int32
	memoryLimit string
	podSecurity string
	unconfined  bool
	volumes     []string

	approveCertificates bool

	readNodes     bool
	readMetrics   bool
	networkPolicy bool
	quota         map[string]string
	limits        map[string]string

	namespaceLabels      []string // KEY=VALUE
	namespaceAnnotations []string // KEY=VALUE
	namespaceKeys        []string // with any value

	configFile  string
	localServer string
	capacity    map[string]string
	labels      map[string]string
	taints      []string

	services      string // mirror, shared, none, or empty: as the configuration says, or as the clusters allow
	serviceCIDRs  []string
	endpointCIDRs []string

	budgets        string // mirror, none, or empty: as the configuration says
	maxUnevictable int32  // 0: as the configuration says

	storage        string   // claims, none, or empty: as the configuration says, or as it is installed
	storageClasses []string // REMOTE[=LOCAL]
	defaultClass   string   // the local one, firstClass, or empty

	// clusterUID is that of the local cluster, once it is known.
	clusterUID string

	// Complete fills these in.
	content []byte         // of configFile
	fields  map[string]any // of content
	parsed  struct {
		capacity corev1.ResourceList
		quota    corev1.ResourceList
		limits   corev1.ResourceList
		taints   []corev1.Taint
		classes  []givenClass

		namespaceLabels, namespaceAnnotations map[string]string
	}
}

// discovered is what install reads from the clusters where options leave it open.
type discovered struct {
	policies  bool // the remote cluster serves those that confine akd
	nodes     remotenodes.Together
	services  string
	ranges    []string
	endpoints []string
	storage   storageChoice
}

// labels returns the labels of the node for what the remote nodes are. An operating system
// or architecture that they do not share is not left to akd, which knows only that of the
// remote API server.
func (d discovered) labels() map[string]string {
	if d.nodes.Labels == nil {
		return nil
	}
	labels := map[string]string{corev1.LabelOSStable: "", corev1.LabelArchStable: ""}
	maps.Copy(labels, d.nodes.Labels)
	return labels
}

// untrueLabels returns the labels that say what a node has, and that the user gives to this
// one although not all remote nodes have them.
func (o *nodeOptions) untrueLabels(found discovered) []string {
	var untrue []string
	for _, key := range remotenodes.SharedLabels() {
		value, given := o.labels[key]
		if agreed, ok := found.nodes.Labels[key]; given && found.nodes.Labels != nil && (!ok || agreed != value) {
			untrue = append(untrue, key+"="+value)
		}
	}
	return untrue
}

func (o *nodeOptions) addFlags(flags *pflag.FlagSet, version string) {
	flags.StringVar(&o.image, "image", "ghcr.io/actual-kubelets/akd:"+version, "image of akd")
	flags.StringVar(&o.runIn, "run-in", manifests.RunInLocal, "cluster that akd runs in: local or remote")
	flags.Int32Var(&o.replicas, "replicas", 1, "number of akd replicas; one is active, the others stand by")
	flags.StringVar(&o.memoryLimit, "memory-limit", "1Gi", "memory limit of each akd; GOMEMLIMIT is nine tenths of it")
	flags.StringVar(&o.podSecurity, "pod-security", "baseline",
		"weakest Pod Security level that remote namespaces may enforce: privileged, baseline or restricted")
	flags.BoolVar(&o.unconfined, "allow-unconfined-remote", false,
		"install even if the remote cluster has no admission policies, as before Kubernetes 1.30; "+
			"akd's credential then reaches every namespace of it")
	flags.StringSliceVar(&o.volumes, "allow-volume", nil,
		"kinds of volumes, such as nfs or csi/DRIVER, that pods may have in addition to those without an identity of the remote cluster")
	flags.BoolVar(&o.approveCertificates, "approve-certificates", false,
		"run an approver of akd's serving certificate in the local cluster, so that nobody has to approve it after akd has moved")
	flags.BoolVar(&o.readNodes, "read-nodes", false, "let akd list the remote nodes and follow their capacity, labels and features")
	flags.BoolVar(&o.readMetrics, "read-metrics", false, "let akd read the usage of its pods from the remote metrics API")
	flags.BoolVar(&o.networkPolicy, "network-policy", false,
		"let akd create a NetworkPolicy in each remote namespace that keeps out the pods of other nodes")
	flags.StringToStringVar(&o.quota, "resource-quota", nil,
		"let akd create a ResourceQuota in each remote namespace, for example pods=100,requests.cpu=20")
	flags.StringToStringVar(&o.limits, "limit-range", nil,
		"let akd create a LimitRange with these container defaults in each remote namespace, for example cpu=500m,memory=256Mi")
	flags.StringArrayVar(&o.namespaceLabels, "namespace-label", nil,
		"label of the node's remote namespaces, KEY=VALUE, for example one that a policy of the remote cluster demands; can be repeated")
	flags.StringArrayVar(&o.namespaceAnnotations, "namespace-annotation", nil, "annotation of these namespaces, KEY=VALUE; can be repeated")
	flags.StringSliceVar(&o.namespaceKeys, "allow-namespace-metadata", nil,
		"keys, such as example.com/project or example.com/*, of labels and annotations that webhooks of the remote cluster add to "+
			"these namespaces; akd may set them to any value")
	flags.StringVar(&o.configFile, "config", "", "file with akd's configuration, an AKDConfiguration; see docs/configuration.md")
	flags.StringVar(&o.localServer, "local-server", "",
		"HOST:PORT at which remote pods reach the local API server (default: the address that the local cluster publishes)")
	flags.StringToStringVar(&o.capacity, "capacity", nil,
		"capacity of the node, for example cpu=64,pods=500, in place of the sum of what the remote nodes that take its pods have")
	flags.StringToStringVar(&o.labels, "label", nil, "labels of the node, for example topology.kubernetes.io/zone=a")
	flags.StringArrayVar(&o.taints, "taint", nil, "taint that the node registers with, KEY=VALUE:EFFECT; can be repeated")
	flags.StringVar(&o.services, "services", "",
		"how pods reach Services of the local cluster: mirror (copies in the remote cluster), shared (the copies of another node "+
			"of the local cluster) or none (default: shared or mirror, if the clusters allow it)")
	flags.StringSliceVar(&o.serviceCIDRs, "service-cidr", nil,
		"ranges of the local cluster's service addresses (default: those of its ServiceCIDR objects)")
	flags.StringSliceVar(&o.endpointCIDRs, "endpoint-cidr", nil,
		"ranges that mirrored Services may lead to (default: the pod ranges of both clusters and the local API servers)")
	flags.StringVar(&o.budgets, "disruption-budgets", "",
		"what becomes of PodDisruptionBudgets when remote nodes are drained: mirror (copies in the remote cluster) or none (default: none)")
	flags.Int32Var(&o.maxUnevictable, "max-unevictable", 0,
		"number of pods that one mirrored PodDisruptionBudget may keep from being evicted (default: 10)")
	o.addStorageFlags(flags)
	for _, name := range []string{"resource-quota", "limit-range", "capacity", "label"} {
		flags.Lookup(name).DefValue = "" // an empty map is nothing to show as a default
	}
}

func (o *nodeOptions) addStorageFlags(flags *pflag.FlagSet) {
	flags.StringVar(&o.storage, "storage", "",
		"where the volumes of PersistentVolumeClaims are: claims (each local claim has one in the remote cluster) or none "+
			"(pods with claims are refused) (default: as the node is installed, otherwise none)")
	flags.StringArrayVar(&o.storageClasses, "storage-class", nil,
		"REMOTE[=LOCAL], a StorageClass of the remote cluster that claims can have in addition, and the name of the local StorageClass "+
			"that is created for it; can be repeated (default: the default one of the remote cluster, under its own name if that is free)")
	flags.StringVar(&o.defaultClass, "default-storage-class", "",
		"create the first of these local StorageClasses, or the one named so, as the default of the local cluster "+
			"(default: only if the local cluster has no StorageClass)")
	flags.Lookup("default-storage-class").NoOptDefVal = firstClass
}

// complete takes the arguments and reads what the flags name.
func (o *nodeOptions) complete(args []string) error {
	o.node = args[0]
	if o.configFile == "" {
		return nil
	}
	var err error
	if o.content, err = os.ReadFile(o.configFile); err != nil {
		return failure.Usagef("--config: %w", err)
	}
	if err := yaml.Unmarshal(o.content, &o.fields); err != nil {
		return failure.Usagef("--config %s: %w", o.configFile, err)
	}
	return nil
}

// validate checks what can be checked without a cluster.
func (o *nodeOptions) validate() error {
	if err := contract.CheckNodeName(o.node); err != nil {
		return failure.Usage(err)
	}
	if o.approveCertificates && o.runIn == manifests.RunInRemote {
		err := errors.New("--approve-certificates needs --run-in=local: in the remote cluster, its administrators would have the credential " +
			"of an approver, and with it certificates that the local cluster trusts")
		return failure.Usage(failure.Hintf(err, "leave it out, and run install again after akd has moved: it approves the certificate"))
	}
	if o.services != "" && !slices.Contains(config.ServicesMode("").Values(), o.services) {
		return failure.Usagef("--services %q: want mirror, shared or none", o.services)
	}
	if o.budgets != "" && o.budgets != string(config.BudgetsMirror) && o.budgets != string(config.BudgetsNone) {
		return failure.Usagef("--disruption-budgets %q: want mirror or none", o.budgets)
	}
	if o.maxUnevictable < 0 {
		return failure.Usagef("--max-unevictable %d: want 1 or more", o.maxUnevictable)
	}
	if err := o.validateStorage(); err != nil {
		return err
	}
	if err := o.parse(); err != nil {
		return err
	}
	_, err := o.values(discovered{policies: true}) // it may have them
	return err
}

// parse reads the flags that are more than text.
func (o *nodeOptions) parse() (err error) {
	for flag, given := range map[string][]string{"--service-cidr": o.serviceCIDRs, "--endpoint-cidr": o.endpointCIDRs} {
		if _, err := ranges.Parse(given); err != nil {
			return failure.Usagef("%s: %w", flag, err)
		}
	}
	if o.parsed.capacity, err = quantities("--capacity", o.capacity); err != nil {
		return err
	}
	if o.parsed.quota, err = quantities("--resource-quota", o.quota); err != nil {
		return err
	}
	if o.parsed.limits, err = quantities("--limit-range", o.limits); err != nil {
		return err
	}
	if o.parsed.namespaceLabels, err = pairs("--namespace-label", o.namespaceLabels); err != nil {
		return err
	}
	if o.parsed.namespaceAnnotations, err = pairs("--namespace-annotation", o.namespaceAnnotations); err != nil {
		return err
	}
	if o.parsed.classes, err = parseClasses(o.storageClasses); err != nil {
		return err
	}
	o.parsed.taints = nil
	for _, text := range o.taints {
		taint, err := config.ParseTaint(text)
		if err != nil {
			return failure.Usagef("--taint %q: %w", text, err)
		}
		o.parsed.taints = append(o.parsed.taints, taint)
	}
	return nil
}

// pairs reads the values of a flag such as --namespace-label. Annotations have commas.
func pairs(flag string, given []string) (map[string]string, error) {
	entries := map[string]string{}
	for _, text := range given {
		key, value, ok := strings.Cut(text, "=")
		if !ok {
			return nil, failure.Usagef("%s %q: want KEY=VALUE", flag, text)
		}
		if former, twice := entries[key]; twice && former != value {
			return nil, failure.Usagef("%s %s: found the values %q and %q; want one", flag, key, former, value)
		}
		entries[key] = value
	}
	return entries, nil
}

// quantities reads the value of a flag such as --capacity.
func quantities(flag string, given map[string]string) (corev1.ResourceList, error) {
	list := corev1.ResourceList{}
	for name, text := range given {
		quantity, err := resource.ParseQuantity(text)
		if err != nil {
			return nil, failure.Usagef("%s %s=%q: want a quantity such as 4, 500m or 16Gi", flag, name, text)
		}
		list[corev1.ResourceName(name)] = quantity
	}
	return list, nil
}

// requestedServices is what the user wants: mirror, none, or nothing in
// particular.
func (o *nodeOptions) requestedServices() string {
	if o.services != "" {
		return o.services
	}
	requested, _ := o.fields["services"].(string)
	return requested
}

// values is what the manifests are rendered with.
func (o *nodeOptions) values(found discovered) (manifests.Values, error) {
	edit := o.edit(found)
	name := o.configFile
	if name == "" {
		name = "akd's configuration"
	}
	cfg, err := config.Decode(name, o.content, edit)
	if err != nil {
		return manifests.Values{}, failure.Usage(err)
	}
	content, err := mergeConfiguration(o.fields, edit)
	if err != nil {
		return manifests.Values{}, err
	}
	if mode := cfg.KubeletAPI.Certificate.Mode; o.approveCertificates && mode != config.CertificateCSR {
		return manifests.Values{}, failure.Usagef("--approve-certificates: akd requests no certificate, because its configuration has "+
			"kubeletAPI.certificate.mode %s: leave out one of them", mode)
	}
	values := manifests.Values{
		Node:          o.node,
		ClusterUID:    o.clusterUID,
		Image:         o.image,
		RunIn:         o.runIn,
		Replicas:      o.replicas,
		MemoryLimit:   o.memoryLimit,
		Config:        content,
		ReadNodes:     o.readNodes,
		ReadMetrics:   o.readMetrics,
		ServiceCIDRs:  o.serviceCIDRs,
		EndpointCIDRs: o.endpointCIDRs,
		Volumes:       o.volumes,
		Unconfined:    o.unconfined && !found.policies,

		ApproveCertificates: o.approveCertificates,
	}
	rights.Configure(&values, cfg)
	values.NamespaceMetadata.Allowed = o.namespaceKeys
	values.Storage.Local = found.storage.create
	if found.storage.mode == "" && values.Storage.Enabled {
		if values.Storage.Local, err = o.unseenClasses(values.Storage.Classes); err != nil {
			return manifests.Values{}, err
		}
	}
	if len(found.ranges) > 0 {
		values.ServiceCIDRs, values.EndpointCIDRs = found.ranges, found.endpoints
	}
	if _, err := manifests.Local(values); err != nil {
		return manifests.Values{}, failure.Usage(err)
	}
	return values, nil
}

// edit is what flags and discoveries change in akd's configuration.
func (o *nodeOptions) edit(found discovered) func(*config.Configuration) {
	object := contract.SystemNamespace + "/" + o.node
	return func(cfg *config.Configuration) {
		cfg.APIVersion, cfg.Kind, cfg.NodeName = config.APIVersion, config.Kind, o.node
		cfg.LeaderElection.Lease = object
		cfg.Pods.PodSecurity = config.PodSecurityLevel(o.podSecurity)
		if o.runIn == manifests.RunInRemote {
			cfg.Local.Secret = object
		} else {
			cfg.Remote.Secret = object
		}
		if o.localServer != "" {
			cfg.Local.APIServer = o.localServer
		}
		if o.services != "" {
			cfg.Services = config.ServicesMode(o.services)
		} else if found.services != "" {
			cfg.Services = config.ServicesMode(found.services)
		}
		if o.budgets != "" {
			cfg.DisruptionBudgets = config.BudgetsMode(o.budgets)
		}
		if o.maxUnevictable > 0 {
			cfg.Limits.UnevictablePerBudget = o.maxUnevictable
		}
		o.editStorage(cfg, &found.storage)
		setAll(&cfg.Node.Capacity, found.nodes.Allocatable)
		setAll(&cfg.Node.Capacity, o.parsed.capacity)
		cfg.Node.DeclaredFeatures = found.nodes.Features
		setAll(&cfg.Node.Labels, found.labels())
		setAll(&cfg.Node.Labels, o.labels)
		if len(o.parsed.taints) > 0 {
			cfg.Node.Taints = o.parsed.taints
		}
		setAll(&cfg.Namespaces.Labels, o.parsed.namespaceLabels)
		setAll(&cfg.Namespaces.Annotations, o.parsed.namespaceAnnotations)
		setAll(&cfg.Namespaces.ResourceQuota, o.parsed.quota)
		if len(o.parsed.limits) > 0 {
			cfg.Namespaces.LimitRange = []corev1.LimitRangeItem{{Type: corev1.LimitTypeContainer, Default: o.parsed.limits}}
		}
		if o.networkPolicy {
			cfg.Namespaces.NetworkPolicy.Enabled = true
		}
	}
}

// setAll sets entries of a map, which may not exist yet.
func setAll[M ~map[K]V, K comparable, V any](into *M, entries M) {
	if len(entries) == 0 {
		return
	}
	if *into == nil {
		*into = M{}
	}
	maps.Copy(*into, entries)
}

// mergeConfiguration is the user's configuration with what edit sets, in YAML.
// It has no defaults: akd's own hold.
func mergeConfiguration(fields map[string]any, edit func(*config.Configuration)) (string, error) {
	var edited config.Configuration
	edit(&edited)
	set, err := asMap(&edited)
	if err != nil {
		return "", err
	}
	zero, err := asMap(&config.Configuration{})
	if err != nil {
		return "", err
	}
	content, err := yaml.Marshal(merge(fields, without(set, zero)))
	return string(content), err
}

func asMap(cfg *config.Configuration) (fields map[string]any, err error) {
	content, err := yaml.Marshal(cfg)
	if err != nil {
		return nil, fmt.Errorf("write akd's configuration: %w", err)
	}
	return fields, yaml.Unmarshal(content, &fields)
}
