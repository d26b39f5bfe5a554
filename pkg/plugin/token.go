package plugin

import (
	"context"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/tools/clientcmd"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

func newToken(access *access, streams genericiooptions.IOStreams) *cobra.Command {
	token := &cobra.Command{Use: "token", Short: "Look after akd's credential"}
	token.AddCommand(&cobra.Command{
		Use:   "rotate NODE",
		Short: "Give akd a new token for the other cluster",
		Long: `Give akd a new token for the other cluster. akd takes it up without a restart.
The former token lives on until it expires.`,
		Args: oneNode,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := translate.CheckNodeName(args[0]); err != nil {
				return usageError{err}
			}
			expires, err := rotate(cmd.Context(), access, args[0])
			if err != nil {
				return err
			}
			printf(streams.Out, "node/%s has a new token, which expires at %s\n", args[0], expires)
			return nil
		},
	})
	return token
}

func rotate(ctx context.Context, access *access, node string) (expires string, err error) {
	both, err := access.connect(ctx)
	if err != nil {
		return "", err
	}
	for _, sides := range [][2]*cluster{{both.local, both.remote}, {both.remote, both.local}} {
		home, away := sides[0], sides[1]
		secret, err := home.client.CoreV1().Secrets(translate.SystemNamespace).Get(ctx, node, metav1.GetOptions{})
		if err != nil {
			continue
		}
		stored, err := clientcmd.Load(secret.Data[kubeconfigKey])
		if err != nil || stored.Clusters[away.side] == nil {
			continue
		}
		made := credential{node: node, home: home, away: away, server: stored.Clusters[away.side].Server, always: true}
		_, expires, err = made.store(ctx)
		return expires, err
	}
	return "", usagef("node %s has no credential in either cluster: install it with kubectl actual install %s", node, node)
}
