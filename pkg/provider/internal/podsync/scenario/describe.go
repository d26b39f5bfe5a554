package scenario

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

// report prints the writes since the last report.
func (c *fakeServer) report(out io.Writer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, write := range slices.Sorted(maps.Keys(c.writes)) {
		_, _ = fmt.Fprintf(out, "%s %s: %d\n", c.name, write, c.writes[write])
	}
	for _, write := range slices.Sorted(maps.Keys(c.refused)) {
		_, _ = fmt.Fprintf(out, "%s %s: %d refused\n", c.name, write, c.refused[write])
	}
	clear(c.writes)
	clear(c.refused)
}

// reportReads describes what has been listed and watched since the last time.
func (c *fakeServer) reportReads(out io.Writer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, read := range slices.Sorted(maps.Keys(c.reads)) {
		_, _ = fmt.Fprintf(out, "%s %s: %d\n", c.name, read, c.reads[read])
	}
	_, _ = fmt.Fprintln(out)
	clear(c.reads)
}

// lines describes all objects.
func (c *fakeServer) lines() []string {
	var lines []string
	for _, kind := range []string{
		"namespaces", "rolebindings", "pods", "configmaps", "secrets", "services", "endpointslices", "poddisruptionbudgets", claims, volumes,
	} {
		gvr := resourceOf(kind)
		list, err := c.storage.List(gvr, gvr.GroupVersion().WithKind(kindOf(kind)), metav1.NamespaceAll)
		if err != nil {
			lines = append(lines, err.Error())
			continue
		}
		var found []string
		switch list := list.(type) {
		case *corev1.NamespaceList:
			for _, item := range list.Items {
				found = append(found, fmt.Sprintf("%s namespace %s", c.name, item.Name))
			}
		case *rbacv1.RoleBindingList:
			for _, item := range list.Items {
				found = append(found, fmt.Sprintf("%s rolebinding %s/%s %s to %s/%s", c.name, item.Namespace, item.Name,
					item.RoleRef.Name, item.Subjects[0].Namespace, item.Subjects[0].Name))
			}
		case *corev1.PodList:
			for _, item := range list.Items {
				found = append(found, c.name+" "+describePod(&item))
			}
		case *corev1.ConfigMapList:
			for _, item := range list.Items {
				found = append(found, fmt.Sprintf("%s configmap %s/%s %v", c.name, item.Namespace, item.Name, item.Data))
			}
		case *corev1.SecretList:
			for _, item := range list.Items {
				found = append(found, fmt.Sprintf("%s secret %s/%s type=%s %s", c.name, item.Namespace, item.Name, item.Type, describeData(item.Data)))
			}
		case *corev1.ServiceList:
			for _, item := range list.Items {
				found = append(found, fmt.Sprintf("%s service %s/%s %s", c.name, item.Namespace, item.Name, item.Spec.ClusterIP))
			}
		case *discoveryv1.EndpointSliceList:
			for _, item := range list.Items {
				var line strings.Builder
				fmt.Fprintf(&line, "%s endpointslice %s/%s of %s:", c.name, item.Namespace, item.Name, translate.ServiceOf(&item))
				for _, endpoint := range item.Endpoints {
					fmt.Fprintf(&line, " %s ready=%t", endpoint.Addresses[0], ptr.Deref(endpoint.Conditions.Ready, false))
				}
				found = append(found, line.String())
			}
		}
		found = append(found, c.moreLines(list)...)
		slices.Sort(found)
		lines = append(lines, found...)
	}
	return lines
}

// moreLines describes the objects of a list, if they are budgets, claims or volumes.
func (c *fakeServer) moreLines(list runtime.Object) (found []string) {
	switch list := list.(type) {
	case *policyv1.PodDisruptionBudgetList:
		for _, item := range list.Items {
			found = append(found, c.name+" "+describeBudget(&item))
		}
	case *corev1.PersistentVolumeClaimList:
		for _, item := range list.Items {
			found = append(found, c.name+" "+describeClaim(&item))
		}
	case *corev1.PersistentVolumeList:
		for _, item := range list.Items {
			found = append(found, c.name+" "+describeVolume(&item))
		}
	}
	return found
}

// told describes the events about other objects than pods, with how often each was written.
func (c *fakeServer) told() []string {
	var lines []string
	for _, object := range c.storage.in(metav1.NamespaceAll, resourceOf("events")) {
		event, is := object.(*corev1.Event)
		if !is || event.InvolvedObject.Kind == "Pod" {
			continue
		}
		lines = append(lines, fmt.Sprintf("%s event %s %s/%s %dx %s: %s", c.name, strings.ToLower(event.InvolvedObject.Kind),
			event.InvolvedObject.Namespace, event.InvolvedObject.Name, event.Count, event.Reason, event.Message))
	}
	slices.Sort(lines)
	return lines
}

func describeBudget(budget *policyv1.PodDisruptionBudget) string {
	line := fmt.Sprintf("poddisruptionbudget %s/%s", budget.Namespace, budget.Name)
	if budget.Spec.MinAvailable != nil {
		line += " minAvailable=" + budget.Spec.MinAvailable.String()
	}
	if budget.Spec.MaxUnavailable != nil {
		line += " maxUnavailable=" + budget.Spec.MaxUnavailable.String()
	}
	return line + " " + metav1.FormatLabelSelector(budget.Spec.Selector)
}

