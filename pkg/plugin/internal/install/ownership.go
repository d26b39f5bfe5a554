package install

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/failure"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/owner"
)

// checkOwner finds out, before anything is applied, whether the node's name is this
// local cluster's to use, in both clusters.
func (o *installOptions) checkOwner(ctx context.Context, both kubeclient.Clusters) (claims *owner.Claims, outcome string, err error) {
	if claims, err = owner.Find(ctx, both.Remote, both.Owner(o.node)); err != nil {
		return nil, "", err
	}
	if err := refuseForeignNode(ctx, both.Local, o.node); err != nil {
		return nil, "", err
	}
	if o.takeOver {
		return claims, fmt.Sprintf("%d objects to take over", len(claims.Foreign)), nil
	}
	if err := claims.Refusal(); err != nil {
		return nil, "", failure.Hintf(err,
			"if the other local cluster has moved to this one and is gone for good, take its node over with --take-over")
	}
	if err := checkPeer(ctx, both, o.node); err != nil {
		return nil, "", failure.Hintf(err,
			"if that remote cluster is gone for good, add --take-over; otherwise uninstall the node there first: %s",
			both.Commands().Elsewhere().Actual("uninstall", o.node))
	}
	if len(claims.Own) > 0 {
		return claims, "this local cluster", nil
	}
	return claims, "nobody yet", nil
}

// refuseForeignNode refuses the name of a machine: akd would get the identity of its
// kubelet.
func refuseForeignNode(ctx context.Context, local *kubeclient.Cluster, name string) error {
	node, err := local.Client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read node %s: %w", name, err)
	}
	if node.Labels[contract.LabelNode] == "" {
		return failure.Hintf(fmt.Errorf("node %s exists in the local cluster, and no akd serves it", name), "choose another node name")
	}
	return nil
}

// checkPeer returns an error if the credential of a node's akd, in whichever of the
// clusters it is, leads to another cluster than the given one.
func checkPeer(ctx context.Context, both kubeclient.Clusters, node string) error {
	for _, sides := range [][2]*kubeclient.Cluster{{both.Local, both.Remote}, {both.Remote, both.Local}} {
		host, peer := sides[0], sides[1]
		secret, err := host.Client.CoreV1().Secrets(contract.SystemNamespace).Get(ctx, node, metav1.GetOptions{})
		if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
			continue // who may not read it cannot change it
		}
		if err != nil {
			return fmt.Errorf("read akd's credential in the %s cluster: %w", host.Side, err)
		}
		if host == both.Remote && secret.Labels[contract.LabelClusterUID] != string(both.Local.UID) {
			continue // of another local cluster's node, which owner.Find has found
		}
		if err := kubeclient.CheckPeer(secret, peer); err != nil {
			return err
		}
	}
	return nil
}

// isInstalled reports whether the local cluster has a node, or what install creates
// for one.
func isInstalled(ctx context.Context, local *kubeclient.Cluster, name string) (bool, error) {
	if _, err := local.Client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		return err == nil, err
	}
	account, err := local.Client.CoreV1().ServiceAccounts(contract.SystemNamespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		account, err = &corev1.ServiceAccount{}, nil
	}
	if err != nil || account.Labels[contract.LabelNodeName] == name {
		return err == nil, err
	}
	_, err = local.Client.AppsV1().Deployments(contract.SystemNamespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}
