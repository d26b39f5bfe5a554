package check

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"
	clienttesting "k8s.io/client-go/testing"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
)

// webhookDenial is how Kyverno denies: without a reason.
func webhookDenial() *apierrors.StatusError {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status:  metav1.StatusFailure,
		Code:    400,
		Message: `admission webhook "validate.kyverno.svc-fail" denied the request: label owner is required`,
	}}
}

const nameFlags = "if the remote cluster demands labels or annotations of namespaces, or adds some: kubectl actual install vk " +
	"--namespace-label=KEY=VALUE --namespace-annotation=KEY=VALUE --allow-namespace-metadata=KEY --remote-context=there"

// What makes the remote cluster refuse every namespace of akd was found by pods only.
func TestAdmittedBeforeInstall(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason     string
		answer     func(*corev1.Namespace) error
		level      Level
		found, fix string
	}{
		"Admitted": {
			reason: "a cluster without rules sets the name alone",
			answer: func(n *corev1.Namespace) error {
				n.Labels[corev1.LabelMetadataName], n.Labels["pod-security.kubernetes.io/warn"] = n.Name, "restricted"
				return nil
			},
			level: LevelOK,
		},
		"Denied": {
			reason: "a policy demands a label", answer: func(*corev1.Namespace) error { return webhookDenial() },
			level: LevelWarning, found: "such as akd's is refused: admission webhook", fix: nameFlags,
		},
		"Rights": {
			reason: "the user may not",
			answer: func(*corev1.Namespace) error {
				return apierrors.NewForbidden(corev1.Resource("namespaces"), "", errors.New(`User "me" cannot create`))
			},
			level: LevelSkipped, found: "cannot create",
		},
		"Added": {
			reason: "a webhook adds a label and an annotation",
			answer: func(n *corev1.Namespace) error {
				n.Labels["example.com/revision"], n.Annotations = "stable", map[string]string{"example.com/contact": "a, b"}
				return nil
			},
			level: LevelWarning,
			found: "akd's policies would refuse: label example.com/revision=stable, annotation example.com/contact=a, b",
			fix: "if the values are always the same: kubectl actual install vk --namespace-label=example.com/revision=stable " +
				"--namespace-annotation='example.com/contact=a, b' --remote-context=there\n" +
				"otherwise: kubectl actual install vk --allow-namespace-metadata=example.com/revision,example.com/contact --remote-context=there",
		},
		"Reserved": {
			reason: "no flag allows that",
			answer: func(n *corev1.Namespace) error {
				n.Labels["pod-security.kubernetes.io/enforce"] = "privileged"
				return nil
			},
			level: LevelWarning,
			found: "label pod-security.kubernetes.io/enforce=privileged",
			fix:   "exempt the namespaces with label actual.vk/node-name from what adds pod-security.kubernetes.io/enforce",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := subject(nil, nil)
			s.Node.AKD = nil
			remote := fake.NewClientset()
			remote.PrependReactor("create", "namespaces", func(action clienttesting.Action) (bool, runtime.Object, error) {
				create := action.(clienttesting.CreateActionImpl)
				if len(create.CreateOptions.DryRun) == 0 {
					t.Error("it is no dry run")
				}
				namespace := create.Object.(*corev1.Namespace)
				return true, namespace, tc.answer(namespace)
			})
			s.Remote.Client = remote
			expect(t, tc.reason, namespacesAdmitted(t.Context(), s), tc.level, tc.found, tc.fix)
		})
	}
}

// An installed akd asks with the labels that it was installed with.
func TestAdmittedToAKD(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason     string
		labels     map[string]string
		refusal    *apierrors.StatusError
		level      Level
		found, fix string
	}{
		"Admitted": {reason: "it has the label", labels: map[string]string{"owner": "us"}, level: LevelOK},
		"Denied": {
			reason: "it has none", refusal: webhookDenial(), level: LevelFailed,
			found: "no new local namespace gets a remote one: admission webhook", fix: nameFlags,
		},
		"DryRun": {
			reason:  "a webhook that knows no dry run has not judged",
			refusal: apierrors.NewBadRequest(`admission webhook "w.example.com" does not support dry run`),
			level:   LevelSkipped, found: "does not support dry run",
		},
		"Away": {
			reason: "no answer is no refusal", refusal: apierrors.NewTooManyRequestsError("later"),
			level: LevelSkipped, found: "later",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := subject(nil, nil)
			s.Node.Values = manifests.Values{Node: "vk", PodSecurity: "baseline"}
			s.Node.Values.NamespaceMetadata.Labels = tc.labels
			s.Remote.Client, s.Remote.Config = asAKD(t, tc.labels, tc.refusal)
			expect(t, tc.reason, namespacesAdmitted(t.Context(), s), tc.level, tc.found, tc.fix)
		})
	}
}

// asAKD is a cluster that answers to akd's dry run of a namespace with these labels.
func asAKD(t *testing.T, labels map[string]string, refusal *apierrors.StatusError) (kubernetes.Interface, *rest.Config) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		var namespace corev1.Namespace
		if err := json.NewDecoder(r.Body).Decode(&namespace); err != nil {
			t.Error(err)
		}
		if r.Header.Get("Impersonate-User") != kubeclient.AccountUser("vk") || r.URL.Query().Get("dryRun") != metav1.DryRunAll {
			t.Errorf("%s %s as %q", r.Method, r.URL, r.Header.Get("Impersonate-User"))
		}
		for key, want := range labels {
			if namespace.Labels[key] != want || namespace.Labels[contract.LabelNodeName] != "vk" {
				t.Errorf("labels %v", namespace.Labels)
			}
		}
		var answer any = &namespace
		if refusal != nil {
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
	config := &rest.Config{Host: server.URL, QPS: -1, ContentConfig: rest.ContentConfig{ContentType: runtime.ContentTypeJSON}}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client, config
}
