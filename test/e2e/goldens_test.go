//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

// Fake clientsets validate nothing, so a real API server judges the goldens of
// package translate: each pod and each patch in them, as a dry run, from a tenant
// whom the policies confine.
func TestGoldensAreAccepted(t *testing.T) {
	e := shared
	files, err := filepath.Glob("../../pkg/provider/translate/testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no goldens: %v", err)
	}
	unplaced := manifests.Values{Node: "goldens", PodSecurity: "privileged", Volumes: append(manifests.VolumeKinds(), "csi/csi.example.org")}
	placed := unplaced
	placed.Node = "goldens-placed"
	placed.Placement = manifests.Placement{
		NodeSelector:  map[string]string{"pool": "tenants"},
		Tolerations:   []corev1.Toleration{{Key: "tenant", Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule}},
		RuntimeClass:  "gvisor",
		PriorityClass: "tenants",
	}
	storing := unplaced
	storing.Node, storing.Storage = "goldens-storing", manifests.Storage{Enabled: true, Classes: []string{"standard"}}
	choosing := unplaced
	choosing.Node = "goldens-choosing"
	choosing.Placement = manifests.Placement{
		NodeSelector:    placed.Placement.NodeSelector,
		NodeLabels:      []string{corev1.LabelTopologyZone, "example.com/rack"},
		MoreTolerations: []corev1.Toleration{{Key: "gpu", Operator: corev1.TolerationOpExists}, {Key: "team", Value: "a"}},
		Schedulers:      []string{"mine"},

		MoreRuntimeClasses:  []string{"gvisor"},
		MorePriorityClasses: []string{"tenants"},
	}
	tenants := map[string]*env.Tenant{
		"":                 e.InstallTenant(t, unplaced),
		"RuntimeClassName": e.InstallTenant(t, placed),
		"Placement":        e.InstallTenant(t, choosing),
		"storage":          e.InstallTenant(t, storing),
	}
	for _, tn := range tenants {
		namespace := env.RemoteNamespace(tn.Owner, goldens)
		namespace.Labels["pod-security.kubernetes.io/enforce"] = "privileged" // in which every golden is allowed
		tn.Enter(t, namespace)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			parts := map[string][]byte{}
			for _, part := range archive.Files {
				parts[part.Name] = part.Data
			}
			tn := tenants[""]
			for field, installed := range tenants {
				if field != "" && bytes.Contains(parts["mapper.yaml"], []byte(field+":")) {
					tn = installed
				}
			}
			if content := parts["want/remote.yaml"]; content != nil {
				createPod(t, tn.Client, tn, content, metav1.DryRunAll)
			}
			patches := map[string]string{
				"want/patch.yaml":                     "",
				"want/patch-ephemeralcontainers.yaml": "ephemeralcontainers",
				"want/patch-resize.yaml":              "resize",
			}
			for name, subresource := range patches {
				if parts[name] != nil {
					patchPod(t, tn, parts["remote.yaml"], parts[name], subresource)
				}
			}
		})
	}
}

// goldens is the local namespace of the pods.
const goldens = "goldens"

// createPod creates a golden's pod as a tenant's, with the classes that it names.
func createPod(t *testing.T, client *kubernetes.Clientset, tn *env.Tenant, content []byte, dryRun ...string) *corev1.Pod {
	t.Helper()
	pod := &corev1.Pod{}
	if err := yaml.UnmarshalStrict(content, pod); err != nil {
		t.Fatal(err)
	}
	complete(pod)
	if pod.Labels == nil {
		pod.Labels = map[string]string{}
	}
	maps.Copy(pod.Labels, tn.Labels(goldens, "golden"))
	namespace := contract.RemoteNamespace(tn.Node, goldens)
	createClasses(t, shared, namespace, pod)
	pod.Namespace, pod.ResourceVersion, pod.UID, pod.Spec.NodeName = namespace, "", "", ""
	options := metav1.CreateOptions{DryRun: dryRun, FieldValidation: metav1.FieldValidationStrict}
	created, err := client.CoreV1().Pods(namespace).Create(t.Context(), pod, options)
	if err != nil {
		t.Fatalf("the API server refuses the pod: %v", err)
	}
	return created
}

