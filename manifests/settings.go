package manifests

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// Placement is where and how the remote cluster runs the node's pods. The policies
// admit no other pods.
type Placement struct {
	// NodeSelector, Tolerations, RuntimeClass and PriorityClass are those of akd's
	// configuration.
	NodeSelector  map[string]string
	Tolerations   []corev1.Toleration
	RuntimeClass  string
	PriorityClass string
	// DefaultPriorityClass is the class that the remote cluster gives to pods that
	// name none; empty if there is none.
	DefaultPriorityClass string
	// NodeLabels, MoreTolerations and Schedulers are what the configuration lets pods choose.
	NodeLabels      []string
	MoreTolerations []corev1.Toleration
	Schedulers      []string
	// MoreRuntimeClasses and MorePriorityClasses are those of the remote cluster that pods
	// can have instead. An empty one is the default.
	MoreRuntimeClasses  []string
	MorePriorityClasses []string
	// RuntimeScheduling is what the remote cluster adds to pods of the runtime classes.
	RuntimeScheduling []nodev1.Scheduling
}

// RuntimeClasses returns all that pods can have, the default one as an empty name.
func (p *Placement) RuntimeClasses() []string {
	return distinct(append([]string{p.RuntimeClass}, p.MoreRuntimeClasses...))
}

// PriorityClasses returns all that pods can have, the default one as an empty name.
func (p *Placement) PriorityClasses() []string {
	return distinct(append([]string{p.PriorityClass}, p.MorePriorityClasses...))
}

func distinct(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}

// NamespaceMetadata are the labels and annotations of the node's remote namespaces,
// besides those by which they belong to it. The policies admit no others.
type NamespaceMetadata struct {
	// Labels and Annotations are those of akd's configuration: every namespace has them.
	Labels      map[string]string
	Annotations map[string]string
	// Allowed are the keys that namespaces may have with any value; see
	// CheckNamespaceKeys. Whoever has akd's credential can set them.
	Allowed []string
}

// CheckNamespaceKeys says what is wrong with the keys of labels and annotations that
// are allowed with any value. One that ends with * stands for all that begin so.
func CheckNamespaceKeys(keys []string) error {
	for _, given := range keys {
		key, isPrefix := strings.CutSuffix(given, "*")
		if isPrefix {
			key += "x"
		}
		switch {
		case contract.IsReservedKey(key):
			return fmt.Errorf("key %q: actual.vk, kubernetes.io and k8s.io are reserved, except app.kubernetes.io", given)
		case len(validation.IsQualifiedName(strings.ToLower(key))) > 0 || isPrefix && !strings.Contains(key, "/"):
			return fmt.Errorf("key %q: want a key such as example.com/name, or the beginning of keys with their prefix, such as example.com/*",
				given)
		}
	}
	return nil
}

// csiVolume is the prefix of a CSI driver in Values.Volumes.
const csiVolume = "csi/"

// VolumeKinds returns the kinds of volumes, as fields of a volume, that pods have
// only if they are installed: by them, a pod reaches storage with the identity of
// the remote cluster or of its nodes. Pods may always have volumes of the kinds
// configMap, secret, projected, downwardAPI, emptyDir and image, and hostPath where
// Pod Security admits it.
func VolumeKinds() []string {
	return []string{
		"awsElasticBlockStore", "azureDisk", "azureFile", "cephfs", "cinder", "fc", "flexVolume", "flocker", "gcePersistentDisk",
		"gitRepo", "iscsi", "nfs", "photonPersistentDisk", "portworxVolume", "quobyte", "rbd", "scaleIO", "storageos", "vsphereVolume",
	}
}

// CheckVolumes says what is wrong with the kinds of volumes to allow.
func CheckVolumes(kinds []string) error {
	for _, kind := range kinds {
		if driver, ok := strings.CutPrefix(kind, csiVolume); ok {
			if problems := validation.IsDNS1123Subdomain(strings.ToLower(driver)); len(problems) > 0 {
				return fmt.Errorf("CSI driver %q: %s", driver, strings.Join(problems, "; "))
			}
			continue
		}
		if !slices.Contains(VolumeKinds(), kind) {
			return fmt.Errorf("kind of volume %q: want csi/DRIVER, or one of %s", kind, strings.Join(VolumeKinds(), ", "))
		}
	}
	return nil
}

