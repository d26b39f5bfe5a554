package manifests

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
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
	// RuntimeScheduling is what the remote cluster adds to pods of RuntimeClass.
	RuntimeScheduling struct {
		NodeSelector map[string]string
		Tolerations  []corev1.Toleration
	}
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
	placement := &v.Placement
	priorities := []string{placement.PriorityClass}
	if placement.PriorityClass == "" && placement.DefaultPriorityClass != "" {
		priorities = append(priorities, placement.DefaultPriorityClass)
	}
	lists := map[string][]string{
		contract.SettingPodSecurity:      v.AtLeast(),
		contract.SettingNodeSelector:     selectors(placement.NodeSelector),
		contract.SettingMoreNodeSelector: selectors(placement.RuntimeScheduling.NodeSelector),
		contract.SettingTolerations:      tolerations(slices.Concat(placement.Tolerations, placement.RuntimeScheduling.Tolerations)),
		contract.SettingPriorityClasses:  priorities,
		contract.SettingRuntimeClass:     {placement.RuntimeClass},
		contract.SettingVolumes:          slices.Sorted(slices.Values(v.Volumes)),
	}
	if v.MirrorServices {
		lists[contract.SettingServiceCIDRs], lists[contract.SettingEndpointCIDRs] = v.ServiceCIDRs, v.EndpointCIDRs
	}
	settings := map[string]string{}
	for name, list := range lists {
		if text := strings.Join(list, ","); text != "" {
			settings[name] = text
		}
	}
	return settings
}

func selectors(labels map[string]string) []string {
	var list []string
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		list = append(list, key+"="+labels[key])
	}
	return list
}

// tolerations writes tolerations as the policy pods.actual.vk does.
func tolerations(given []corev1.Toleration) []string {
	var list []string
	for _, toleration := range given {
		operator, seconds := toleration.Operator, ""
		if operator == "" {
			operator = corev1.TolerationOpEqual
		}
		if toleration.TolerationSeconds != nil {
			seconds = strconv.FormatInt(*toleration.TolerationSeconds, 10)
		}
		list = append(list, strings.Join([]string{
			toleration.Key, string(operator), toleration.Value, string(toleration.Effect), seconds,
		}, ":"))
	}
	return list
}
