package rights

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/failure"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
)

// parallelReviews is how many rights are reviewed at a time.
const parallelReviews = 8

// Answers are what a cluster says of rights.
type Answers struct {
	Denied []Right
	// Asked has a line for each right, with the answer before it.
	Asked []string
}

// add joins answers to two questions.
func (a Answers) add(more Answers) Answers {
	asked := slices.Concat(a.Asked, more.Asked)
	slices.Sort(asked)
	return Answers{Denied: slices.Concat(a.Denied, more.Denied), Asked: slices.Compact(asked)}
}

// Review asks which of the rights the user of the kubeconfig has.
func Review(ctx context.Context, c *kubeclient.Cluster, wanted []Right) (Answers, error) {
	return review(ctx, wanted, func(ctx context.Context, right Right) (bool, error) {
		answer, err := c.Client.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
			Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: right.attributes()},
		}, metav1.CreateOptions{})
		if err != nil {
			err = fmt.Errorf("review your rights in the %s cluster: %w", c.Side, err)
			return false, failure.Hintf(err, "check that your user may create selfsubjectaccessreviews.authorization.k8s.io")
		}
		return answer.Status.Allowed, nil
	})
}

// ReviewAKD asks which of the rights the akd of a node has.
func ReviewAKD(ctx context.Context, c *kubeclient.Cluster, node string, wanted []Right) (Answers, error) {
	spec := authorizationv1.SubjectAccessReviewSpec{
		User:   kubeclient.AccountUser(node),
		Groups: []string{"system:serviceaccounts", "system:serviceaccounts:" + contract.SystemNamespace, "system:authenticated"},
	}
	return review(ctx, wanted, func(ctx context.Context, right Right) (bool, error) {
		spec := spec
		spec.ResourceAttributes = right.attributes()
		answer, err := c.Client.AuthorizationV1().SubjectAccessReviews().Create(ctx,
			&authorizationv1.SubjectAccessReview{Spec: spec}, metav1.CreateOptions{})
		if err != nil {
			return false, fmt.Errorf("review akd's rights in the %s cluster: %w", c.Side, err)
		}
		return answer.Status.Allowed, nil
	})
}

// review reviews each right, several at a time.
func review(ctx context.Context, wanted []Right, query func(context.Context, Right) (bool, error)) (Answers, error) {
	wanted = slices.Clone(wanted)
	slices.SortFunc(wanted, func(a, b Right) int { return strings.Compare(a.String(), b.String()) })
	wanted = slices.Compact(wanted)
	allowed := make([]bool, len(wanted))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelReviews)
	for i := range wanted {
		group.Go(func() (err error) {
			allowed[i], err = query(ctx, wanted[i])
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return Answers{}, err
	}
	var answers Answers
	for i, right := range wanted {
		answer := "yes: "
		if !allowed[i] {
			answer = "no: "
			answers.Denied = append(answers.Denied, right)
		}
		answers.Asked = append(answers.Asked, answer+right.String())
	}
	return answers, nil
}
