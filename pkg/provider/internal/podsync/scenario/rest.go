package scenario

import (
	"fmt"
	"slices"
	"strings"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	policyv1 "k8s.io/api/policy/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

// atRest expects that both clusters agree, and that nothing is left to do.
func (j *judge) atRest() {
	j.mu.Lock()
	defer j.mu.Unlock()
	locals := map[types.UID]*corev1.Pod{}
	for _, pod := range j.s.local.pods() {
		locals[pod.UID] = &pod
	}
	remotes := map[types.UID]*corev1.Pod{}
	foreign := map[string]bool{}
	for _, pod := range j.s.remote.pods() {
		uid := types.UID(pod.Labels[contract.LabelUID])
		if uid == "" {
			foreign[localNamespace(pod.Namespace)+"/"+pod.Name] = true
			continue
		}
		remotes[uid] = &pod
		if locals[uid] == nil && !j.s.akd.controller.OrphansKept() {
			j.complain("remote pod %s is left of local pod %s", pod.UID, uid)
		}
	}
	for uid, pod := range locals {
		j.localAtRest(pod, remotes[uid], foreign[pod.Namespace+"/"+pod.Name])
	}
	for uid, life := range j.lives {
		j.trueEnd(uid, life)
	}
	for _, kind := range copies() {
		j.copiesAtRest(resourceOf(kind), locals, remotes)
	}
	j.budgetsAtRest()
	j.claimsAtRest()
}

// budgetsAtRest expects that the remote PodDisruptionBudgets are those that follow from the
// local ones and the pods. Without a remote namespace there are no remote pods.
func (j *judge) budgetsAtRest() {
	namespace, wanted := contract.RemoteNamespace(Node, metav1.NamespaceDefault), map[string]string{}
	site := mapper().In(namespace)
	_, missing := j.s.remote.storage.Get(resourceOf("namespaces"), "", namespace)
	for _, object := range j.s.local.storage.in(metav1.NamespaceDefault, resourceOf("poddisruptionbudgets")) {
		budget, is := object.(*policyv1.PodDisruptionBudget)
		if !is {
			continue
		}
		var here int32
		for _, pod := range j.s.local.pods() {
			counts := pod.Namespace == budget.Namespace && pod.Spec.NodeName == Node && !translate.Finished(&pod)
			if counts && translate.BudgetSelector(budget).Matches(labels.Set(pod.Labels)) {
				here++
			}
		}
		if copied := site.DisruptionBudget(budget, here).Copy; copied != nil && missing == nil {
			wanted[copied.Name] = describeBudget(copied)
		}
	}
	for _, object := range j.s.remote.storage.in(metav1.NamespaceAll, resourceOf("poddisruptionbudgets")) {
		budget, is := object.(*policyv1.PodDisruptionBudget)
		if !is || budget.Labels[contract.LabelNodeName] != Node {
			continue
		}
		if have := describeBudget(budget); have != wanted[budget.Name] {
			j.complain("%s is there, want %q", have, wanted[budget.Name])
		}
		delete(wanted, budget.Name)
	}
	for name := range wanted {
		j.complain("%s is missing", wanted[name])
	}
}

// leavesNothing expects that akd leaves nothing in the remote cluster, and remembers no
// more than at first, once users have nothing any more. Some pods of a cluster that went
// back in time are left to a person.
func (j *judge) leavesNothing(fresh held) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.s.akd.controller.OrphansKept() {
		return
	}
	for _, kind := range append(contents(), "pods", "namespaces") {
		for _, object := range j.s.remote.storage.in(metav1.NamespaceAll, resourceOf(kind)) {
			meta, err := apimeta.Accessor(object)
			if err == nil && meta.GetLabels()[contract.LabelNodeName] == Node && !j.s.remote.hasArrived(meta.GetName()) &&
				!j.s.remote.hasArrived(meta.GetNamespace()) && !isEmptyRecord(object) {
				j.complain("%s %s/%s is left", kind, meta.GetNamespace(), meta.GetName())
			}
		}
	}
	j.storedAreGone()
	for _, more := range whatIsHeld(j.s.akd.controller).beyond(fresh) {
		j.complain("akd holds more: %s", more)
	}
}

