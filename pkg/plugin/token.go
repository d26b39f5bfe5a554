package plugin

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

func newToken(access *access, streams genericiooptions.IOStreams) *cobra.Command {
	token := &cobra.Command{Use: "token", Short: "Look after akd's credential"}
	revoke := false
	rotateToken := &cobra.Command{
		Use:   "rotate NODE",
		Short: "Give akd a new token for the other cluster",
		Long: `Give akd a new token for the other cluster. akd takes it up without a restart,
and open sessions go on. The former tokens live on until they expire.

With --revoke-all, for when one was stolen, akd's service account is replaced by
one of the same name: no token of the former one is worth anything afterwards.
akd is without a credential for a few seconds.`,
		Example: "  kubectl actual token rotate vk-ak-example --revoke-all --remote-context=remote",
		Args:    oneNode,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := contract.CheckNodeName(args[0]); err != nil {
				return usageError{err}
			}
			expires, err := rotate(cmd.Context(), access, args[0], revoke)
			if err != nil {
				return err
			}
			former := ""
			if revoke {
				former = ", and all former ones are revoked"
			}
			printf(streams.Out, "node/%s has a new token, which expires at %s%s\n", args[0], expires, former)
			return nil
		},
	}
	rotateToken.Flags().BoolVar(&revoke, "revoke-all", false, "replace akd's service account, so that every token it ever had ends")
	token.AddCommand(rotateToken)
	return token
}

// rotate gives akd a new token, after ending all former ones if told so.
func rotate(ctx context.Context, access *access, node string, revoke bool) (expires string, err error) {
	both, err := access.connect(ctx)
	if err != nil {
		return "", err
	}
	for _, sides := range [][2]*cluster{{both.local, both.remote}, {both.remote, both.local}} {
		home, away := sides[0], sides[1]
		secret, err := home.client.CoreV1().Secrets(contract.SystemNamespace).Get(ctx, node, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("read akd's credential in the %s cluster: %w", home.side, err)
		}
		stored, err := clientcmd.Load(secret.Data[kubeconfigKey])
		if err != nil || stored.Clusters[away.side] == nil {
			continue
		}
		if revoke {
			if err := away.replaceAccount(ctx, node); err != nil {
				return "", err
			}
		}
		made := credential{node: node, home: home, away: away, server: stored.Clusters[away.side].Server, always: true}
		_, expires, err = made.store(ctx)
		if err != nil && revoke {
			err = fmt.Errorf("%w: every token is revoked, and akd has none: run kubectl actual token rotate %s again", err, node)
		}
		return expires, err
	}
	return "", usagef("node %s has no credential in either cluster: install it with kubectl actual install %s", node, node)
}

// replaceAccount makes akd's service account anew: tokens are bound to the UID
// of theirs. What is bound to its name, its rights, stays.
func (c *cluster) replaceAccount(ctx context.Context, node string) error {
	accounts := c.client.CoreV1().ServiceAccounts(contract.SystemNamespace)
	title := fmt.Sprintf("%s ServiceAccount %s/%s", c.side, contract.SystemNamespace, node)
	former, err := accounts.Get(ctx, node, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return fmt.Errorf("%s is not there: install the node again with kubectl actual install %s", title, node)
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", title, err)
	}
	object := &unstructured.Unstructured{}
	object.SetAPIVersion("v1")
	object.SetKind("ServiceAccount")
	object.SetNamespace(former.Namespace)
	object.SetName(former.Name)
	object.SetLabels(former.Labels)
	object.SetAnnotations(former.Annotations)
	object.Object["automountServiceAccountToken"] = former.AutomountServiceAccountToken != nil && *former.AutomountServiceAccountToken
	if by := foreignManager(object); by != "" {
		return fmt.Errorf("%s is managed by %s: replace it there", title, by)
	}
	exactly := metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &former.UID}}
	if err := accounts.Delete(ctx, node, exactly); err != nil {
		return fmt.Errorf("delete %s: %w", title, err)
	}
	// Whoever interrupts now leaves akd without an account: it is made anew
	// whatever happens.
	whole, cancel := context.WithTimeout(context.WithoutCancel(ctx), connectTimeout)
	defer cancel()
	again := applier{cluster: c}
	if err := again.apply(whole, []*unstructured.Unstructured{object}); err != nil {
		return fmt.Errorf("%w: every token is revoked, and akd has none: install the node again with kubectl actual install %s", err, node)
	}
	return ctx.Err()
}
