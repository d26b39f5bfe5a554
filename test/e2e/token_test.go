//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os/exec"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

// akd's credential was stolen: kubectl actual token rotate --revoke-all makes it
// worthless, and akd goes on with the next one, without a restart and without
// ending a session.
func TestTokenRevoked(t *testing.T) {
	b := shared
	in := b.installNode(t, manifests.Values{Node: "revoked"}, time.Hour)
	b.startAKD(t, in.node, in.args()...)
	namespace := b.namespace(t, "revoked")
	b.apply(t, namespace, web(in.node, 1))
	b.kubectl(t, "local", "rollout", "status", "deployment/web", "-n", namespace, "--timeout=3m")
	stolen := b.storedCredential(t, in.node)
	ask := func(ctx context.Context) error {
		_, err := stolen.CoreV1().Pods(translate.RemoteNamespace(in.node, namespace)).List(ctx, metav1.ListOptions{})
		return err
	}
	if err := ask(t.Context()); err != nil {
		t.Fatal(err)
	}
	session := b.converse(t, namespace, "deployment/web")

	if out, stderr, code := b.actual(t, "token", "rotate", in.node, "--revoke-all", "--remote-context=remote"); code != 0 {
		t.Fatalf("token rotate: exit code %d\n%s%s", code, out, stderr)
	}
	eventually(t, "the stolen token is rejected", func(ctx context.Context) error { // an API server may know it for 10 s more
		if err := ask(ctx); !apierrors.IsUnauthorized(err) {
			return errors.Join(errors.New("it is not"), err)
		}
		return nil
	})
	b.kubectl(t, "local", "scale", "deployment/web", "-n", namespace, "--replicas=2")
	b.kubectl(t, "local", "rollout", "status", "deployment/web", "-n", namespace, "--timeout=3m")
	session.isOpen(t)
}

// conversation is a session of exec that repeats what it is told.
type conversation struct {
	cmd    *exec.Cmd
	input  io.WriteCloser
	answer bytes.Buffer
}

// converse opens a session in a pod of the local cluster.
func (b *bed) converse(t *testing.T, namespace, pod string) *conversation {
	t.Helper()
	c := &conversation{cmd: exec.CommandContext(t.Context(), b.clusters, "--dir", b.dir, "kubectl", "local", "exec", "-i", "-n", namespace, pod, "--", "cat")}
	c.cmd.Stdout = &c.answer
	var err error
	if c.input, err = c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return c
}

// isOpen fails the test unless the session still answers, and ends it.
func (c *conversation) isOpen(t *testing.T) {
	t.Helper()
	_, _ = io.WriteString(c.input, "still here\n")
	_ = c.input.Close()
	if err := c.cmd.Wait(); err != nil || c.answer.String() != "still here\n" {
		t.Errorf("the session ended with %v and said %q", err, c.answer.String())
	}
}

// storedCredential is a client with what is in akd's Secret now.
func (b *bed) storedCredential(t *testing.T, node string) *kubernetes.Clientset {
	t.Helper()
	secret, err := b.local.CoreV1().Secrets(translate.SystemNamespace).Get(t.Context(), node, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	stored, err := clientcmd.RESTConfigFromKubeConfig(secret.Data["kubeconfig"])
	if err != nil {
		t.Fatal(err)
	}
	administrator, err := clientcmd.BuildConfigFromFlags("", b.dir+"/remote.kubeconfig") // the test is not in akd's network
	if err != nil {
		t.Fatal(err)
	}
	config := rest.AnonymousClientConfig(administrator)
	config.BearerToken = stored.BearerToken
	return kubernetes.NewForConfigOrDie(config)
}
