package cluster

import (
	certificatesv1 "k8s.io/api/certificates/v1"

	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/store"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

// HasPod reports whether the pod with the given UID still exists. It reads from
// the API server, not from a cache, because callers destroy objects if the pod is
// missing. It lists, because the Node authorizer answers the get of a pod that
// does not exist with 403 instead of 404: no such pod is bound to the node.
func (c *Local) HasPod(ctx context.Context, pod PodRef) (bool, error) {
	selector := fields.Set{metav1.ObjectNameField: pod.Name, "spec.nodeName": c.node}
	found, err := c.client.CoreV1().Pods(pod.Namespace).List(ctx, metav1.ListOptions{FieldSelector: selector.String()})
	if err != nil {
		return false, localError{fmt.Errorf("look for local pod %s/%s: %w", pod.Namespace, pod.Name, err)}
	}
	return slices.ContainsFunc(found.Items, func(p corev1.Pod) bool { return p.UID == pod.UID }), nil
}

// PatchPodStatus applies a patch from translate.StatusPatch.
func (c *Local) PatchPodStatus(ctx context.Context, pod PodRef, patch []byte) (*corev1.Pod, error) {
	patched, err := c.client.CoreV1().Pods(pod.Namespace).
		Patch(ctx, pod.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	if err != nil {
		return nil, localError{fmt.Errorf("patch status of local pod %s/%s: %w", pod.Namespace, pod.Name, err)}
	}
	return patched, nil
}

// ReleasePod deletes the local pod from the API server, as a kubelet does once
// nothing of the pod runs any more.
func (c *Local) ReleasePod(ctx context.Context, pod PodRef) error {
	err := c.client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{
		GracePeriodSeconds: ptr.To[int64](0),
		Preconditions:      &metav1.Preconditions{UID: &pod.UID},
	})
	if err != nil && !IsNotFoundOrConflict(err) {
		return localError{fmt.Errorf("release local pod %s/%s: %w", pod.Namespace, pod.Name, err)}
	}
	return nil
}

// RequestToken requests a token of the pod's service account that is bound to the
// pod. It asks repeatedly for a moment while the API server may not know a new pod yet,
// unless known says that it does.
func (c *Local) RequestToken(
	ctx context.Context, pod *corev1.Pod, want translate.Token, known bool,
) (*authenticationv1.TokenRequestStatus, error) {
	account := translate.ServiceAccount(pod)
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: new(want.ExpirationSeconds),
		BoundObjectRef:    &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID},
	}}
	if want.Audience != "" {
		request.Spec.Audiences = []string{want.Audience}
	}
	ask := func() (*authenticationv1.TokenRequest, error) {
		return c.client.CoreV1().ServiceAccounts(pod.Namespace).CreateToken(ctx, account, request, metav1.CreateOptions{})
	}
	var granted *authenticationv1.TokenRequest
	var err error
	if known {
		granted, err = ask()
	} else {
		granted, err = store.RetryUnknown(ctx, ask)
	}
	if err != nil {
		return nil, localError{fmt.Errorf("request a token of local service account %s/%s: %w", pod.Namespace, account, err)}
	}
	return &granted.Status, nil
}

// deleteExactly returns the options to delete the object with the given UID and
// no other.
func deleteExactly(uid types.UID) metav1.DeleteOptions {
	return metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}}
}

// deleteUnchanged returns the options to delete an object in the state that is given, and no
// other.
func deleteUnchanged(object metav1.Object) metav1.DeleteOptions {
	options := deleteExactly(object.GetUID())
	options.Preconditions.ResourceVersion = new(object.GetResourceVersion())
	return options
}

// IsNotFoundOrConflict reports whether a write found no object, or another object
// of the same name. A failed UID precondition is a conflict; in a patch, the UID is a
// field that cannot be changed.
func IsNotFoundOrConflict(err error) bool {
	return apierrors.IsNotFound(err) || apierrors.IsConflict(err) || apierrors.IsInvalid(err) && aboutUID(err)
}

func aboutUID(err error) bool {
	answer, ok := errors.AsType[*apierrors.StatusError](err)
	return ok && answer.ErrStatus.Details != nil &&
		slices.ContainsFunc(answer.ErrStatus.Details.Causes, func(cause metav1.StatusCause) bool { return cause.Field == "metadata.uid" })
}

// CertificateRequests selects the requests of this node's pods. A node may read
// no others.
func (c *Local) CertificateRequests() store.ListWatch {
	requests := c.client.CertificatesV1().PodCertificateRequests(metav1.NamespaceAll)
	return store.NewListWatch("local podcertificaterequests", c.server(), requests, store.ByField("spec.nodeName", c.node))
}

// RequestCertificate creates a request for the pod's own certificate. The request
// is deleted with the pod.
func (c *Local) RequestCertificate(
	ctx context.Context, pod *corev1.Pod, want translate.Certificate, proof []byte,
) (*certificatesv1.PodCertificateRequest, error) {
	name := translate.ServiceAccount(pod)
	account, err := c.client.CoreV1().ServiceAccounts(pod.Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, localError{fmt.Errorf("request a certificate: get local service account %s/%s: %w", pod.Namespace, name, err)}
	}
	node, err := c.GetNode(ctx)
	if err != nil {
		return nil, fmt.Errorf("request a certificate: %w", err)
	}
	request := &certificatesv1.PodCertificateRequest{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: pod.Namespace, GenerateName: "req-",
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID}},
		},
		Spec: certificatesv1.PodCertificateRequestSpec{
			SignerName:                want.Signer,
			PodName:                   pod.Name,
			PodUID:                    pod.UID,
			ServiceAccountName:        name,
			ServiceAccountUID:         account.UID,
			NodeName:                  types.NodeName(c.node),
			NodeUID:                   node.UID,
			MaxExpirationSeconds:      want.MaxExpirationSeconds,
			StubPKCS10Request:         proof,
			UnverifiedUserAnnotations: want.UserAnnotations,
		},
	}
	created, err := c.client.CertificatesV1().PodCertificateRequests(pod.Namespace).Create(ctx, request, metav1.CreateOptions{})
	if err != nil {
		return nil, localError{fmt.Errorf("request a certificate for local pod %s/%s: %w", pod.Namespace, pod.Name, err)}
	}
	return created, nil
}

// PodRef refers to one pod of one cluster. The UID identifies it.
type PodRef struct {
	Namespace string
	Name      string
	UID       types.UID
}

// RefTo returns the reference to a pod.
func RefTo(pod *corev1.Pod) PodRef {
	return PodRef{Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID}
}

// HasRefused reports whether the API server has certainly not done what was requested.
// A server or a gateway that took too long may have done it, or still do it.
func HasRefused(err error) bool {
	answer, ok := errors.AsType[*apierrors.StatusError](err)
	if !ok {
		return false
	}
	code := answer.Status().Code
	return code >= 400 && code < 500 && code != http.StatusRequestTimeout && code != http.StatusConflict
}
