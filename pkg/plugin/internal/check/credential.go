package check

import (
	"context"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/internal/claims"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
)

// akd should have renewed a token while a tenth of its lifetime was left, or renewBy.
const (
	renewShare = 10
	renewBy    = time.Hour
)

// credentialValid has the peer cluster review the token in akd's Secret.
func credentialValid(ctx context.Context, s *Subject) Finding {
	if s.Node.AKD == nil {
		return notOurs()
	}
	host, peer := s.Node.Host, s.Node.Peer
	secret, err := host.Client.CoreV1().Secrets(contract.SystemNamespace).Get(ctx, s.Node.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return failed(s.installCommand(), "Secret %s/%s is missing from the %s cluster", contract.SystemNamespace, s.Node.Name, host.Side)
	case apierrors.IsForbidden(err):
		return skipped("your user may not get secrets in %s of the %s cluster", contract.SystemNamespace, host.Side)
	case err != nil:
		return unknown(err)
	}
	stored, err := clientcmd.RESTConfigFromKubeConfig(secret.Data[kubeclient.KubeconfigKey])
	if err != nil {
		return failed(s.installCommand(), "key %s of Secret %s/%s is not a kubeconfig",
			kubeclient.KubeconfigKey, contract.SystemNamespace, s.Node.Name)
	}
	if stored.BearerToken == "" {
		return skipped("it is not a token, so kubectl actual does not know when it expires")
	}
	review, err := peer.Client.AuthenticationV1().TokenReviews().Create(ctx,
		&authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: stored.BearerToken}}, metav1.CreateOptions{})
	switch {
	case apierrors.IsForbidden(err):
		return skipped("your user may not create tokenreviews in the %s cluster", peer.Side)
	case err != nil:
		return unknown(err)
	case !review.Status.Authenticated && expired(s, secret):
		return failed(s.rotateCommand(), "it expired at %s: akd was away for longer, or could not renew it",
			secret.Annotations[contract.AnnotationTokenExpires])
	case !review.Status.Authenticated:
		// The API server's reason may quote the token: it is left out.
		return failed(s.installCommand()+"\nif that does not help: "+s.rotateCommand(),
			"the %s cluster does not accept akd's token", peer.Side)
	case review.Status.User.Username != kubeclient.AccountUser(s.Node.Name):
		return failed(s.rotateCommand(), "akd's token belongs to %s", review.Status.User.Username)
	}
	return judgeExpiry(s, secret, claims.Of(stored.BearerToken).Life())
}

// expired goes by what is written on the Secret: the token is not accepted.
func expired(s *Subject, secret *corev1.Secret) bool {
	expires, err := time.Parse(time.RFC3339, secret.Annotations[contract.AnnotationTokenExpires])
	return err == nil && expires.Before(s.Clock.Now())
}

// judgeExpiry looks at how long an accepted token with that lifetime is valid.
func judgeExpiry(s *Subject, secret *corev1.Secret, life time.Duration) Finding {
	expires, err := time.Parse(time.RFC3339, secret.Annotations[contract.AnnotationTokenExpires])
	if err != nil {
		return warning(s.rotateCommand(), "its expiry is not known: Secret %s/%s has no valid annotation %s",
			secret.Namespace, secret.Name, contract.AnnotationTokenExpires)
	}
	spare := renewBy
	if life > 0 {
		spare = min(renewBy, life/renewShare)
	}
	left := expires.Sub(s.Clock.Now()).Round(time.Minute)
	renewed := s.Node.condition(contract.ConditionCredentialRenewed)
	switch {
	case renewed != nil && renewed.Status == corev1.ConditionFalse:
		return failed(s.rotateCommand(), "akd fails to renew it, and it expires in %s: %s", left, renewed.Message)
	case left < spare:
		return warning(s.rotateCommand(), "it expires in %s, and akd has not renewed it", left)
	default:
		return ok("it expires in %s, and akd renews it before", left)
	}
}