// isEmptyRecord reports whether an object is a tenant's record of its namespaces, and says
// that there are none.
func isEmptyRecord(object runtime.Object) bool {
	record, is := object.(*corev1.ConfigMap)
	return is && record.Name == contract.RecordName(Node) && len(record.Data) == 0
}

// copiesAtRest expects that the copies of local objects are like them, that none is left
// of one that is gone, and that pods have what they refer to.
func (j *judge) copiesAtRest(resource schema.GroupVersionResource, locals, remotes map[types.UID]*corev1.Pod) {
	for _, object := range j.s.remote.storage.in(metav1.NamespaceAll, resource) {
		copied, err := apimeta.Accessor(object)
		if err != nil || copied.GetLabels()[contract.LabelNodeName] != Node || localNamespace(copied.GetNamespace()) == "" ||
			copied.GetName() == contract.DeletionMark {
			continue
		}
		if contract.IsTokenSecretName(copied.GetName()) {
			if uid := types.UID(copied.GetLabels()[contract.LabelUID]); locals[uid] == nil {
				j.complain("Secret %s is left of local pod %s", copied.GetName(), uid)
			}
			continue
		}
		original, err := j.s.local.storage.Get(resource, localNamespace(copied.GetNamespace()), contract.LocalName(copied.GetName()))
		switch {
		case err != nil:
			j.complain("%s %s is left of a local one", resource.Resource, copied.GetName())
		case contentOf(original) != contentOf(object):
			j.complain("%s %s is %s, the local one %s", resource.Resource, copied.GetName(), contentOf(object), contentOf(original))
		}
	}
	for _, object := range j.s.local.storage.in(metav1.NamespaceAll, resource) {
		j.isCopied(resource, object, remotes)
	}
}

// isCopied expects that there is a copy of a local object that needs one.
func (j *judge) isCopied(resource schema.GroupVersionResource, object runtime.Object, remotes map[types.UID]*corev1.Pod) {
	original, err := apimeta.Accessor(object)
	if err != nil || !j.needsCopy(resource, object, original.GetNamespace(), remotes) {
		return
	}
	for _, name := range []string{original.GetName(), contract.ReservedName(original.GetName())} {
		found, err := j.s.remote.storage.Get(resource, contract.RemoteNamespace(Node, original.GetNamespace()), name)
		if err == nil && contentOf(found) == contentOf(object) {
			return
		}
	}
	j.complain("%s %s has no copy", resource.Resource, original.GetName())
}

// needsCopy reports whether a local object is mirrored: a Service always, its
// EndpointSlice with it, others for pods that refer to them.
func (j *judge) needsCopy(
	resource schema.GroupVersionResource, object runtime.Object, namespace string, remotes map[types.UID]*corev1.Pod,
) bool {
	switch object := object.(type) {
	case *corev1.Service:
		return true
	case *discoveryv1.EndpointSlice:
		_, err := j.s.local.storage.Get(resourceOf("services"), namespace, translate.ServiceOf(object))
		return err == nil
	}
	wanted := resource.Resource + " " + nameOf(object)
	for _, pod := range remotes {
		if localNamespace(pod.Namespace) == namespace && !translate.Finished(pod) && pod.DeletionTimestamp == nil && references(pod)[wanted] {
			return true
		}
	}
	return false
}

// contentOf describes what a copy has of its original.
func contentOf(object runtime.Object) string {
	switch object := object.(type) {
	case *corev1.ConfigMap:
		return fmt.Sprint(object.Data)
	case *corev1.Secret:
		return fmt.Sprint(object.Data)
	case *corev1.Service:
		return fmt.Sprint(object.Spec.ClusterIPs, object.Spec.Ports)
	case *discoveryv1.EndpointSlice:
		return fmt.Sprint(object.AddressType, object.Endpoints[0].Addresses, *object.Endpoints[0].Conditions.Ready)
	}
	panic(fmt.Sprintf("no copies of %T", object))
}

