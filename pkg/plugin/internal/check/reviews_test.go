package check

import (
	"cmp"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
)

// reviewing returns a client whose cluster answers reviews: allow decides about
// rights, token about tokens.
func reviewing(
	allow func(*authorizationv1.ResourceAttributes) bool, token func() (authenticationv1.TokenReviewStatus, error), objects ...runtime.Object,
) *fake.Clientset {
	client := fake.NewClientset(objects...)
	client.PrependReactor("create", "*", func(action clienttesting.Action) (bool, runtime.Object, error) {
		create, is := action.(clienttesting.CreateAction)
		if !is {
			return false, nil, nil
		}
		switch review := create.GetObject().(type) {
		case *authorizationv1.SelfSubjectAccessReview:
			review.Status.Allowed = allow(review.Spec.ResourceAttributes)
			return true, review, nil
		case *authorizationv1.SubjectAccessReview:
			review.Status.Allowed = review.Spec.User == kubeclient.AccountUser("vk") && allow(review.Spec.ResourceAttributes)
			return true, review, nil
		case *authenticationv1.TokenReview:
			status, err := token()
			review.Status = status
			return true, review, err
		}
		return false, nil, nil
	})
	return client
}

func TestMayInstall(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		allow  func(*authorizationv1.ResourceAttributes) bool
		level  Level
		found  string
	}{
		"Administrator": {
			reason: "may do everything",
			allow:  func(*authorizationv1.ResourceAttributes) bool { return true },
			level:  LevelOK,
			found:  "rights",
		},
		"No secrets": {
			reason: "akd's credential is one",
			allow: func(r *authorizationv1.ResourceAttributes) bool {
				return r.Resource != "secrets"
			},
			level: LevelFailed,
			found: "missing: create,get,update secrets in actual-system",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := &kubeclient.Cluster{Side: kubeclient.Local, Client: reviewing(tc.allow, nil)}
			fix := ""
			if tc.level == LevelFailed {
				fix = "ask an administrator of the local cluster for these rights, or to install the node"
			}
			got := mayInstall(t.Context(), c, "")
			expect(t, tc.reason, got, tc.level, tc.found, fix)
			if len(got.Details) == 0 {
				t.Error("the details have no rights")
			}
		})
	}
}

func TestAKDRights(t *testing.T) {
	t.Parallel()
	const install = "kubectl actual install vk --remote-context=there"
	everything := func(*authorizationv1.ResourceAttributes) bool { return true }
	inNamespace := func(r *authorizationv1.ResourceAttributes) bool { return r.Namespace != "vk-shop" }
	s := subject(nil, nil)
	s.Node.Values, s.Node.Namespaces = manifests.Values{Node: "vk", ClusterUID: "here"}, map[string]string{"vk-shop": "shop"}
	s.Remote.Client = reviewing(everything, nil)
	expect(t, "all of them", akdRights(t.Context(), s, s.Remote, manifests.Remote), LevelOK, "rights", "")
	s.Remote.Client = reviewing(inNamespace, nil)
	expect(t, "a role binding is gone", akdRights(t.Context(), s, s.Remote, manifests.Remote), LevelFailed,
		"missing: create,watch pods in vk-shop; list persistentvolumeclaims in vk-shop", install)
	s.Remote.Client = reviewing(func(r *authorizationv1.ResourceAttributes) bool { return r.Resource != "persistentvolumeclaims" }, nil)
	expect(t, "akd is newer than its installation", akdRights(t.Context(), s, s.Remote, manifests.Remote), LevelFailed,
		"missing: list persistentvolumeclaims in vk-shop", install)
}

func TestLeastRights(t *testing.T) {
	t.Parallel()
	s := subject(nil, nil)
	s.Remote.Client = reviewing(func(*authorizationv1.ResourceAttributes) bool { return false }, nil)
	expect(t, "as installed", leastRights(t.Context(), s), LevelOK, "none of the 8", "")
	s.Remote.Client = reviewing(func(r *authorizationv1.ResourceAttributes) bool { return r.Resource == "secrets" }, nil)
	expect(t, "somebody granted more", leastRights(t.Context(), s), LevelWarning, "it may: list secrets; get secrets in kube-system",
		"delete the bindings that were not made by install: "+
			"kubectl get clusterrolebindings,rolebindings -A -o wide --context=there | grep actual-system/vk")
}

