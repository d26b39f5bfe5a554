package check

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// probed answers to the creation of the probe's namespace and pod, whose
// container ends with that code.
func probed(t *testing.T, client *fake.Clientset, exitCode int32, refusal error) {
	t.Helper()
	client.PrependReactor("create", "*", func(action clienttesting.Action) (bool, runtime.Object, error) {
		create, is := action.(clienttesting.CreateAction)
		if !is {
			return false, nil, nil
		}
		switch object := create.GetObject().(type) {
		case *corev1.Namespace:
			object.Name = probeName + "made"
			account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: object.Name, Name: "default"}}
			if err := client.Tracker().Add(account); err != nil {
				t.Error(err)
			}
		case *corev1.Pod:
			if refusal != nil {
				return true, nil, refusal
			}
			object.Name = probeName + "pod"
			end := &corev1.ContainerStateTerminated{ExitCode: exitCode, Message: "TIMEOUT\n"}
			object.Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{Terminated: end}}}
		}
		return false, nil, nil
	})
}

func TestRemotePodsReachLocal(t *testing.T) {
	t.Parallel()
	const server = "192.0.2.1:6443"
	own := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "vk-shop", Labels: map[string]string{contract.LabelNodeName: "vk"}}}
	cases := map[string]struct {
		reason     string
		remote     []runtime.Object
		exitCode   int32
		refusal    error
		level      Level
		found, fix string
	}{
		"Own namespace": {
			reason: "its network policies count",
			remote: []runtime.Object{own},
			level:  LevelOK,
			found:  "a pod in namespace vk-shop connected to " + server,
		},
		"New namespace": {
			reason: "before install there is none",
			level:  LevelOK,
			found:  "a pod in namespace actual-check-made connected to " + server,
		},
		"Blocked": {
			reason:   "the message says how",
			exitCode: 1,
			level:    LevelFailed,
			found:    "cannot connect to " + server + ": TIMEOUT",
			fix: "allow pods of the remote cluster to connect to " + server +
				", or name an address that they can reach: kubectl actual install vk --local-server=HOST:PORT --remote-context=there",
		},
		"Refused": {
			reason:  "nothing was tried",
			refusal: apierrors.NewForbidden(corev1.Resource("pods"), "", nil),
			level:   LevelSkipped,
			found:   "create the probe pod: ",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := fake.NewClientset(tc.remote...)
			probed(t, client, tc.exitCode, tc.refusal)
			s := subject(nil, nil)
			s.Remote.Client, s.ProbeImage = client, "agnhost"
			s.Node.APIServer, s.Node.Namespaces = server, map[string]string{"vk-shop": "shop", "vk-gone": "gone"}
			expect(t, tc.reason, remotePodsReachLocal(t.Context(), s), tc.level, tc.found, tc.fix)
			if diff := cmp.Diff(len(tc.remote), left(t, client)); diff != "" {
				t.Errorf("pods and namespaces that are left (-want +got):\n%s", diff)
			}
		})
	}
}

// left counts the pods and namespaces of a cluster.
func left(t *testing.T, client *fake.Clientset) int {
	t.Helper()
	pods, err := client.CoreV1().Pods("").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	namespaces, err := client.CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return len(pods.Items) + len(namespaces.Items)
}

// Without an image there is no probe, and without an address nowhere to connect.
func TestRemotePodsReachLocalNeeds(t *testing.T) {
	t.Parallel()
	s := subject(nil, nil)
	expect(t, "--no-probe", remotePodsReachLocal(t.Context(), s), LevelSkipped, "--no-probe", "")
	s.ProbeImage = "agnhost"
	expect(t, "the Service kubernetes has no endpoints", remotePodsReachLocal(t.Context(), s), LevelFailed,
		"the local cluster publishes no address", "name it: kubectl actual install vk --local-server=HOST:PORT --remote-context=there")
}
