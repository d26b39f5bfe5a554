package scenario

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// diskProvisioner provisions what is not akd's, in both clusters.
const diskProvisioner = "disks.example.org"

// The StorageClasses of the remote cluster: volumes are made at once and can grow, or for
// the first pod and cannot.
const (
	classDisk = "disk"
	classLate = "late"
)

// installed are the remote classes that akd may use.
func installed() []string { return []string{classDisk, classLate} }

func (s *scenario) hasClasses() bool { return s.remote.classNamed(new(classDisk)) != nil }

// makeClasses makes the StorageClasses of both clusters, as install and an administrator do.
func (s *scenario) makeClasses() {
	if s.hasClasses() {
		return
	}
	class := func(name, provisioner string, late, grows bool) *storagev1.StorageClass {
		mode := storagev1.VolumeBindingImmediate
		if late {
			mode = storagev1.VolumeBindingWaitForFirstConsumer
		}
		return &storagev1.StorageClass{
			ObjectMeta: metav1.ObjectMeta{Name: name}, Provisioner: provisioner, VolumeBindingMode: &mode,
			AllowVolumeExpansion: &grows, ReclaimPolicy: new(corev1.PersistentVolumeReclaimDelete),
		}
	}
	_ = s.remote.add(class(classDisk, diskProvisioner, false, true))
	_ = s.remote.add(class(classLate, diskProvisioner, true, false))
	local := func(name, remote string, late, grows bool, others ...string) *storagev1.StorageClass {
		class := class(name, contract.StorageDriver, late, grows)
		class.Parameters = map[string]string{contract.ParameterRemoteClass: remote}
		class.Labels = map[string]string{contract.LabelNodeName: Node}
		class.AllowedTopologies = []corev1.TopologySelectorTerm{{MatchLabelExpressions: []corev1.TopologySelectorLabelRequirement{
			{Key: contract.LabelNodeName, Values: append([]string{Node}, others...)},
		}}}
		return class
	}
	_ = s.local.add(local("standard", classDisk, true, true))
	_ = s.local.add(local("fixed", classDisk, true, false))
	_ = s.local.add(local("now", classDisk, false, true))
	_ = s.local.add(local("late", classLate, true, true))
	_ = s.local.add(local("odd", "ssd", true, true)) // which install has not granted
	_ = s.local.add(local("both", classDisk, true, true, elsewhere))
	_ = s.local.add(local("anywhere", classDisk, false, true, elsewhere))
	keep := local("keep", classDisk, true, true)
	keep.ReclaimPolicy = new(corev1.PersistentVolumeReclaimRetain)
	_ = s.local.add(keep)
	_ = s.local.add(class("foreign", diskProvisioner, true, true))
}

// jam lets the provisioner and the resizer fail, or work again.
func (c *fakeServer) jam(fails bool) {
	c.mu.Lock()
	c.fails = fails
	c.mu.Unlock()
	c.controllers.notice(nil)
}

// useClaim lets a pod use a claim if the option says so.
func (s *scenario) useClaim(pod *corev1.Pod, option string) bool {
	name, uses := strings.CutPrefix(option, "claim=")
	class, own := strings.CutPrefix(option, "ephemeral")
	switch {
	case option == "elsewhere":
		pod.Annotations = map[string]string{annotationWanted: elsewhere}
	case option == "bound":
		pod.Spec.NodeName = Node
		return true
	case uses:
		pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: name},
		}})
	case own:
		claim := newClaim(pod.Namespace, "own", []string{"class=" + strings.TrimPrefix(class, "=")})
		if class == "" {
			claim = newClaim(pod.Namespace, "own", nil)
		}
		pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: "own", VolumeSource: corev1.VolumeSource{
			Ephemeral: &corev1.EphemeralVolumeSource{VolumeClaimTemplate: &corev1.PersistentVolumeClaimTemplate{Spec: claim.Spec}},
		}})
	default:
		return false
	}
	pod.Spec.NodeName = "" // the scheduler sets it
	return true
}

// newClaim returns a new claim. The options are a class; a size; a mode; block, for a
// device; selector, for volumes that are found; and from, for the claim with whose data it
// begins.
func newClaim(namespace, name string, options []string) *corev1.PersistentVolumeClaim {
	claim := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: new("standard"),
			AccessModes:      []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			VolumeMode:       new(corev1.PersistentVolumeFilesystem),
		},
	}
	size := "1Gi"
	for _, option := range options {
		switch key, value, _ := strings.Cut(option, "="); key {
		case "class":
			claim.Spec.StorageClassName = &value
		case "size":
			size = value
		case "mode":
			claim.Spec.AccessModes = []corev1.PersistentVolumeAccessMode{map[string]corev1.PersistentVolumeAccessMode{
				"RWO": corev1.ReadWriteOnce, "RWX": corev1.ReadWriteMany, "RWOP": corev1.ReadWriteOncePod,
			}[value]}
		case "block":
			claim.Spec.VolumeMode = new(corev1.PersistentVolumeBlock)
		case "from":
			claim.Spec.DataSource = &corev1.TypedLocalObjectReference{Kind: kindClaim, Name: value}
		case "selector":
			claim.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": "data"}}
		}
	}
	claim.Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(size)}
	return claim
}