func TestCredentialValid(t *testing.T) {
	t.Parallel()
	const (
		install = "kubectl actual install vk --remote-context=there"
		rotate  = "kubectl actual token rotate vk --remote-context=there"
		token   = "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{name: c, context: {cluster: c, user: u}}]\n" +
			"clusters: [{name: c, cluster: {server: 'https://192.0.2.1:6443'}}]\nusers: [{name: u, user: {token: t}}]\n"
		certificate = "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{name: c, context: {cluster: c, user: u}}]\n" +
			"clusters: [{name: c, cluster: {server: 'https://192.0.2.1:6443'}}]\nusers: [{name: u, user: {}}]\n"
	)
	accepted := func(user string) func() (authenticationv1.TokenReviewStatus, error) {
		return func() (authenticationv1.TokenReviewStatus, error) {
			return authenticationv1.TokenReviewStatus{Authenticated: true, User: authenticationv1.UserInfo{Username: user}}, nil
		}
	}
	cases := map[string]struct {
		reason     string
		kubeconfig string // empty: there is no Secret
		review     func() (authenticationv1.TokenReviewStatus, error)
		left       time.Duration // 0: 20 h
		level      Level
		found, fix string
	}{
		"Accepted": {
			reason:     "and it lasts",
			kubeconfig: token,
			review:     accepted(kubeclient.AccountUser("vk")),
			level:      LevelOK,
			found:      "it expires in 20h0m0s",
		},
		"Rejected": {
			reason:     "its ServiceAccount was deleted",
			kubeconfig: token,
			review: func() (authenticationv1.TokenReviewStatus, error) {
				return authenticationv1.TokenReviewStatus{Error: "secret words"}, nil
			},
			level: LevelFailed,
			found: "the remote cluster does not accept akd's token",
			fix:   install + "\nif that does not help: " + rotate,
		},
		"Expired": {
			reason:     "no installation is needed",
			kubeconfig: token,
			review:     func() (authenticationv1.TokenReviewStatus, error) { return authenticationv1.TokenReviewStatus{}, nil },
			left:       -time.Hour,
			level:      LevelFailed,
			found:      "it expired at ",
			fix:        rotate,
		},
		"Another's": {
			reason:     "akd should not have those rights",
			kubeconfig: token,
			review:     accepted("admin"),
			level:      LevelFailed,
			found:      "akd's token belongs to admin",
			fix:        rotate,
		},
		"Not reviewed": {
			reason:     "the user may not",
			kubeconfig: token,
			review: func() (authenticationv1.TokenReviewStatus, error) {
				return authenticationv1.TokenReviewStatus{}, apierrors.NewForbidden(schema.GroupResource{Resource: "tokenreviews"}, "", nil)
			},
			level: LevelSkipped,
			found: "may not create tokenreviews in the remote cluster",
		},
		"Certificate": {reason: "the administrator's own", kubeconfig: certificate, level: LevelSkipped, found: "not a token"},
		"Broken": {
			reason:     "somebody edited it",
			kubeconfig: "nonsense",
			level:      LevelFailed,
			found:      "is not a kubeconfig",
			fix:        install,
		},
		"Missing": {reason: "install stores another", level: LevelFailed, found: "is missing from the local cluster", fix: install},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var local []runtime.Object
			left := cmp.Or(tc.left, 20*time.Hour)
			if tc.kubeconfig != "" {
				local = append(local, &corev1.Secret{
					ObjectMeta: metav1.ObjectMeta{
						Namespace:   contract.SystemNamespace,
						Name:        "vk",
						Annotations: map[string]string{contract.AnnotationTokenExpires: now().Add(left).Format(time.RFC3339)},
					},
					Data: map[string][]byte{kubeclient.KubeconfigKey: []byte(tc.kubeconfig)},
				})
			}
			s := subject(local, nil)
			s.Remote.Client = reviewing(nil, tc.review)
			expect(t, tc.reason, credentialValid(t.Context(), s), tc.level, tc.found, tc.fix)
		})
	}
}
