//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

// A stolen local credential of akd gives access to what a kubelet has access
// to: the pods of its node and what they refer to.
func TestLocalAttacker(t *testing.T) {
	e := shared
	installed := e.InstallNode(t, manifests.Values{Node: "stolen"}, time.Hour)
	namespace := e.Namespace(t, "attacked")
	e.Apply(t, namespace, "{apiVersion: v1, kind: Secret, metadata: {name: unreferenced}}")
	e.Apply(t, namespace, env.LocalServer)
	e.WaitReady(t, namespace, "real")
	own := kubernetes.NewForConfigOrDie(installed.Config)
	as := func(user string, groups ...string) *kubernetes.Clientset {
		config := rest.CopyConfig(installed.Config)
		config.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: groups}
		return kubernetes.NewForConfigOrDie(config)
	}
	node := as("system:node:"+installed.Name, "system:nodes")
	for name, attack := range map[string]struct {
		try  func() error
		want string
	}{
		"a Secret that no pod of the node refers to": {func() error {
			_, err := node.CoreV1().Secrets(namespace).Get(t.Context(), "unreferenced", metav1.GetOptions{})
			return err
		}, "no relationship found between node 'stolen' and this object"},
		"all Secrets": {func() error {
			_, err := node.CoreV1().Secrets(namespace).List(t.Context(), metav1.ListOptions{})
			return err
		}, "No Object name found"},
		"pods of another node": {func() error {
			_, err := node.CoreV1().Pods("").List(t.Context(), metav1.ListOptions{FieldSelector: "spec.nodeName=local-1"})
			return err
		}, "can only list/watch pods with spec.nodeName field selector"},
		"deleting a pod of another node": {func() error {
			return node.CoreV1().Pods(namespace).Delete(t.Context(), "real", metav1.DeleteOptions{})
		}, "can only delete pods with spec.nodeName set to itself"},
		"a token for a pod of another node": {func() error {
			request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
				BoundObjectRef: &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: "real"},
			}}
			_, err := node.CoreV1().ServiceAccounts(namespace).CreateToken(t.Context(), "default", request, metav1.CreateOptions{})
			return err
		}, "no relationship found between node 'stolen' and this object"},
		"another node": {func() error {
			_, err := as("system:node:local-1", "system:nodes").CoreV1().Nodes().Get(t.Context(), "local-1", metav1.GetOptions{})
			return err
		}, `cannot impersonate resource "users"`},
		"an administrator": {func() error {
			_, err := as("system:node:"+installed.Name, "system:masters").CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
			return err
		}, `cannot impersonate resource "groups"`},
		"the Secret of another akd": {func() error {
			_, err := own.CoreV1().Secrets(contract.SystemNamespace).Get(t.Context(), "other", metav1.GetOptions{})
			return err
		}, `cannot get resource "secrets"`},
		"a token of its own": {func() error {
			_, err := own.CoreV1().ServiceAccounts(contract.SystemNamespace).
				CreateToken(t.Context(), installed.Name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
			return err
		}, `cannot create resource "serviceaccounts/token"`},
		"approving its certificate": {func() error {
			_, err := node.CertificatesV1().CertificateSigningRequests().
				Patch(t.Context(), "any", types.MergePatchType, []byte(`{"status":{}}`), metav1.PatchOptions{}, "approval")
			return err
		}, `cannot patch resource "certificatesigningrequests/approval"`},
	} {
		t.Run(name, func(t *testing.T) {
			err := attack.try()
			if !apierrors.IsForbidden(err) || !strings.Contains(fmt.Sprint(err), attack.want) {
				t.Errorf("got %v, want 403 with %q", err, attack.want)
			}
		})
	}
}
