package translate

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// seeds returns the local and remote pods of the goldens as JSON.
func seeds(tb testing.TB) [][]byte {
	tb.Helper()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		tb.Fatal(err)
	}
	var all [][]byte
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			tb.Fatal(err)
		}
		for _, part := range archive.Files {
			if part.Name != "local.yaml" && part.Name != "remote.yaml" {
				continue
			}
			data, err := yaml.YAMLToJSON(part.Data)
			if err != nil {
				tb.Fatal(err)
			}
			all = append(all, data)
		}
	}
	return all
}

// Whatever the local pod is: what is made of it is the same each time, nothing
// of it is changed, and once it is applied there is nothing to update.
func FuzzPod(f *testing.F) {
	for _, seed := range seeds(f) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		local := &corev1.Pod{}
		if json.Unmarshal(data, local) != nil {
			t.Skip()
		}
		local.UID = "local-uid" // the API server gives each pod one
		mapper, before := testMapper(), local.DeepCopy()
		remote, err := siteOf(mapper, local.Namespace).Pod(local, PodContext{})
		if err != nil {
			return
		}
		again, _ := siteOf(mapper, local.Namespace).Pod(local, PodContext{})
		if !apiequality.Semantic.DeepEqual(remote, again) {
			t.Errorf("the same pod is translated in two ways:\n%s", cmp.Diff(remote, again))
		}
		if !apiequality.Semantic.DeepEqual(before, local) {
			t.Errorf("the local pod was changed:\n%s", cmp.Diff(before, local))
		}
		if remote.Spec.NodeName != "" || remote.Spec.ServiceAccountName != "" || *remote.Spec.AutomountServiceAccountToken {
			t.Errorf("the remote pod has a node or an identity: %+v", remote.Spec)
		}
		patches, err := mapper.Update(local, remote, PodContext{})
		if err != nil {
			t.Fatal(err)
		}
		for _, patch := range patches {
			if patch.Subresource != "ephemeralcontainers" {
				t.Errorf("what was just made is to be updated: %s", patch.Data)
			}
		}
		for _, name := range mapper.NeedsOf(local).Secrets {
			if strings.HasPrefix(name, contract.ReservedPrefix) {
				t.Errorf("the pod may refer to %s", name)
			}
		}
	})
}

// Whatever both pods are: a status that was patched is not patched again,
// neither pod is changed, and what is trimmed of a remote pod was not read.
func FuzzStatus(f *testing.F) {
	all := seeds(f)
	for i := range all {
		f.Add(all[i], all[(i+1)%len(all)])
	}
	f.Fuzz(func(t *testing.T, localData, remoteData []byte) {
		local, remote := &corev1.Pod{}, &corev1.Pod{}
		if json.Unmarshal(localData, local) != nil || json.Unmarshal(remoteData, remote) != nil {
			t.Skip()
		}
		mapper := testMapper()
		remote.Name, remote.Namespace = local.Name, contract.RemoteNamespace(mapper.Node, local.Namespace)
		remote.Labels = mapper.Labels(local.Namespace, local.UID)
		localBefore, remoteBefore := local.DeepCopy(), remote.DeepCopy()
		mapper.Next(local, remote)
		status := mapper.Status(local, remote, goldenNow)
		if !apiequality.Semantic.DeepEqual(localBefore, local) || !apiequality.Semantic.DeepEqual(remoteBefore, remote) {
			t.Errorf("an argument was changed:\n%s%s", cmp.Diff(localBefore, local), cmp.Diff(remoteBefore, remote))
		}
		trimmedGivesTheSame(t, mapper, local, remote)
		local.Status = *status
		local.Annotations = mapper.Annotations(local, remote)
		later := metav1.NewTime(goldenNow.AddDate(1, 0, 0))
		patch, err := StatusPatch(local, mapper.Status(local, remote, later), mapper.Annotations(local, remote))
		if err != nil || patch != nil {
			t.Errorf("a status is patched twice: %s, %v", patch, err)
		}
	})
}

func trimmedGivesTheSame(t *testing.T, mapper *Mapper, local, remote *corev1.Pod) {
	t.Helper()
	type decision struct {
		step        Step
		status      *corev1.PodStatus
		annotations map[string]string
		patches     []Patch
		failed      bool
	}
	decide := func(remote *corev1.Pod) decision {
		decided := decision{
			step:        mapper.Next(local, remote),
			status:      mapper.Status(local, remote, goldenNow),
			annotations: mapper.Annotations(local, remote),
		}
		if !mapper.AddsEphemeral(local, remote) {
			patches, err := mapper.Update(local, remote, PodContext{})
			decided.patches, decided.failed = patches, err != nil
		}
		return decided
	}
	trimmed := remote.DeepCopy()
	TrimRemote(trimmed)
	if whole, rest := decide(remote), decide(trimmed); !reflect.DeepEqual(whole, rest) {
		t.Errorf("the trimmed remote pod gives something else: whole %+v, trimmed %+v", whole, rest)
	}
}

