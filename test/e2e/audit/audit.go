package audit

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// Credential is a credential and the rights that it should have.
type Credential struct {
	// Config is the credential, and Admin an administrator of its cluster.
	Config *rest.Config
	Admin  *kubernetes.Clientset
	// Listed are the rights that it should have.
	Listed Rights
	// Places are the namespaces to audit, with the places of the lists that each
	// of them is.
	Places map[string][]string
}

// Run reviews the rights of the credential, and then tries every verb on every
// resource. A right that either finds and the lists do not contain fails the test,
// and so does a listed right that the review does not find.
func Run(t *testing.T, c Credential) {
	t.Helper()
	client, err := kubernetes.NewForConfig(c.Config)
	if err != nil {
		t.Fatal(err)
	}
	for namespace, places := range c.Places {
		t.Run("rules in "+namespace, func(t *testing.T) {
			c.compareRules(t, client, namespace, places)
		})
	}
	t.Run("requests", c.tryRequests)
}

// compareRules compares by a SelfSubjectRulesReview.
func (c *Credential) compareRules(t *testing.T, client *kubernetes.Clientset, namespace string, places []string) {
	t.Helper()
	review := &authorizationv1.SelfSubjectRulesReview{Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: namespace}}
	answer, err := client.AuthorizationV1().SelfSubjectRulesReviews().Create(t.Context(), review, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if answer.Status.Incomplete {
		t.Logf("the answer is incomplete: %s", answer.Status.EvaluationError)
	}
	var want []string
	for r := range c.Listed.in(places...) {
		want = append(want, r.String())
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, rulesOf(&answer.Status)); diff != "" {
		t.Errorf("rights in %s (-listed +granted):\n%s", namespace, diff)
	}
}

// rulesOf lists the rights that a review has found, one by one.
func rulesOf(status *authorizationv1.SubjectRulesReviewStatus) []string {
	var rules []string
	for _, rule := range status.ResourceRules {
		names := rule.ResourceNames
		if len(names) == 0 {
			names = []string{""}
		}
		for _, verb := range rule.Verbs {
			for _, group := range rule.APIGroups {
				for _, resource := range rule.Resources {
					for _, name := range names {
						rules = append(rules, right{verb, inGroup(resource, group), name}.String())
					}
				}
			}
		}
	}
	for _, rule := range status.NonResourceRules {
		for _, verb := range rule.Verbs {
			for _, path := range rule.NonResourceURLs {
				rules = append(rules, right{verb, path, ""}.String())
			}
		}
	}
	slices.Sort(rules)
	return slices.Compact(rules)
}
