package rights

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
)

// OnRefusedNamespace is what to do if the remote cluster refuses akd a namespace.
const OnRefusedNamespace = "if the remote cluster demands labels or annotations of namespaces, or adds some, install with " +
	"--namespace-label or --namespace-annotation KEY=VALUE, or with --allow-namespace-metadata KEY for those with any value"

// nobodys is a local namespace whose remote one is only tried.
const nobodys = "not-a-tenants"

// Namespace returns the remote namespace that akd creates for a local one.
func Namespace(owner contract.Owner, values *manifests.Values, local string) *corev1.Namespace {
	labels := map[string]string{}
	maps.Copy(labels, values.NamespaceMetadata.Labels)
	maps.Copy(labels, owner.NamespaceLabels(local))
	labels[contract.LabelPodSecurity] = values.PodSecurity
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name:        contract.RemoteNamespace(owner.Node, local),
		Labels:      labels,
		Annotations: maps.Clone(values.NamespaceMetadata.Annotations),
	}}
}

// TryNamespace has a node's akd ask for a namespace, in a dry run. It returns nil if akd
// gets it, a kubeclient.ErrMayNotActAsAKD, or the refusal.
func TryNamespace(ctx context.Context, remote *kubeclient.Cluster, owner contract.Owner, values *manifests.Values) error {
	akd, err := remote.AsAKD(ctx, owner.Node)
	if err != nil {
		return err
	}
	_, err = akd.CoreV1().Namespaces().Create(ctx, Namespace(owner, values, nobodys), dryRun())
	if err == nil || apierrors.IsAlreadyExists(err) {
		return nil
	}
	switch kubeclient.RefusalOf(err, "namespaces") {
	case kubeclient.RefusedToImpersonate:
		return fmt.Errorf("%w in the %s cluster: %w", kubeclient.ErrMayNotActAsAKD, remote.Side, err)
	case kubeclient.RefusedForRights:
		return forRights(ctx, remote, err)
	default:
		return err
	}
}

// ProbeNamespace asks for a namespace such as akd's, in a dry run, as the user. It returns
// the namespace as it was requested, and as the remote cluster would store it.
func ProbeNamespace(
	ctx context.Context, remote *kubeclient.Cluster, owner contract.Owner, values *manifests.Values,
) (requested, stored *corev1.Namespace, err error) {
	requested = Namespace(owner, values, nobodys)
	stored, err = remote.Client.CoreV1().Namespaces().Create(ctx, requested.DeepCopy(), dryRun())
	return requested, stored, err
}

// IsDenied reports whether admission denied the creation of a namespace: a webhook may
// give any reason, or none. One that knows no dry run has not judged.
// https://github.com/kubernetes/apiserver/blob/v0.37.1/pkg/admission/plugin/webhook/errors/statuserror.go
func IsDenied(err error) bool {
	status, ok := errors.AsType[*apierrors.StatusError](err)
	if !ok || kubeclient.RefusalOf(err, "namespaces") == kubeclient.RefusedForRights {
		return false
	}
	if status.Status().Reason == metav1.StatusReasonBadRequest {
		return false
	}
	code := status.Status().Code
	return code == http.StatusBadRequest || code == http.StatusForbidden || code == http.StatusUnprocessableEntity
}
