package translate

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"sigs.k8s.io/yaml"
)

// Each golden is one decision: what it starts with is the reason. Its input is
// local.yaml, and if need be
//
//	mapper.yaml      what differs from testMapper
//	node.yaml      the local Node
//	claims.yaml    the remote claims, by volume
//	services.yaml  the Services of the local namespace
//	configmap.yaml and secret.yaml, one of each
//	remote.yaml    what differs from the remote pod that akd made
//
// and its output want/…: the remote pod and its needs, and what its owner is told of its
// placement, or, with a remote.yaml,
// the next step, the patches of the remote pod, and the local status.
func TestGoldens(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no goldens: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			want := &txtar.Archive{Comment: archive.Comment}
			input := map[string][]byte{}
			for _, part := range archive.Files {
				if !strings.HasPrefix(part.Name, "want/") {
					want.Files = append(want.Files, part)
					input[part.Name] = part.Data
				}
			}
			want.Files = append(want.Files, outputs(t, input)...)
			golden(t, file, string(txtar.Format(want)))
		})
	}
}

func outputs(t *testing.T, input map[string][]byte) []txtar.File {
	t.Helper()
	mapper := testMapper()
	decode(t, input["mapper.yaml"], mapper)
	local := &corev1.Pod{}
	decode(t, input["local.yaml"], local)
	if local.Spec.NodeName == "" {
		local.Spec.NodeName = mapper.Node
	}
	var services []*corev1.Service
	for part := range strings.SplitSeq(string(input["services.yaml"]), "---\n") {
		if strings.TrimSpace(part) != "" {
			service := &corev1.Service{}
			decode(t, []byte(part), service)
			services = append(services, service)
		}
	}
	context := PodContext{Services: services}
	if input["node.yaml"] != nil {
		context.Node = &corev1.Node{}
		decode(t, input["node.yaml"], context.Node)
	}
	decode(t, input["claims.yaml"], &context.Claims)
	configMap, secret := &corev1.ConfigMap{}, &corev1.Secret{}
	decode(t, input["configmap.yaml"], configMap)
	decode(t, input["secret.yaml"], secret)
	context.ConfigMaps = map[string]*corev1.ConfigMap{configMap.Name: configMap}
	context.Secrets = map[string]*corev1.Secret{secret.Name: secret}
	localBefore := local.DeepCopy()
	remote, err := siteOf(mapper, local.Namespace).Pod(local, context)
	if diff := cmp.Diff(localBefore, local); diff != "" {
		t.Errorf("Pod changed the local pod (-before +after):\n%s", diff)
	}
	var refusal *Refusal
	switch {
	case errors.As(err, &refusal):
		return []txtar.File{{Name: "want/refusal", Data: fmt.Appendf(nil, "%s: %s\n", refusal.Reason, refusal.Message)}}
	case err != nil:
		t.Fatal(err)
	}
	if input["remote.yaml"] == nil {
		again, err := siteOf(mapper, local.Namespace).Pod(local, context)
		if diff := cmp.Diff(remote, again); diff != "" || err != nil {
			t.Errorf("Pod is not deterministic: %v\n%s", err, diff)
		}
		files := []txtar.File{
			{Name: "want/remote.yaml", Data: encodeYAML(t, remote)},
			{Name: "want/needs.yaml", Data: encodeYAML(t, mapper.NeedsOf(local))},
		}
		for _, told := range []txtar.File{
			{Name: "want/left-out", Data: []byte(mapper.LeftOut(local, context.Node))},
			{Name: "want/one-per-node", Data: []byte(mapper.OnePerNode(local))},
		} {
			if len(told.Data) > 0 {
				files = append(files, txtar.File{Name: told.Name, Data: append(told.Data, '\n')})
			}
		}
		return files
	}
	remote.UID = "remote-uid"
	return followed(t, mapper, local, merged(t, remote, input["remote.yaml"]))
}

