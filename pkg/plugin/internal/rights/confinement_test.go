package rights_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/rights"
)

// forbidden is how an API server refuses a right to a resource.
func forbidden(resource string) *apierrors.StatusError {
	return apierrors.NewForbidden(corev1.Resource(resource), "", errors.New("User \"me\" cannot …"))
}

func TestCheckConfinement(t *testing.T) {
	t.Parallel()
	const unknown = "another error"
	denied := forbidden("namespaces")
	denied.ErrStatus.Details.Causes = []metav1.StatusCause{{Message: "ValidatingAdmissionPolicy 'namespaces.vk.actual.vk' with binding …"}}
	cases := map[string]struct {
		reason  string
		refusal *apierrors.StatusError
		allowed bool // the user may impersonate
		want    string
	}{
		"Policy":   {reason: "confined, as it should be", refusal: denied, allowed: true},
		"Admitted": {reason: "nothing confines akd", allowed: true, want: rights.ErrNotConfined.Error()},
		"Impersonation": {
			reason:  "the right to impersonate is one to serviceaccounts",
			refusal: forbidden("serviceaccounts"),
			want:    kubeclient.ErrMayNotActAsAKD.Error(),
		},
		"Constrained": {
			reason:  "constrained impersonation asks for namespaces",
			refusal: forbidden("namespaces"),
			want:    kubeclient.ErrMayNotActAsAKD.Error(),
		},
		"RBAC":   {reason: "akd itself lacks the right", refusal: forbidden("namespaces"), allowed: true, want: unknown},
		"Server": {reason: "no answer is no confinement", refusal: apierrors.NewTooManyRequestsError("later"), allowed: true, want: unknown},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			trials := rights.Trials(contract.Owner{Node: "vk", ClusterUID: "here"}, "", &manifests.Values{})[:1]
			err := rights.CheckConfinement(t.Context(), remote(t, tc.refusal, tc.allowed), "vk", trials)
			got := ""
			switch {
			case errors.Is(err, rights.ErrNotConfined):
				got = rights.ErrNotConfined.Error()
			case errors.Is(err, kubeclient.ErrMayNotActAsAKD):
				got = kubeclient.ErrMayNotActAsAKD.Error()
			case err != nil:
				got = unknown
			}
			if got != tc.want {
				t.Errorf("%s: got %q (%v), want %q", tc.reason, got, err, tc.want)
			}
		})
	}
}

// remote is a cluster that answers to the creation of a namespace, and reviews.
func remote(t *testing.T, refusal *apierrors.StatusError, allowed bool) *kubeclient.Cluster {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		var answer any = &corev1.Namespace{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}}
		switch {
		case strings.HasSuffix(r.URL.Path, "/selfsubjectaccessreviews"):
			answer = &authorizationv1.SelfSubjectAccessReview{
				TypeMeta: metav1.TypeMeta{APIVersion: "authorization.k8s.io/v1", Kind: "SelfSubjectAccessReview"},
				Status:   authorizationv1.SubjectAccessReviewStatus{Allowed: allowed},
			}
		case r.Header.Get("Impersonate-User") != kubeclient.AccountUser("vk") || r.URL.Query().Get("dryRun") != metav1.DryRunAll:
			w.WriteHeader(http.StatusTeapot)
		case refusal != nil:
			status := refusal.Status()
			status.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
			w.WriteHeader(int(status.Code))
			answer = status
		}
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	config := &rest.Config{Host: server.URL, QPS: -1}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return &kubeclient.Cluster{Side: kubeclient.Remote, Config: config, Client: client}
}