// benchPods are a pod with most fields set that akd can proxy, and its remote
// pod, which runs.
func benchPods(b *testing.B) (mapper *Mapper, local, remote *corev1.Pod) {
	b.Helper()
	mapper, local = testMapper(), filledPod(1)
	local.Spec.ResourceClaims = nil
	mapper.RuntimeClassName = *local.Spec.RuntimeClassName
	local.Spec.SetHostnameAsFQDN, local.Spec.EphemeralContainers = nil, nil
	remote, err := siteOf(mapper, local.Namespace).Pod(local, PodContext{})
	if err != nil {
		b.Fatal(err)
	}
	remote.Status = *filledPod(2).Status.DeepCopy()
	return mapper, local, remote
}

// A reconcile of a pod of which nothing changed must cost next to nothing: at
// 10,000 pods it is what akd does most.
func BenchmarkUnchanged(b *testing.B) {
	mapper, local, remote := benchPods(b)
	local.Status = *mapper.Status(local, remote, goldenNow)
	annotations := mapper.Annotations(local, remote)
	maps.Copy(local.Annotations, annotations)
	b.ReportAllocs()
	for b.Loop() {
		mapper.Next(local, remote)
		patch, err := StatusPatch(local, mapper.Status(local, remote, goldenNow), mapper.Annotations(local, remote))
		if err != nil || patch != nil {
			b.Fatalf("something changed: %s, %v", patch, err)
		}
	}
}

// What to do about a pod that runs.
func BenchmarkNext(b *testing.B) {
	mapper, local, remote := benchPods(b)
	b.ReportAllocs()
	for b.Loop() {
		mapper.Next(local, remote)
	}
}

// A status that changed, merged into the local one and made a patch of.
func BenchmarkStatus(b *testing.B) {
	mapper, local, remote := benchPods(b)
	local.Status = corev1.PodStatus{Phase: corev1.PodPending}
	b.ReportAllocs()
	for b.Loop() {
		patch, err := StatusPatch(local, mapper.Status(local, remote, goldenNow), mapper.Annotations(local, remote))
		if err != nil || patch == nil {
			b.Fatalf("nothing changed: %v", err)
		}
	}
}

// The difference between two statuses, field by field and all by the library.
func BenchmarkStatusDifference(b *testing.B) {
	mapper, local, remote := benchPods(b)
	pending := &corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{yes(corev1.PodScheduled, 1)}}
	local.Status = *pending
	running := mapper.Status(local, remote, goldenNow)
	restarted := running.DeepCopy()
	restarted.ContainerStatuses[0].RestartCount++
	for name, before := range map[string]*corev1.PodStatus{"Started": pending, "Restarted": restarted} {
		for way, difference := range map[string]func(before, after *corev1.PodStatus) (map[string]any, error){
			"ByField": statusDifference, "ByStrategicpatch": mergedDifference,
		} {
			b.Run(name+way, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if different, err := difference(before, running); err != nil || len(different) == 0 {
						b.Fatalf("nothing changed: %v", err)
					}
				}
			})
		}
	}
}

func BenchmarkPod(b *testing.B) {
	data, err := os.ReadFile("testdata/service-account-token.txtar")
	if err != nil {
		b.Fatal(err)
	}
	local := &corev1.Pod{}
	if err := yaml.Unmarshal(txtar.Parse(data).Files[0].Data, local); err != nil {
		b.Fatal(err)
	}
	mapper := testMapper()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := siteOf(mapper, local.Namespace).Pod(local, PodContext{}); err != nil {
			b.Fatal(err)
		}
	}
}

// Whatever differs, in one field or in all: the patched pod has the new status.
func TestStatusPatchOfEachField(t *testing.T) {
	full, other := filledPod(1).Status, filledPod(2).Status
	check := func(t *testing.T, before, after corev1.PodStatus) {
		t.Helper()
		local := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web", UID: "local-uid"}, Status: before}
		patch, err := StatusPatch(local, &after, nil)
		if err != nil {
			t.Fatal(err)
		}
		if patch == nil {
			patch = []byte("{}")
		}
		if got := applied(t, local, patch).Status; !apiequality.Semantic.DeepEqual(got, after) {
			t.Errorf("patch %s: -want, +got:\n%s", patch, cmp.Diff(after, got))
		}
	}
	check(t, corev1.PodStatus{}, full)
	check(t, full, corev1.PodStatus{})
	check(t, full, other)
	for field := range reflect.ValueOf(&full).Elem().Fields() {
		t.Run(field.Name, func(t *testing.T) {
			for _, to := range []corev1.PodStatus{{}, other} {
				after := *full.DeepCopy()
				reflect.ValueOf(&after).Elem().FieldByIndex(field.Index).Set(reflect.ValueOf(to).FieldByIndex(field.Index))
				check(t, full, after)
				check(t, after, full)
			}
		})
	}
}
