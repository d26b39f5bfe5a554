package storage

import (
	"bytes"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/kubernetes/fake"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/internal/volume"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/command"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/output"
)

// The clusters of these tests: the volume of claim shop/data, on node vk.
const (
	here, there = "here", "there" // UIDs of the clusters
	node, shop  = "vk", "shop"
	claimUID    = "4f1c"
	name        = "pvc-" + claimUID // of the volume, and of the remote claim
	remoteUID   = "r0"
)

func place() string { return contract.RemoteNamespace(node, shop) }

func owner() contract.Owner { return contract.Owner{Node: node, ClusterUID: here} }

// clusters have the given objects. The remote one has the namespace of shop.
func clusters(local, remote []runtime.Object) kubeclient.Clusters {
	remote = append(remote, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: place(), Labels: owner().NamespaceLabels(shop)}})
	access := kubeclient.NewAccess(func(string) string { return "" })
	return kubeclient.Clusters{
		Local:  &kubeclient.Cluster{Side: kubeclient.Local, UID: here, Client: fake.NewClientset(local...), Commands: access.Commands()},
		Remote: &kubeclient.Cluster{Side: kubeclient.Remote, UID: there, Client: fake.NewClientset(remote...), Commands: access.Commands()},
	}
}

func localOnly(both kubeclient.Clusters) kubeclient.Clusters {
	return kubeclient.Clusters{Local: both.Local}
}

// pv is the local volume, with changes.
func pv(phase corev1.PersistentVolumePhase, changes ...func(*corev1.PersistentVolume)) *corev1.PersistentVolume {
	made := volume.New(volume.Spec{
		Node:        node,
		Remote:      volume.Remote{Namespace: place(), Claim: name, UID: remoteUID, ClusterUID: there},
		Claim:       volume.Claim{Namespace: shop, Name: "data", UID: claimUID},
		Class:       "standard",
		AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		Capacity:    resource.MustParse("1Gi"),
		Reclaim:     corev1.PersistentVolumeReclaimRetain,
	})
	made.UID, made.Status.Phase = "pv", phase
	for _, change := range changes {
		change(made)
	}
	return made
}

func policyDelete(pv *corev1.PersistentVolume) {
	pv.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimDelete
}

// localClaim is the local claim, bound to the volume of that name, if any.
func localClaim(uid types.UID, bound string, conditions ...corev1.PersistentVolumeClaimCondition) *corev1.PersistentVolumeClaim {
	return &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: shop,
			Name:      "data",
			UID:       uid,
			Annotations: map[string]string{
				volume.AnnotationProvisioner:  contract.StorageDriver,
				volume.AnnotationSelectedNode: node,
			},
		},
		Spec: corev1.PersistentVolumeClaimSpec{
			VolumeName:       bound,
			StorageClassName: new("standard"),
			Resources:        corev1.VolumeResourceRequirements{Requests: size("1Gi")},
		},
		Status: corev1.PersistentVolumeClaimStatus{Conditions: conditions},
	}
}

func size(text string) corev1.ResourceList {
	return corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(text)}
}

// told is what akd tells of the remote claim.
func told(status corev1.ConditionStatus, reason string) corev1.PersistentVolumeClaimCondition {
	return corev1.PersistentVolumeClaimCondition{Type: contract.ConditionRemoteBound, Status: status, Reason: reason, Message: "as akd says"}
}

// remoteClaim is the committed remote claim, with changes.
func remoteClaim(phase corev1.PersistentVolumeClaimPhase, changes ...func(*corev1.PersistentVolumeClaim)) *corev1.PersistentVolumeClaim {
	claim := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:   place(),
			Name:        name,
			UID:         remoteUID,
			Labels:      owner().Labels(shop, claimUID),
			Annotations: map[string]string{contract.AnnotationClaim: "data", contract.AnnotationVolume: "pv"},
		},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes:      []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			StorageClassName: new("ssd"),
			Resources:        corev1.VolumeResourceRequirements{Requests: size("1Gi")},
		},
		Status: corev1.PersistentVolumeClaimStatus{Phase: phase},
	}
	if phase == corev1.ClaimBound {
		claim.Spec.VolumeName, claim.Status.Capacity = "remote-volume", size("2Gi")
	}
	for _, change := range changes {
		change(claim)
	}
	return claim
}

func restored(claim *corev1.PersistentVolumeClaim) { claim.UID = "r1" }

func uncommitted(claim *corev1.PersistentVolumeClaim) {
	delete(claim.Annotations, contract.AnnotationVolume)
}

func terminating(claim *corev1.PersistentVolumeClaim) {
	claim.DeletionTimestamp, claim.Finalizers = new(metav1.Now()), []string{"kubernetes.io/pvc-protection"}
}

// remotePod uses the remote claim.
func remotePod(pod, onNode string, phase corev1.PodPhase) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: place(), Name: pod},
		Spec: corev1.PodSpec{NodeName: onNode, Volumes: []corev1.Volume{{VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: name},
		}}}},
		Status: corev1.PodStatus{Phase: phase},
	}
}

func class(name, remote string, nodes ...string) *storagev1.StorageClass {
	return &storagev1.StorageClass{
		ObjectMeta:  metav1.ObjectMeta{Name: name},
		Provisioner: contract.StorageDriver,
		Parameters:  map[string]string{contract.ParameterRemoteClass: remote},
		AllowedTopologies: []corev1.TopologySelectorTerm{{MatchLabelExpressions: []corev1.TopologySelectorLabelRequirement{
			{Key: contract.LabelNodeName, Values: nodes},
		}}},
	}
}

// env is that of a command whose user answers so.
func env(t *testing.T, answer string) (e *command.Env, out, errOut *bytes.Buffer) {
	t.Helper()
	out, errOut = &bytes.Buffer{}, &bytes.Buffer{}
	noEnv := func(string) string { return "" }
	return &command.Env{
		Access:  kubeclient.NewAccess(noEnv),
		Style:   output.NewStyle(noEnv, clocktesting.NewFakeClock(metav1.Now().Time)),
		Streams: genericiooptions.IOStreams{In: strings.NewReader(answer), Out: out, ErrOut: errOut},
	}, out, errOut
}
