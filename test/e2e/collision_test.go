//go:build e2e

package e2e

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

// Whoever may create namespaces can compute one that has the hash of default. It
// shut default off the node if it came first.
func TestCollidingNamespace(t *testing.T) {
	e := shared
	e.StartAKD(t, env.ExampleNode)
	remotes := map[string]string{}
	for _, namespace := range []string{e.Namespace(t, "amxpsqa5z0auv6qrv990pdew"), metav1.NamespaceDefault} {
		e.Apply(t, namespace, env.Web(env.ExampleNode, 1))
		t.Cleanup(func() {
			if out, stderr, err := e.TryKubectl("local", nil, "delete", "deployment", "web", "-n", namespace); err != nil {
				t.Errorf("delete the pods of %s: %v\n%s%s", namespace, err, out, stderr)
			}
		})
		e.WaitRollout(t, namespace, "deployment/web")
		remote := e.Pods(t, namespace)[0].Annotations[contract.AnnotationRemoteNamespace]
		if !contract.IsRemoteNamespace(remote, env.ExampleNode, namespace) || remotes[remote] != "" {
			t.Errorf("%s runs in %q, and others in %v", namespace, remote, remotes)
		}
		remotes[remote] = namespace
	}
}
