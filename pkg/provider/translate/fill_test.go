package translate

import (
	"fmt"
	"reflect"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// filledPod returns a pod with every field set, made from a number: volumes, env
// and the like once for each of their kinds, but for those that are refused.
func filledPod(seed int64) *corev1.Pod {
	pod := &corev1.Pod{}
	fill(reflect.ValueOf(pod).Elem(), seed)
	pod.Spec.NodeName = "n1"
	pod.TypeMeta = metav1.TypeMeta{} // as from an informer
	pod.Annotations = map[string]string{"note": fmt.Sprint("n", seed), "actual.vk/x": "y"}
	pod.Status.Phase = corev1.PodRunning
	pod.Spec.Tolerations = append(pod.Spec.Tolerations,
		corev1.Toleration{Key: corev1.TaintNodeNotReady, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute})

	refused := []string{"PersistentVolumeClaim", "Ephemeral", "Glusterfs"}
	pod.Spec.Volumes = perKind[corev1.Volume](reflect.TypeFor[corev1.VolumeSource](), "VolumeSource", seed, refused)
	for i := range pod.Spec.Volumes {
		if pod.Spec.Volumes[i].Projected != nil {
			pod.Spec.Volumes[i].Projected.Sources = perKind[corev1.VolumeProjection](reflect.TypeFor[corev1.VolumeProjection](), "", seed, nil)
		}
		if pod.Spec.Volumes[i].ConfigMap != nil {
			pod.Spec.Volumes[i].ConfigMap.Name = contract.RootCAConfigMap
		}
		if pod.Spec.Volumes[i].StorageOS != nil {
			pod.Spec.Volumes[i].StorageOS.VolumeNamespace = ""
		}
		localReferences(&pod.Spec.Volumes[i])
	}
	for _, env := range []*[]corev1.EnvVar{
		&pod.Spec.InitContainers[0].Env, &pod.Spec.Containers[0].Env, &pod.Spec.EphemeralContainers[0].Env,
	} {
		*env = []corev1.EnvVar{{Name: "A", Value: "a"}}
		kinds := reflect.TypeFor[corev1.EnvVarSource]()
		for i := range kinds.NumField() {
			source := &corev1.EnvVarSource{}
			fill(reflect.ValueOf(source).Elem().Field(i), seed)
			if source.FieldRef != nil {
				source.FieldRef.FieldPath = "metadata.namespace"
			}
			if source.ConfigMapKeyRef != nil {
				source.ConfigMapKeyRef.Name = contract.RootCAConfigMap
			}
			*env = append(*env, corev1.EnvVar{Name: kinds.Field(i).Name, ValueFrom: source})
		}
	}
	for _, from := range []*[]corev1.EnvFromSource{&pod.Spec.InitContainers[0].EnvFrom, &pod.Spec.Containers[0].EnvFrom} {
		(*from)[0].ConfigMapRef.Name = contract.RootCAConfigMap
	}
	for _, statuses := range [][]corev1.ContainerStatus{
		pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses, pod.Status.EphemeralContainerStatuses,
	} {
		for i := range statuses {
			statuses[i].Name = "s1"
			statuses[i].State.Waiting.Message = contract.RemoteNamespace("n1", "s1")
			statuses[i].LastTerminationState.Waiting.Message = contract.RemoteNamespace("n1", "s1")
		}
	}
	pod.Status.Message = contract.RemoteNamespace("n1", "s1")
	pod.Status.VolumeHealth[0].Name = "HostPath"
	return pod
}

// localReferences makes a volume refer to what differs remotely.
func localReferences(volume *corev1.Volume) {
	files := func(items []corev1.DownwardAPIVolumeFile) {
		for i := range items {
			items[i].FieldRef.FieldPath = "metadata.namespace"
		}
	}
	if volume.DownwardAPI != nil {
		files(volume.DownwardAPI.Items)
	}
	if volume.Projected == nil {
		return
	}
	for i := range volume.Projected.Sources {
		if source := volume.Projected.Sources[i].ConfigMap; source != nil {
			source.Name = contract.RootCAConfigMap
		}
		if source := volume.Projected.Sources[i].DownwardAPI; source != nil {
			files(source.Items)
		}
	}
}

// perKind returns one T for each field of kinds, filled there.
func perKind[T any](kinds reflect.Type, inner string, seed int64, but []string) []T {
	var all []T
	for i := range kinds.NumField() {
		if slices.Contains(but, kinds.Field(i).Name) {
			continue
		}
		var one T
		v := reflect.ValueOf(&one).Elem()
		if inner != "" {
			v.FieldByName("Name").SetString(kinds.Field(i).Name)
			v = v.FieldByName(inner)
		}
		fill(v.Field(i), seed)
		all = append(all, one)
	}
	return all
}

// fill sets every field to something that is not zero.
func fill(v reflect.Value, seed int64) {
	switch v.Interface().(type) {
	case metav1.Time:
		v.Set(reflect.ValueOf(metav1.Unix(seed*1000, 0)))
		return
	case resource.Quantity:
		v.Set(reflect.ValueOf(resource.MustParse(fmt.Sprint(seed))))
		return
	case intstr.IntOrString:
		v.Set(reflect.ValueOf(intstr.FromInt32(int32(seed))))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString("s1")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int32, reflect.Int64:
		v.SetInt(seed)
	case reflect.Uint8:
		v.SetUint(1)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), seed)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), seed)
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key, seed)
		fill(value, seed)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i), seed)
			}
		}
	default:
	}
}