// merged returns the pod with some fields replaced. Lists are replaced whole.
func merged(t *testing.T, pod *corev1.Pod, by []byte) *corev1.Pod {
	t.Helper()
	base, over := map[string]any{}, map[string]any{}
	decode(t, encodeYAML(t, pod), &base)
	decode(t, by, &over)
	replace(base, over)
	found := &corev1.Pod{}
	decode(t, encodeYAML(t, base), found)
	return found
}

func replace(base, over map[string]any) {
	for key, value := range over {
		below, deeper := value.(map[string]any)
		into, there := base[key].(map[string]any)
		if deeper && there {
			replace(into, below)
			continue
		}
		base[key] = value
	}
}

// goldenNow is the time of every golden.
var goldenNow = metav1.NewTime(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC))

func followed(t *testing.T, mapper *Mapper, local, remote *corev1.Pod) []txtar.File {
	t.Helper()
	localBefore, remoteBefore := local.DeepCopy(), remote.DeepCopy()
	step := mapper.Next(local, remote)
	text := string(step.Action)
	if step.GracePeriodSeconds != nil {
		text += fmt.Sprintf(" gracePeriodSeconds=%d", *step.GracePeriodSeconds)
	}
	if step.Reason != "" {
		text += fmt.Sprintf(" %s: %s", step.Reason, step.Message)
	}
	files := []txtar.File{{Name: "want/next", Data: []byte(text + "\n")}}
	patches, err := mapper.Update(local, remote, PodContext{})
	if (err != nil) != !mapper.OwnsPodFor(remote, local) {
		t.Fatal(err)
	}
	if (step.Action == Update) != (len(patches) > 0) && step.Action == CopyStatus {
		t.Errorf("Next says %s, but Update has %d patches", step.Action, len(patches))
	}
	for _, patch := range patches {
		name := "want/patch.yaml"
		if patch.Subresource != "" {
			name = "want/patch-" + patch.Subresource + ".yaml"
		}
		data, err := yaml.JSONToYAML(patch.Data)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, txtar.File{Name: name, Data: data})
	}
	status := mapper.Status(local, remote, goldenNow)
	patch, err := StatusPatch(local, status, mapper.Annotations(local, remote))
	if err != nil {
		t.Fatal(err)
	}
	files = append(files, txtar.File{Name: "want/status.yaml", Data: encodeYAML(t, status)})
	if diff := cmp.Diff(localBefore, local) + cmp.Diff(remoteBefore, remote); diff != "" {
		t.Errorf("an argument was changed (-before +after):\n%s", diff)
	}
	settles(t, mapper, local, remote, patch)
	return files
}

// settles applies the status patch as the API server would, and expects that
// nothing is left to do.
func settles(t *testing.T, mapper *Mapper, local, remote *corev1.Pod, patch []byte) {
	t.Helper()
	if patch == nil {
		return
	}
	patched := applied(t, local, patch)
	again, err := StatusPatch(patched, mapper.Status(patched, remote, metav1.NewTime(goldenNow.Add(time.Hour))),
		mapper.Annotations(patched, remote))
	if err != nil || again != nil {
		t.Errorf("after the status patch\n%s\nthere is another one, err %v:\n%s", patch, err, again)
	}
}

func decode(t *testing.T, data []byte, into any) {
	t.Helper()
	if err := yaml.UnmarshalStrict(data, into); err != nil {
		t.Fatal(err)
	}
}

func encodeYAML(t *testing.T, from any) []byte {
	t.Helper()
	data, err := yaml.Marshal(from)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// applied returns the pod after a strategic merge patch.
func applied(t *testing.T, pod *corev1.Pod, patch []byte) *corev1.Pod {
	t.Helper()
	before, err := json.Marshal(pod)
	if err != nil {
		t.Fatal(err)
	}
	after, err := strategicpatch.StrategicMergePatch(before, patch, corev1.Pod{})
	if err != nil {
		t.Fatal(err)
	}
	patched := &corev1.Pod{}
	if err := json.Unmarshal(after, patched); err != nil {
		t.Fatal(err)
	}
	return patched
}
