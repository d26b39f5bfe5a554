//go:build e2e

package e2e

import (
	"context"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/test/answers"
	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

var update = flag.Bool("update", false, "write what the API server answers into the recorded answers; then read the difference")

// A real API server answers as recorded. podsync's own test holds the servers of its
// histories to the same record.
func TestAnswers(t *testing.T) {
	t.Parallel()
	const file = "../../pkg/provider/internal/podsync/testdata/answers.txtar"
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	// Pods of a node that does not exist are removed by a controller.
	nobody := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: answers.Node}}
	if _, err := shared.Remote.CoreV1().Nodes().Create(t.Context(), nobody, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	prepared := func() error {
		env.Eventually(t, "default service account in "+answers.Namespace, func(ctx context.Context) error {
			_, err := shared.Remote.CoreV1().ServiceAccounts(answers.Namespace).Get(ctx, "default", metav1.GetOptions{})
			return err
		})
		return nil
	}
	t.Cleanup(func() {
		shared.Kubectl(t, "remote", "delete", "node", answers.Node)
		shared.Kubectl(t, "remote", "delete", "namespace", answers.Namespace, "--timeout=3m")
	})
	got, err := answers.Play(t.Context(), shared.Remote, string(archive.Comment), prepared)
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		archive.Files = []txtar.File{{Name: "want", Data: []byte(got)}}
		if err := os.WriteFile(file, txtar.Format(archive), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(strings.Split(string(archive.Files[0].Data), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("(-recorded +real):\n%s", diff)
	}
}