func (j *judge) localAtRest(local, remote *corev1.Pod, inTheWay bool) {
	switch {
	case isElsewhere(local):
	case translate.IsMirrorPod(local) && len(local.Finalizers) == 0:
		j.complain("local pod %s stays: nobody else deletes what seems static", local.UID)
	case local.DeletionTimestamp != nil && !translate.Finished(local) && local.Status.StartTime != nil:
		j.complain("local pod %s is %s and stays", local.UID, local.Status.Phase)
	case local.DeletionTimestamp != nil && len(local.Finalizers) == 0:
		j.complain("local pod %s cannot be deleted", local.UID)
	case local.DeletionTimestamp != nil || translate.Finished(local):
	case inTheWay && remote == nil:
	case local.Spec.NodeName == "": // the scheduler keeps it
	case remote == nil && (j.waitsForRoom(local) || j.waitsForClaim(local)):
	case remote == nil:
		j.complain("local pod %s has no remote pod", local.UID)
	case j.lacks(local, remote) != "":
		j.complain("remote pod %s has no %s", remote.UID, j.lacks(local, remote))
	case remote.Status.Phase != local.Status.Phase && !pending(remote):
		j.complain("local pod %s is %s, its remote pod %s", local.UID, local.Status.Phase, remote.Status.Phase)
	case mutable(local) != mutable(remote):
		j.complain("local pod %s has %s, its remote pod %s", local.UID, mutable(local), mutable(remote))
	}
}

// mutable describes what users change in a pod that runs.
func mutable(pod *corev1.Pod) string {
	container := &pod.Spec.Containers[0]
	return fmt.Sprintf("image %s, cpu %s, label %q", container.Image, container.Resources.Requests.Cpu(), pod.Labels["app"])
}

// lacks returns what the Secret of a remote pod lacks of what is projected into its
// volumes, or an empty string.
func (j *judge) lacks(local, remote *corev1.Pod) string {
	if !slices.ContainsFunc(local.Spec.Volumes, isProjected) {
		return ""
	}
	found, err := j.s.remote.storage.Get(resourceOf("secrets"), remote.Namespace, contract.TokenSecretName(local.UID))
	secret, is := found.(*corev1.Secret)
	if err != nil || !is {
		return "Secret"
	}
	for i := range local.Spec.Volumes {
		volume := &local.Spec.Volumes[i]
		if !isProjected(*volume) {
			continue
		}
		var texts strings.Builder
		for key, text := range secret.Data {
			if strings.HasPrefix(key, volume.Name+".") {
				texts.Write(text)
			}
		}
		if wanted := j.wanted(local, volume); !strings.Contains(texts.String(), wanted) {
			return volume.Name
		}
	}
	return ""
}

func isProjected(volume corev1.Volume) bool { return volume.Projected != nil }

// wanted is what the files of a projected volume have to contain.
func (j *judge) wanted(local *corev1.Pod, volume *corev1.Volume) string {
	source := &volume.Projected.Sources[0]
	switch {
	case source.ServiceAccountToken != nil:
		return "token-"
	case source.ClusterTrustBundle != nil:
		found, err := j.s.local.storage.Get(resourceOf("clustertrustbundles"), "", *source.ClusterTrustBundle.Name)
		if bundle, is := found.(*certificatesv1.ClusterTrustBundle); err == nil && is {
			return bundle.Spec.TrustBundle
		}
		return ""
	case j.mayHaveCertificate(local):
		return "-----BEGIN CERTIFICATE-----"
	}
	return ""
}

