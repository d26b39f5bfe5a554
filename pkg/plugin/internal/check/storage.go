package check

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/storage"
)

func storageChecks() []Check {
	installed := []string{"node-installed"}
	return []Check{
		{
			ID:      "storage-driver",
			Title:   "the local cluster knows the driver of volumes",
			Needs:   installed,
			examine: storageDriver,
		},
		{
			ID:      "storage-classes",
			Title:   "every StorageClass of the node has one in the remote cluster",
			Needs:   installed,
			examine: storageClasses,
		},
		{
			ID:      "volumes",
			Title:   "no volume has lost its remote claim",
			Needs:   installed,
			examine: volumes,
		},
		{
			ID:      "orphaned-volumes",
			Title:   "a local volume leads to every remote claim of the node",
			Needs:   installed,
			examine: orphanedVolumes,
		},
	}
}

// noStorage skips checks of a node that is not to have volumes.
func noStorage() Finding { return skipped("akd is configured with storage.mode: none") }

// storageDriver looks for the CSIDriver. Without it, Kubernetes waits for a volume to be
// attached, which nobody does.
// https://kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/csi-driver-v1/
func storageDriver(ctx context.Context, s *Subject) Finding {
	if !s.Node.Values.Storage.Enabled {
		return noStorage()
	}
	driver, err := s.Local.Client.StorageV1().CSIDrivers().Get(ctx, contract.StorageDriver, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return failed(s.installCommand(),
			"there is no CSIDriver %s: pods with volumes wait for an attachment that nobody makes", contract.StorageDriver)
	case err != nil:
		return unknown(err)
	case ptr.Deref(driver.Spec.AttachRequired, true):
		return failed(s.Commands.Kubectl(kubeclient.Local, "delete", "csidriver", contract.StorageDriver)+"\n"+s.installCommand(),
			"CSIDriver %s has attachRequired: true: pods with volumes wait for an attachment that nobody makes", contract.StorageDriver)
	default:
		return ok("CSIDriver %s", contract.StorageDriver)
	}
}

// storageClasses compares the local StorageClasses of the node with what it was installed
// with, and with the remote ones.
func storageClasses(ctx context.Context, s *Subject) Finding {
	if !s.Node.Values.Storage.Enabled {
		return noStorage()
	}
	classes, err := storage.Classes(ctx, s.Local, s.Node.Name)
	if err != nil {
		return unknown(err)
	}
	remote := map[string]*storagev1.StorageClass{}
	for _, name := range s.Node.Values.Storage.Classes {
		class, err := s.Remote.Client.StorageV1().StorageClasses().Get(ctx, name, metav1.GetOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return unknown(err)
		}
		if err == nil {
			remote[name] = class
		}
	}
	return judgeClasses(s, classes, remote)
}

// judgeClasses takes the remote classes that the node was installed with, as far as they
// exist.
func judgeClasses(s *Subject, classes []storagev1.StorageClass, remote map[string]*storagev1.StorageClass) Finding {
	if len(classes) == 0 {
		return warning(s.installCommand("--storage=claims"), "there is none: no claim can choose the node")
	}
	var details []string
	var finding *Finding
	for i := range classes {
		class := &classes[i]
		judged := judgeClass(s, class, remote)
		details = append(details, class.Name+": "+judged.Found)
		if worse(&judged, finding) {
			judged.Found = fmt.Sprintf("%s: %s", class.Name, judged.Found)
			finding = &judged
		}
	}
	if finding == nil {
		finding = new(ok("%s", strings.Join(details, "; ")))
	}
	finding.Details = details
	return *finding
}

// worse reports whether a finding is the first one that is not ok, or the first failure.
func worse(finding, than *Finding) bool {
	return finding.Level != LevelOK && (than == nil || finding.Level == LevelFailed && than.Level != LevelFailed)
}

