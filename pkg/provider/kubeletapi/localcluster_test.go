package kubeletapi

import (
	"slices"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	kubetesting "k8s.io/client-go/testing"
)

// fixedPods are the pods of the node: web runs remotely, pending does not.
type fixedPods []*corev1.Pod

func testPods() fixedPods {
	pod := func(name, uid string) *corev1.Pod {
		return &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: localNamespace, Name: name, UID: types.UID(uid)},
			Spec:       corev1.PodSpec{NodeName: nodeName, Containers: []corev1.Container{{Name: "main"}}},
		}
	}
	web := pod("web", "uid-web")
	web.Status = corev1.PodStatus{
		StartTime: new(metav1.NewTime(time.Unix(1000, 0))),
		ContainerStatuses: []corev1.ContainerStatus{{
			ImageID:     "web@sha256:0",
			ContainerID: "containerd://c0ffee",
			Name:        "main",
			State:       corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(time.Unix(1010, 0))}},
		}},
	}
	gone := pod("gone", "uid-gone")
	gone.Status = corev1.PodStatus{Phase: corev1.PodSucceeded, StartTime: web.Status.StartTime}
	refused := pod("refused", "uid-refused")
	refused.Status = corev1.PodStatus{Phase: corev1.PodFailed, Reason: "NodeAffinity", Message: "Pod was rejected: it may not run here"}
	return fixedPods{web, pod("pending", "uid-pending"), gone, refused}
}

func (p fixedPods) Pod(namespace, name string) (*corev1.Pod, bool) {
	for _, pod := range p {
		if pod.Namespace == namespace && pod.Name == name {
			return pod, true
		}
	}
	return nil, false
}

func (p fixedPods) List() []*corev1.Pod { return p }

func (p fixedPods) Remote(local *corev1.Pod) (namespace, name string, ok bool) {
	return remoteNamespace, local.Name, local.Name == "web"
}

// reviewer plays the local API server: who a token is, and who may what.
func reviewer(allowed func(authorizationv1.SubjectAccessReviewSpec) bool) *fake.Clientset {
	client := fake.NewClientset()
	client.PrependReactor("create", "tokenreviews", func(action kubetesting.Action) (bool, kruntime.Object, error) {
		review := action.(kubetesting.CreateAction).GetObject().(*authenticationv1.TokenReview).DeepCopy()
		switch review.Spec.Token {
		case goodToken:
			review.Status = authenticationv1.TokenReviewStatus{Authenticated: true, User: authenticationv1.UserInfo{Username: "good"}}
		case otherToken:
			review.Status = authenticationv1.TokenReviewStatus{Authenticated: true, User: authenticationv1.UserInfo{Username: "other"}}
		case weakToken:
			review.Status = authenticationv1.TokenReviewStatus{Authenticated: true, User: authenticationv1.UserInfo{Username: "weak"}}
		}
		return true, review, nil
	})
	client.PrependReactor("create", "subjectaccessreviews", func(action kubetesting.Action) (bool, kruntime.Object, error) {
		review := action.(kubetesting.CreateAction).GetObject().(*authorizationv1.SubjectAccessReview).DeepCopy()
		review.Status.Allowed = allowed(review.Spec)
		return true, review, nil
	})
	return client
}

func goodOnly(spec authorizationv1.SubjectAccessReviewSpec) bool {
	known := spec.User == "good" || spec.User == "other" || slices.Contains(spec.Groups, "admins")
	return known && slices.Contains(spec.Groups, "system:authenticated")
}