// mayHaveCertificate reports whether akd can request a certificate for a pod, and none was
// denied.
func (j *judge) mayHaveCertificate(local *corev1.Pod) bool {
	_, accountErr := j.s.local.storage.Get(resourceOf("serviceaccounts"), local.Namespace, local.Spec.ServiceAccountName)
	_, nodeErr := j.s.local.storage.Get(resourceOf("nodes"), "", Node)
	for _, object := range j.s.local.storage.in(local.Namespace, resourceOf("podcertificaterequests")) {
		request, is := object.(*certificatesv1.PodCertificateRequest)
		if is && request.Spec.PodUID == local.UID && isDenied(request) {
			return false
		}
	}
	return accountErr == nil && nodeErr == nil
}

func isDenied(request *certificatesv1.PodCertificateRequest) bool {
	return apimeta.IsStatusConditionTrue(request.Status.Conditions, certificatesv1.PodCertificateRequestConditionTypeDenied)
}

// waitsForRoom reports whether akd says that it cannot follow what a pod refers to, and has
// no room for it.
func (j *judge) waitsForRoom(local *corev1.Pod) bool {
	if !slices.ContainsFunc(local.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Reason == translate.ReasonReferencesExhausted
	}) {
		return false
	}
	followed, own := map[string]bool{}, map[string]bool{}
	for _, pod := range j.s.local.pods() {
		if pod.UID == local.UID || translate.Finished(&pod) || isElsewhere(&pod) {
			continue
		}
		for name := range references(&pod) {
			followed[pod.Namespace+"/"+name] = true
			if pod.Namespace == local.Namespace {
				own[name] = true
			}
		}
	}
	more := 0
	for name := range references(local) {
		if !own[name] {
			more++
		}
	}
	return len(own)+more > maxReferences-len(followed)-more
}

// references are the resources and local names of the objects to which a local pod, or a
// remote one, refers.
func references(pod *corev1.Pod) map[string]bool {
	names := map[string]bool{}
	for _, source := range pod.Spec.Containers[0].EnvFrom {
		if source.ConfigMapRef != nil {
			names["configmaps "+contract.LocalName(source.ConfigMapRef.Name)] = true
		}
		if source.SecretRef != nil {
			names["secrets "+contract.LocalName(source.SecretRef.Name)] = true
		}
	}
	return names
}

// trueEnd compares how a pod ended in both clusters.
func (j *judge) trueEnd(uid types.UID, life *life) {
	local := life.local
	if local == nil || life.finished.IsZero() || j.restored {
		return
	}
	if local.Status.Reason == translate.ReasonRemotePodDeleted && !life.deleted {
		j.complain("local pod %s failed because its remote pod was deleted, which it was not", uid)
	}
	if local.Status.Reason == translate.ReasonRemotePodInvalid && !j.invalid {
		j.complain("local pod %s failed as invalid, which it is not", uid)
	}
	got, known := exitCode(local)
	for _, remote := range life.remotes {
		want, ended := exitCode(remote)
		if !ended || life.exited[remote.UID].After(life.finished) {
			continue
		}
		if runsOnce(local) && !life.unheard && (!known || got != want) {
			j.complain("local pod %s ended with %s, its remote pod with %s", uid, got, want)
		}
	}
}

// localNamespace returns the local namespace of a remote one.
func localNamespace(remote string) string {
	for _, namespace := range namespaces() {
		if contract.RemoteNamespace(Node, namespace) == remote {
			return namespace
		}
	}
	return ""
}

// runsOnce reports whether the end of a container can be the end of the pod. Of others,
// akd may not know after a restart that they have run and are gone.
func runsOnce(pod *corev1.Pod) bool {
	return pod.Spec.RestartPolicy == corev1.RestartPolicyNever || pod.Spec.RestartPolicy == corev1.RestartPolicyOnFailure
}

// exitCode is that of the container, with the reason if nobody knows it.
func exitCode(pod *corev1.Pod) (code string, known bool) {
	for _, container := range pod.Status.ContainerStatuses {
		if ended := container.State.Terminated; ended != nil {
			if ended.Reason == "ContainerStatusUnknown" {
				return ended.Reason, true
			}
			return fmt.Sprint(ended.ExitCode), true
		}
	}
	return "no exit code", false
}
