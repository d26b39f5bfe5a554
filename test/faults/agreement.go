package faults

import (
	"errors"
	"fmt"
	"maps"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// view is what both clusters contain at about one moment.
type view struct {
	node         *corev1.Node
	deployments  []appsv1.Deployment
	statefulSets []appsv1.StatefulSet
	jobs         []batchv1.Job
	pods         map[side][]corev1.Pod
	// settings are what ConfigMaps and Services say, by their local names.
	settings map[side]map[string]string
	stored   stored
}

// disagreement says what is still missing until all workloads are as their owners
// want them and both clusters say the same.
func (v *view) disagreement() error {
	if !nodeReady(v.node) {
		return errors.New("the node is not Ready")
	}
	if err := v.workloads(); err != nil {
		return err
	}
	locals := map[types.UID]*corev1.Pod{}
	for i := range v.pods[local] {
		pod := &v.pods[local][i]
		if pod.DeletionTimestamp != nil {
			return fmt.Errorf("local pod %s is being deleted", name(pod))
		}
		locals[pod.UID] = pod
	}
	mirrored := map[types.UID]bool{}
	for i := range v.pods[remote] {
		pod := &v.pods[remote][i]
		uid := localUID(remote, pod)
		if mirrored[uid] {
			return fmt.Errorf("remote pod %s is the second of local pod %s", name(pod), uid)
		}
		mirrored[uid] = true
		if err := alike(locals[uid], pod); err != nil {
			return fmt.Errorf("remote pod %s: %w", name(pod), err)
		}
	}
	for uid, pod := range locals {
		if !finished(pod) && !mirrored[uid] {
			return fmt.Errorf("local pod %s is %s and has no remote pod", name(pod), pod.Status.Phase)
		}
	}
	if !maps.Equal(v.settings[local], v.settings[remote]) {
		return fmt.Errorf("local ConfigMaps and Services are %v, the remote ones %v", v.settings[local], v.settings[remote])
	}
	return v.stored.disagreement()
}

// alike compares what both clusters say about a pod.
func alike(pod, other *corev1.Pod) error {
	switch {
	case pod == nil:
		return errors.New("its local pod does not exist")
	case other.DeletionTimestamp != nil:
		return errors.New("it is being deleted")
	case pod.Status.Phase == corev1.PodPending:
		return errors.New("the local pod is Pending")
	case pod.Status.Phase != other.Status.Phase:
		return fmt.Errorf("it is %s, and its local pod %s", other.Status.Phase, pod.Status.Phase)
	case podReady(pod) != podReady(other):
		return fmt.Errorf("it is ready: %t, and its local pod: %t", podReady(other), podReady(pod))
	}
	return nil
}

func (v *view) workloads() error {
	for i := range v.deployments {
		d := &v.deployments[i]
		wanted, s := *d.Spec.Replicas, &d.Status
		if s.ObservedGeneration < d.Generation || s.Replicas != wanted || s.UpdatedReplicas != wanted || s.AvailableReplicas != wanted {
			return fmt.Errorf("deployment %s/%s wants %d pods: %d are updated, %d available",
				d.Namespace, d.Name, wanted, s.UpdatedReplicas, s.AvailableReplicas)
		}
	}
	for i := range v.statefulSets {
		set := &v.statefulSets[i]
		wanted, s := *set.Spec.Replicas, &set.Status
		if s.ObservedGeneration < set.Generation || s.Replicas != wanted || s.ReadyReplicas != wanted || s.CurrentRevision != s.UpdateRevision {
			return fmt.Errorf("statefulset %s/%s: %d of %d pods are ready", set.Namespace, set.Name, s.ReadyReplicas, wanted)
		}
	}
	for i := range v.jobs {
		if job := &v.jobs[i]; !jobFinished(job) {
			return fmt.Errorf("job %s/%s is not finished", job.Namespace, job.Name)
		}
	}
	return nil
}

func jobFinished(job *batchv1.Job) bool {
	for i := range job.Status.Conditions {
		condition := &job.Status.Conditions[i]
		ends := condition.Type == batchv1.JobComplete || condition.Type == batchv1.JobFailed
		if ends && condition.Status == corev1.ConditionTrue {
			return true
		}
	}
	return false
}

func podReady(pod *corev1.Pod) bool {
	for i := range pod.Status.Conditions {
		if condition := &pod.Status.Conditions[i]; condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

func nodeReady(node *corev1.Node) bool {
	for i := range node.Status.Conditions {
		if condition := &node.Status.Conditions[i]; condition.Type == corev1.NodeReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}
