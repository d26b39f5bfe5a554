package install

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/command"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/failure"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/owner"
)

// NewToken returns the command token.
func NewToken(env *command.Env) *cobra.Command {
	cmd := &cobra.Command{Use: "token", Short: "Manage akd's credential"}
	cmd.AddCommand(newRotate(env))
	return cmd
}

// rotateOptions are those of kubectl actual token rotate.
type rotateOptions struct {
	env       *command.Env
	node      string
	revoke    bool
	tokenLife tokenLifetime
}

func newRotate(env *command.Env) *cobra.Command {
	o := &rotateOptions{env: env}
	cmd := &cobra.Command{
		Use:   "rotate NODE --remote-context CONTEXT",
		Short: "Give akd a new token for the other cluster",
		Long: `Give akd a new token for the other cluster. akd uses it without a restart, and
open sessions continue. Former tokens remain valid until they expire.

If a token was stolen, add --revoke-all: it replaces akd's service account by
another one of the same name, which makes every former token invalid. For a few
seconds akd then has no credential. The command lists what outlives the tokens: pods,
and rights and tokens of others that a thief may have left.`,
		Example: `  # Give akd a new token
  kubectl actual token rotate vk-ak-example --remote-context=remote

  # Let each token of akd expire after an hour from now on
  kubectl actual token rotate vk-ak-example --remote-context=remote --token-lifetime=1h

  # Make all tokens invalid that akd ever had
  kubectl actual token rotate vk-ak-example --remote-context=remote --revoke-all`,
		Args: command.OneNode,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.node = args[0]
			if err := o.Validate(); err != nil {
				return err
			}
			return o.Run(cmd.Context())
		},
	}
	cmd.Flags().BoolVar(&o.revoke, "revoke-all", false, "replace akd's service account, which makes every former token invalid")
	o.tokenLife.addFlag(cmd.Flags())
	return cmd
}

// Validate checks what can be checked without a cluster.
func (o *rotateOptions) Validate() error { return failure.Usage(contract.CheckNodeName(o.node)) }

// Run gives akd a new token.
func (o *rotateOptions) Run(ctx context.Context) error {
	both, err := o.env.Access.Connect(ctx)
	if err != nil {
		return err
	}
	who := both.Owner(o.node)
	claims, err := owner.Find(ctx, both.Remote, who)
	if err != nil {
		return err
	}
	if err := claims.RefusalWithoutOwn(); err != nil {
		return err
	}
	credential, err := findCredential(ctx, both, who)
	if err != nil {
		return err
	}
	if err := checkPeer(ctx, both, o.node); err != nil {
		return err
	}
	if o.revoke {
		if err := replaceAccount(ctx, credential.Peer, who); err != nil {
			return err
		}
	}
	credential.Lifetime = time.Duration(o.tokenLife)
	stored, err := credential.Store(ctx)
	if err != nil && o.revoke {
		return failure.Hintf(fmt.Errorf("every token is revoked, and akd has none: %w", err),
			"run it again: %s", both.Commands().Actual("token", "rotate", o.node))
	}
	if err != nil {
		return err
	}
	former := ""
	if o.revoke {
		former = "; all former tokens are revoked"
	}
	o.env.Out().Printf("node/%s has a new token, which expires at %s%s\n", o.node, stored.Expires, former)
	if stored.Shortened != "" {
		o.env.ErrOut().Printf("warning: %s cluster: %s\n", credential.Peer.Side, stored.Shortened)
	}
	if o.revoke {
		o.reportSurvivors(ctx, both.Remote, who)
	}
	return nil
}

// findCredential finds the cluster in which akd's Secret is, and where it leads.
func findCredential(ctx context.Context, both kubeclient.Clusters, who contract.Owner) (*kubeclient.Credential, error) {
	node := who.Node
	for _, sides := range [][2]*kubeclient.Cluster{{both.Local, both.Remote}, {both.Remote, both.Local}} {
		host, peer := sides[0], sides[1]
		secret, err := host.Client.CoreV1().Secrets(contract.SystemNamespace).Get(ctx, node, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read akd's credential in the %s cluster: %w", host.Side, err)
		}
		stored, err := clientcmd.Load(secret.Data[kubeclient.KubeconfigKey])
		if err != nil || stored.Clusters[string(peer.Side)] == nil {
			continue
		}
		route, err := peer.Reuse(stored.Clusters[string(peer.Side)])
		if err != nil {
			return nil, err
		}
		return &kubeclient.Credential{
			Owner: who,
			Host:  host,
			Peer:  peer,
			Route: route,
			Renew: true,
		}, nil
	}
	err := failure.Usagef("node %s has no credential in either cluster", node)
	return nil, failure.Hintf(err, "install the node: %s", both.Commands().Actual("install", node))
}

// replaceAccount replaces akd's service account by another one of the same name:
// tokens are bound to the account's UID. What is bound to its name, its rights,
// stays.
func replaceAccount(ctx context.Context, c *kubeclient.Cluster, who contract.Owner) error {
	node := who.Node
	accounts := c.Client.CoreV1().ServiceAccounts(contract.SystemNamespace)
	title := fmt.Sprintf("%s ServiceAccount %s/%s", c.Side, contract.SystemNamespace, node)
	reinstall := "install the node again: " + c.Commands.Actual("install", node)
	former, err := accounts.Get(ctx, node, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return failure.Hintf(fmt.Errorf("%s does not exist", title), "%s", reinstall)
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", title, err)
	}
	account := accountLike(former)
	if by := kubeclient.ForeignManager(account); by != "" {
		return failure.Hintf(fmt.Errorf("%s is managed by %s", title, by), "replace it there")
	}
	if uid := former.Labels[contract.LabelClusterUID]; c.Side == kubeclient.Remote && uid != string(who.ClusterUID) {
		return fmt.Errorf("%s belongs to another local cluster, with UID %q", title, uid)
	}
	if err := accounts.Delete(ctx, node, kubeclient.Exactly(former)); err != nil {
		return fmt.Errorf("delete %s: %w", title, err)
	}
	// An interrupt now would leave akd without an account: it is created again
	// whatever happens.
	whole, cancel := context.WithTimeout(context.WithoutCancel(ctx), kubeclient.ConnectTimeout)
	defer cancel()
	if _, err := c.Apply(whole, []*unstructured.Unstructured{account}, kubeclient.ApplyOptions{}); err != nil {
		return failure.Hintf(fmt.Errorf("every token is revoked, and akd has none: %w", err), "%s", reinstall)
	}
	return ctx.Err()
}

// accountLike is a service account as install applies it.
func accountLike(former *corev1.ServiceAccount) *unstructured.Unstructured {
	object := &unstructured.Unstructured{}
	object.SetAPIVersion("v1")
	object.SetKind("ServiceAccount")
	object.SetNamespace(former.Namespace)
	object.SetName(former.Name)
	object.SetLabels(former.Labels)
	object.SetAnnotations(former.Annotations)
	object.Object["automountServiceAccountToken"] = former.AutomountServiceAccountToken != nil && *former.AutomountServiceAccountToken
	return object
}
