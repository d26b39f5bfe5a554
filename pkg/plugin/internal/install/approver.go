package install

import (
	"context"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/failure"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
)

// checkLocalPolicies refuses an approver that no policy ties to its node: it could
// approve any certificate of its signer.
func checkLocalPolicies(local *kubeclient.Cluster) error {
	served, err := local.HasPolicies()
	if err != nil || served {
		return err
	}
	err = fmt.Errorf("the local cluster %s has no ValidatingAdmissionPolicy, which ties an approver of certificates to its node",
		local.Version)
	return failure.Hintf(err, "upgrade it to Kubernetes 1.30, or leave out --approve-certificates and run install again after akd has moved: "+
		"it approves the certificate")
}

// hasApprover reports whether the node has an approver. Its account is the last that
// removeApprover deletes.
func (i *installer) hasApprover(ctx context.Context) (bool, error) {
	_, err := i.both.Local.Client.CoreV1().ServiceAccounts(contract.SystemNamespace).Get(ctx,
		contract.ApproverName(i.options.node), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for an approver of certificates: %w", err)
	}
	return true, nil
}

// removeApprover deletes what an earlier install with --approve-certificates has
// created: the approver first, and its policy after its rights.
func (i *installer) removeApprover(ctx context.Context) (string, error) {
	objects, err := manifests.Approver(i.options.node)
	if err != nil {
		return "", err
	}
	removed := 0
	for _, object := range slices.Backward(objects) {
		resource, err := i.both.Local.Resource(object)
		if err != nil {
			return "", err
		}
		found, err := resource.Get(ctx, object.GetName(), metav1.GetOptions{})
		if apierrors.IsNotFound(err) || err == nil && found.GetLabels()[contract.LabelNodeName] != i.options.node {
			continue
		}
		if err == nil {
			err = deleteExactly(ctx, resource, found)
		}
		if err != nil && !apierrors.IsNotFound(err) {
			return "", fmt.Errorf("remove local %s: %w", kubeclient.Title(object), err)
		}
		removed++
	}
	return fmt.Sprintf("%d removed", removed), nil
}

// awaitApprover waits until the approver sees requests and akd's pods.
func (i *installer) awaitApprover(ctx context.Context) error {
	return kubeclient.Until(ctx, func(ctx context.Context) (bool, string, error) {
		approver, err := i.both.Local.Client.AppsV1().Deployments(contract.SystemNamespace).Get(ctx,
			contract.ApproverName(i.options.node), metav1.GetOptions{})
		if err != nil {
			return false, "", err
		}
		status := approver.Status
		runs := status.ObservedGeneration >= approver.Generation && status.UpdatedReplicas == status.Replicas && status.AvailableReplicas >= 1
		return runs, "deployment " + approver.Name + " has no available pod", nil
	})
}