// Settings returns the annotations of the tenant's ServiceAccount, which are the
// parameter of the policies.
func (v *Values) Settings() map[string]string {
	placement, metadata := &v.Placement, &v.NamespaceMetadata
	priorities := placement.PriorityClasses()
	if slices.Contains(priorities, "") && placement.DefaultPriorityClass != "" {
		priorities = distinct(append(priorities, placement.DefaultPriorityClass))
	}
	var moreSelectors []string
	all := slices.Clone(placement.Tolerations)
	for _, scheduling := range placement.RuntimeScheduling {
		moreSelectors = append(moreSelectors, pairs(scheduling.NodeSelector)...)
		all = append(all, scheduling.Tolerations...)
	}
	lists := map[string][]string{
		contract.SettingPodSecurity:       v.AtLeast(),
		contract.SettingNamespaceLabels:   pairs(metadata.Labels),
		contract.SettingNamespaceMetadata: slices.Sorted(slices.Values(metadata.Allowed)),
		contract.SettingNodeSelector:      pairs(placement.NodeSelector),
		contract.SettingMoreNodeSelector:  distinct(moreSelectors),
		contract.SettingTolerations:       tolerations(all),
		contract.SettingMoreTolerations:   patterns(placement.MoreTolerations),
		contract.SettingNodeLabels:        slices.Sorted(slices.Values(placement.NodeLabels)),
		contract.SettingSchedulers:        slices.Sorted(slices.Values(placement.Schedulers)),
		contract.SettingPriorityClasses:   priorities,
		contract.SettingRuntimeClass:      placement.RuntimeClasses(),
		contract.SettingVolumes:           slices.Sorted(slices.Values(v.Volumes)),
	}
	if v.MirrorServices {
		lists[contract.SettingServiceCIDRs], lists[contract.SettingEndpointCIDRs] = v.ServiceCIDRs, v.EndpointCIDRs
	}
	if v.MirrorBudgets {
		lists[contract.SettingMaxUnevictable] = []string{strconv.Itoa(int(v.MaxUnevictable))}
	}
	if v.Storage.Enabled {
		lists[contract.SettingStorageClasses] = v.Storage.Classes
	}
	settings := map[string]string{}
	if annotations := pairs(metadata.Annotations); len(annotations) > 0 {
		settings[contract.SettingNamespaceAnnotations] = strings.Join(annotations, "\n")
	}
	for name, list := range lists {
		if text := strings.Join(list, ","); text != "" {
			settings[name] = text
		}
	}
	return settings
}

// pairs writes labels or annotations as the policies do.
func pairs(entries map[string]string) []string {
	var list []string
	for _, key := range slices.Sorted(maps.Keys(entries)) {
		list = append(list, key+"="+entries[key])
	}
	return list
}

// tolerations writes tolerations as the policy pods.actual.vk does.
func tolerations(given []corev1.Toleration) []string {
	var list []string
	for _, toleration := range given {
		seconds := ""
		if toleration.TolerationSeconds != nil {
			seconds = strconv.FormatInt(*toleration.TolerationSeconds, 10)
		}
		list = append(list, pattern(&toleration)+":"+seconds)
	}
	return list
}

// patterns writes tolerations of which pods may tolerate as much or less.
func patterns(given []corev1.Toleration) []string {
	var list []string
	for i := range given {
		list = append(list, pattern(&given[i]))
	}
	return list
}

func pattern(toleration *corev1.Toleration) string {
	operator := cmp.Or(toleration.Operator, corev1.TolerationOpEqual)
	return strings.Join([]string{toleration.Key, string(operator), toleration.Value, string(toleration.Effect)}, ":")
}