// actOnClaims plays a party other than akd that has to do with claims and volumes. In the
// remote cluster, a name is that of the local claim. It reports whether it knows the act.
func (s *scenario) actOnClaims(c *fakeServer, namespace string, words []string) (known bool, err error) {
	if len(words) < 2 {
		return false, nil
	}
	name := words[1]
	switch words[0] {
	case "claim": // in the remote cluster, somebody else's
		class := "class=" + classDisk
		if c == s.local {
			class = "class=standard"
		}
		claim := newClaim(namespace, name, append([]string{class}, words[2:]...))
		return true, c.add(s.named(claim, words[2:]))
	case "grow": // or shrink
		return true, s.changeClaims(c, namespace, name, func(claim *corev1.PersistentVolumeClaim) {
			claim.Spec.Resources.Requests[corev1.ResourceStorage] = resource.MustParse(words[2])
		})
	case "impostor": // has the name of the remote claim, and is somebody else's
		claim := s.local.claimNamed(localNamespace(namespace), name)
		if claim == nil {
			return true, nil
		}
		return true, c.add(newClaim(namespace, contract.VolumeName(claim.UID), []string{"class=" + classDisk}))
	case "replace": // as a restored backup does
		return true, s.replaceClaims(c, namespace, name)
	case "import": // or import NAME bare
		return true, s.importClaim(namespace, name, len(words) < 3)
	case "policy":
		return true, s.changeVolumes(namespace, name, func(volume *corev1.PersistentVolume) {
			volume.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimPolicy(words[2])
		})
	case "adopt":
		return true, s.changeVolumes(namespace, name, func(volume *corev1.PersistentVolume) {
			claim := s.remote.claimNamed(contract.RemoteNamespace(Node, namespace), volume.Name)
			if claim != nil && claim.Labels[contract.LabelNodeName] == Node {
				metav1.SetMetaDataAnnotation(&volume.ObjectMeta, contract.AnnotationAdoptedUID, string(claim.UID))
			}
		})
	}
	return false, nil
}

// named lets a claim name the volume of another one, if an option says of which: that volume
// is not for it.
func (s *scenario) named(claim *corev1.PersistentVolumeClaim, options []string) *corev1.PersistentVolumeClaim {
	for _, option := range options {
		if of, names := strings.CutPrefix(option, "takes="); names {
			if other := s.local.claimNamed(claim.Namespace, of); other != nil {
				claim.Spec.VolumeName = other.Spec.VolumeName
			}
		}
	}
	return claim
}

// claimsNamed returns the claims of a local claim's name: itself, or those that akd has made
// for it.
func (s *scenario) claimsNamed(c *fakeServer, namespace, name string) []*corev1.PersistentVolumeClaim {
	return slices.DeleteFunc(c.claims(), func(claim *corev1.PersistentVolumeClaim) bool {
		return claim.Namespace != namespace || claim.Name != name && claim.Annotations[contract.AnnotationClaim] != name
	})
}

// volumesOf returns the local volumes that are for a claim, or were.
func (s *scenario) volumesOf(namespace, claim string) []*corev1.PersistentVolume {
	return slices.DeleteFunc(s.local.volumes(), func(volume *corev1.PersistentVolume) bool {
		ref := volume.Spec.ClaimRef
		return ref == nil || ref.Namespace != namespace || ref.Name != claim
	})
}

// deleteStored deletes the claims or the volumes of a name, as a person does.
func (s *scenario) deleteStored(c *fakeServer, namespace string, words []string) error {
	if words[0] == "volume" {
		for _, volume := range s.volumesOf(namespace, words[1]) {
			if err := s.local.deleteStored(resourceOf(volumes), "", volume.Name); err != nil {
				return err
			}
		}
		return nil
	}
	for _, claim := range s.claimsNamed(c, namespace, words[1]) {
		if err := c.deleteStored(resourceOf(claims), namespace, claim.Name); err != nil {
			return err
		}
	}
	return nil
}

// changeClaims changes claims as a request does that an API server may refuse.
func (s *scenario) changeClaims(c *fakeServer, namespace, name string, change func(*corev1.PersistentVolumeClaim)) error {
	for _, claim := range s.claimsNamed(c, namespace, name) {
		change(claim)
		if err := (&guarded{storage: c.storage}).change(resourceOf(claims), claim, namespace); err != nil {
			return fmt.Errorf("change claim %s: %w", name, err)
		}
	}
	return nil
}

func (s *scenario) changeVolumes(namespace, claim string, change func(*corev1.PersistentVolume)) error {
	for _, volume := range s.volumesOf(namespace, claim) {
		change(volume)
		if err := (&guarded{storage: s.local.storage}).change(resourceOf(volumes), volume, ""); err != nil {
			return fmt.Errorf("change volume %s: %w", volume.Name, err)
		}
	}
	return nil
}

// replaceClaims replaces claims by others that are like them but for their UID.
func (s *scenario) replaceClaims(c *fakeServer, namespace, name string) error {
	for _, claim := range s.claimsNamed(c, namespace, name) {
		if err := c.storage.Delete(resourceOf(claims), namespace, claim.Name); err != nil {
			return err
		}
		claim.ResourceVersion, claim.DeletionTimestamp, claim.DeletionGracePeriodSeconds = "", nil, nil
		claim.Spec.VolumeName = ""
		delete(claim.Annotations, bindCompleted)
		if err := c.add(claim); err != nil {
			return err
		}
	}
	return nil
}