func judgeClass(s *Subject, class *storagev1.StorageClass, remote map[string]*storagev1.StorageClass) Finding {
	name := class.Parameters[contract.ParameterRemoteClass]
	patch := func(patch string) string {
		return s.Commands.Kubectl(kubeclient.Local, "patch", "storageclass", class.Name, "-p", patch)
	}
	switch {
	case name == "":
		return failed("delete it, and have install make it: "+s.installCommand("--storage=claims"),
			"it has no parameter %s: akd provisions no claim of it", contract.ParameterRemoteClass)
	case !slices.Contains(s.Node.Values.Storage.Classes, name):
		return failed(s.installCommand("--storage-class="+name), "it names the remote class %s, which the node was not installed with", name)
	case remote[name] == nil:
		return failed("make one, or delete the local one; what there is: "+s.Commands.Kubectl(kubeclient.Remote, "get", "storageclasses"),
			"it names the remote class %s, which the remote cluster does not have", name)
	case isImmediate(class) && !namesOneNode(class):
		return failed("replace it by one with volumeBindingMode WaitForFirstConsumer, or with the node alone in allowedTopologies",
			"its volumeBindingMode is Immediate, and it is not for one node: akd provisions no claim of it")
	case ptr.Deref(class.AllowVolumeExpansion, false) && !ptr.Deref(remote[name].AllowVolumeExpansion, false):
		return warning(patch(`{"allowVolumeExpansion":false}`), "it allows expansion, and the remote class %s does not", name)
	}
	mode := storagev1.VolumeBindingImmediate
	if remote[name].VolumeBindingMode != nil {
		mode = *remote[name].VolumeBindingMode
	}
	growth := "no expansion"
	if ptr.Deref(class.AllowVolumeExpansion, false) {
		growth = "expansion"
	}
	return ok("remote class %s (%s, %s)", name, mode, growth)
}

func isImmediate(class *storagev1.StorageClass) bool {
	return ptr.Deref(class.VolumeBindingMode, storagev1.VolumeBindingImmediate) == storagev1.VolumeBindingImmediate
}

// namesOneNode reports whether volumes of a class can be on one node only.
func namesOneNode(class *storagev1.StorageClass) bool {
	return len(class.AllowedTopologies) == 1 && slices.ContainsFunc(class.AllowedTopologies[0].MatchLabelExpressions,
		func(r corev1.TopologySelectorLabelRequirement) bool {
			return r.Key == contract.LabelNodeName && len(r.Values) == 1
		})
}

// volumes looks for volumes whose data is gone.
func volumes(ctx context.Context, s *Subject) Finding {
	all, finding := s.volumes(ctx)
	if finding != nil {
		return *finding
	}
	return judgeVolumes(s, all, storage.Lost, LevelFailed)
}

// orphanedVolumes looks for data that nobody can reach.
func orphanedVolumes(ctx context.Context, s *Subject) Finding {
	all, finding := s.volumes(ctx)
	if finding != nil {
		return *finding
	}
	return judgeVolumes(s, all, storage.Orphan, LevelWarning)
}

// volumes returns the volumes of the node, or why they cannot be judged.
func (s *Subject) volumes(ctx context.Context) ([]storage.Volume, *Finding) {
	all, err := storage.List(ctx, s.Clusters, s.Node.Name)
	switch {
	case err != nil:
		return nil, new(unknown(err))
	case !s.Node.Values.Storage.Enabled && len(all) == 0:
		return nil, new(noStorage())
	case !s.Node.Values.Storage.Enabled && s.Node.AKD != nil:
		return nil, new(warning(s.installCommand("--storage=claims"),
			"the node has volumes (%s), and akd is configured with storage.mode: none: pods that use them are refused",
			storage.Count(all, s.Node.Name)))
	}
	return all, nil
}

// judgeVolumes tells of the volumes in a state that should not be.
func judgeVolumes(s *Subject, all []storage.Volume, bad storage.State, level Level) Finding {
	finding := ok("%s", storage.Count(all, s.Node.Name))
	for i := range all {
		v := &all[i]
		if v.State != bad {
			continue
		}
		if finding.Level == LevelOK {
			finding = Finding{Level: level, Found: v.Sentence(), Fix: v.Fix(s.Commands)}
		}
		finding.Details = append(finding.Details, v.Sentence())
	}
	if len(finding.Details) > 1 {
		finding.Found = fmt.Sprintf("%d of %d: %s", len(finding.Details), len(all), finding.Found)
	}
	return finding
}