// complete adds what goldens of updates omit from their remote pod, because no
// update reads it.
func complete(pod *corev1.Pod) {
	if pod.Name == "" {
		pod.Name = "web"
	}
	if len(pod.Spec.Containers) == 0 {
		pod.Spec.Containers = []corev1.Container{{Name: "main", Image: "web:1"}}
	}
	pod.Spec.EphemeralContainers = nil // the API allows none in a new pod
}

// createClasses creates the RuntimeClass and PriorityClass that a pod names: the
// API server rejects pods that name unknown ones. It waits until the caches of
// admission have them.
func createClasses(t *testing.T, e *env.Env, namespace string, pod *corev1.Pod) {
	t.Helper()
	if pod.Spec.RuntimeClassName == nil && pod.Spec.PriorityClassName == "" {
		return
	}
	probe := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{GenerateName: "classes-"}, Spec: corev1.PodSpec{
		Containers:        []corev1.Container{{Name: "main", Image: "web:1"}},
		RuntimeClassName:  pod.Spec.RuntimeClassName,
		PriorityClassName: pod.Spec.PriorityClassName,
	}}
	if name := pod.Spec.RuntimeClassName; name != nil {
		class := &nodev1.RuntimeClass{ObjectMeta: metav1.ObjectMeta{Name: *name}, Handler: "runc"}
		_, err := e.Remote.NodeV1().RuntimeClasses().Create(t.Context(), class, metav1.CreateOptions{})
		deleteAfter(t, e, "runtimeclass", *name, err)
	}
	if name := pod.Spec.PriorityClassName; name != "" && !strings.HasPrefix(name, "system-") {
		class := &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Value: 1}
		_, err := e.Remote.SchedulingV1().PriorityClasses().Create(t.Context(), class, metav1.CreateOptions{})
		deleteAfter(t, e, "priorityclass", name, err)
	}
	env.Eventually(t, "the caches of admission have the pod's classes", func(ctx context.Context) error {
		_, err := e.Remote.CoreV1().Pods(namespace).Create(ctx, probe, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	})
}

// deleteAfter deletes an object when the test ends, unless its creation failed.
func deleteAfter(t *testing.T, e *env.Env, kind, name string, err error) {
	t.Helper()
	if err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _, _ = e.TryKubectl("remote", nil, "delete", kind, name, "--ignore-not-found") })
}

// patchPod applies a golden's patch to its remote pod, which it creates for that.
func patchPod(t *testing.T, tn *env.Tenant, remote, content []byte, subresource string) {
	t.Helper()
	// Somebody of the remote cluster has changed it since.
	pod := createPod(t, shared.Remote, tn, remote)
	defer func() {
		_ = shared.Remote.CoreV1().Pods(pod.Namespace).Delete(t.Context(), pod.Name, metav1.DeleteOptions{GracePeriodSeconds: new(int64)})
	}()
	var patch map[string]any
	if err := yaml.Unmarshal(content, &patch); err != nil {
		t.Fatal(err)
	}
	meta, ok := patch["metadata"].(map[string]any)
	if !ok {
		t.Fatalf("the patch has no metadata, so no UID precondition:\n%s", content)
	}
	meta["uid"] = string(pod.UID)
	data, err := json.Marshal(patch)
	if err != nil {
		t.Fatal(err)
	}
	var subresources []string
	if subresource != "" {
		subresources = []string{subresource}
	}
	_, err = tn.Client.CoreV1().Pods(pod.Namespace).Patch(t.Context(), pod.Name, types.StrategicMergePatchType, data,
		metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}}, subresources...)
	if err != nil {
		t.Errorf("the API server refuses the patch of %q: %v", subresource, err)
	}
}