func describeClaim(claim *corev1.PersistentVolumeClaim) string {
	var line strings.Builder
	requested, capacity := sizeOf(&claim.Spec), claim.Status.Capacity[corev1.ResourceStorage]
	fmt.Fprintf(&line, "persistentvolumeclaim %s/%s uid=%s %s %s of %s class=%s", claim.Namespace, claim.Name, claim.UID, claim.Status.Phase,
		capacity.String(), requested.String(), ptr.Deref(claim.Spec.StorageClassName, ""))
	if claim.Spec.VolumeName != "" {
		line.WriteString(" volume=" + claim.Spec.VolumeName)
	}
	if committed := claim.Annotations[contract.AnnotationVolume]; committed != "" {
		line.WriteString(" committed=" + committed)
	}
	if claim.DeletionTimestamp != nil {
		line.WriteString(" terminating")
	}
	for _, condition := range claim.Status.Conditions {
		if condition.Type == conditionUnused {
			continue
		}
		fmt.Fprintf(&line, " %s=%s", condition.Type, condition.Status)
		if condition.Reason != "" {
			line.WriteString("(" + condition.Reason + ")")
		}
	}
	return line.String()
}

func describeVolume(volume *corev1.PersistentVolume) string {
	var line strings.Builder
	capacity := volume.Spec.Capacity[corev1.ResourceStorage]
	fmt.Fprintf(&line, "persistentvolume %s uid=%s %s %s %s", volume.Name, volume.UID, volume.Status.Phase, capacity.String(),
		volume.Spec.PersistentVolumeReclaimPolicy)
	if ref := volume.Spec.ClaimRef; ref != nil {
		fmt.Fprintf(&line, " claim=%s/%s(%s)", ref.Namespace, ref.Name, ref.UID)
	}
	if source := volume.Spec.CSI; source != nil {
		fmt.Fprintf(&line, " remote=%s(%s)", source.VolumeHandle, source.VolumeAttributes[contract.AttributeRemoteUID])
	}
	if adopted := volume.Annotations[contract.AnnotationAdoptedUID]; adopted != "" {
		line.WriteString(" adopted=" + adopted)
	}
	if volume.DeletionTimestamp != nil {
		line.WriteString(" terminating")
	}
	return line.String()
}

func describeData(data map[string][]byte) string {
	var values []string
	for _, name := range slices.Sorted(maps.Keys(data)) {
		value, private := string(data[name]), ""
		if key, rest, found := strings.Cut(value, "-----END PRIVATE KEY-----\n"); found {
			value, private = rest, strings.SplitAfter(key, "\n")[0] // the key itself differs each time
		}
		values = append(values, name+"="+private+value)
	}
	return strings.Join(values, ",")
}

func resourceOf(name string) schema.GroupVersionResource {
	switch name {
	case "rolebindings":
		return rbacv1.SchemeGroupVersion.WithResource(name)
	case classes:
		return storagev1.SchemeGroupVersion.WithResource(name)
	case "clustertrustbundles", "podcertificaterequests":
		return certificatesv1.SchemeGroupVersion.WithResource(name)
	case "endpointslices":
		return discoveryv1.SchemeGroupVersion.WithResource(name)
	case "poddisruptionbudgets":
		return policyv1.SchemeGroupVersion.WithResource(name)
	}
	return corev1.SchemeGroupVersion.WithResource(name)
}

func kindOf(resource string) string {
	return map[string]string{
		"namespaces":           "Namespace",
		"rolebindings":         "RoleBinding",
		"pods":                 "Pod",
		"configmaps":           "ConfigMap",
		"secrets":              "Secret",
		"services":             "Service",
		"endpointslices":       "EndpointSlice",
		"poddisruptionbudgets": "PodDisruptionBudget",
		claims:                 "PersistentVolumeClaim",
		volumes:                "PersistentVolume",
		classes:                "StorageClass",
	}[resource]
}

func describePod(pod *corev1.Pod) string {
	var line strings.Builder
	fmt.Fprintf(&line, "pod %s/%s uid=%s %s", pod.Namespace, pod.Name, pod.UID, pod.Status.Phase)
	if image := pod.Spec.Containers[0].Image; image != "busybox" {
		line.WriteString(" image=" + image)
	}
	for _, name := range reservedNames(pod) {
		line.WriteString(" uses=" + name)
	}
	if pod.DeletionTimestamp != nil {
		fmt.Fprintf(&line, " terminating=%ds", *pod.DeletionGracePeriodSeconds)
	}
	if len(pod.Finalizers) > 0 {
		line.WriteString(" finalizers=" + strings.Join(pod.Finalizers, ","))
	}
	for _, container := range pod.Status.ContainerStatuses {
		if ended := container.State.Terminated; ended != nil {
			fmt.Fprintf(&line, " exit=%d", ended.ExitCode)
		}
	}
	if pod.Status.Reason != "" {
		line.WriteString(" reason=" + pod.Status.Reason)
	}
	for _, condition := range pod.Status.Conditions {
		fmt.Fprintf(&line, " %s=%s", condition.Type, condition.Status)
		if condition.Reason != "" {
			line.WriteString("(" + condition.Reason + ")")
		}
	}
	return line.String()
}

// reservedNames returns the reserved names that the environment and the pull secrets of
// a remote pod refer to.
func reservedNames(pod *corev1.Pod) []string {
	var names []string
	for _, from := range pod.Spec.Containers[0].EnvFrom {
		switch {
		case from.ConfigMapRef != nil:
			names = append(names, from.ConfigMapRef.Name)
		case from.SecretRef != nil:
			names = append(names, from.SecretRef.Name)
		}
	}
	for _, secret := range pod.Spec.ImagePullSecrets {
		names = append(names, secret.Name)
	}
	return slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(name, contract.ReservedPrefix) })
}
