package rights

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
)

// answering is a cluster that allows what allowed says.
func answering(side kubeclient.Side, allowed func(*authorizationv1.ResourceAttributes) bool) *kubeclient.Cluster {
	client := fake.NewClientset()
	client.PrependReactor("create", "selfsubjectaccessreviews", func(action clienttesting.Action) (bool, runtime.Object, error) {
		review := action.(clienttesting.CreateAction).GetObject().(*authorizationv1.SelfSubjectAccessReview).DeepCopy()
		review.Status.Allowed = allowed(review.Spec.ResourceAttributes)
		return true, review, nil
	})
	return &kubeclient.Cluster{Side: side, Client: client}
}

func TestReviewInstall(t *testing.T) {
	cases := map[string]struct {
		reason  string
		side    kubeclient.Side
		allowed func(*authorizationv1.ResourceAttributes) bool
		want    []string
	}{
		"Administrator": {
			reason:  "who may do everything may install",
			side:    kubeclient.Remote,
			allowed: func(*authorizationv1.ResourceAttributes) bool { return true },
		},
		"Viewer": {
			reason: "what a viewer lacks is named as rules of RBAC", side: kubeclient.Local,
			allowed: func(a *authorizationv1.ResourceAttributes) bool { return a.Verb != "patch" && a.Verb != "impersonate" },
			want: []string{
				"patch clusterrolebindings.rbac.authorization.k8s.io",
				"patch clusterroles.rbac.authorization.k8s.io",
				"patch configmaps in actual-system",
				"patch deployments.apps in actual-system",
				"patch leases.coordination.k8s.io in actual-system",
				"patch namespaces",
				"patch rolebindings.rbac.authorization.k8s.io in actual-system",
				"patch rolebindings.rbac.authorization.k8s.io in kube-system",
				"patch roles.rbac.authorization.k8s.io in actual-system",
				"patch serviceaccounts in actual-system",
			},
		},
		"No escalation": {
			reason: "nobody grants rights without having them", side: kubeclient.Local,
			allowed: func(a *authorizationv1.ResourceAttributes) bool {
				return a.Verb != "escalate" && a.Verb != "impersonate"
			},
			want: []string{"impersonate groups system:nodes", "impersonate users system:node:vk"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			values := manifests.Values{Node: "vk", ClusterUID: "here", Image: "akd"}
			answers, err := ReviewInstall(t.Context(), answering(tc.side, tc.allowed), values)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, Rules(answers.Denied)); diff != "" && (len(tc.want) > 0 || len(answers.Denied) > 0) {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
			if denied := strings.Count(strings.Join(answers.Asked, "\n"), "no: "); denied != len(answers.Denied) {
				t.Errorf("%s: %d denied, %d of them asked", tc.reason, len(answers.Denied), denied)
			}
		})
	}
}

func TestRules(t *testing.T) {
	got := Rules([]Right{
		{Verb: "get", Resource: "pods", Subresource: "log", Namespace: "shop"},
		{Verb: "list", Group: "apps", Resource: "deployments"},
		{Verb: "create", Resource: "pods", Subresource: "log", Namespace: "shop"},
		{Verb: "impersonate", Resource: "users", Name: "system:node:vk"},
	})
	want := []string{"get,create pods/log in shop", "list deployments.apps", "impersonate users system:node:vk"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
