package translate

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

var updateGoldens = flag.Bool("update", false, "write the golden files and docs/fields.md anew")

// roots are the types whose fields the ledger lists by themselves, because they
// appear in several places.
var roots = map[reflect.Type]string{
	reflect.TypeFor[corev1.Container]():                "container",
	reflect.TypeFor[corev1.EphemeralContainer]():       "ephemeralContainer",
	reflect.TypeFor[corev1.EphemeralContainerCommon](): "container",
	reflect.TypeFor[corev1.Volume]():                   "volume",
	reflect.TypeFor[corev1.ContainerStatus]():          "containerStatus",
}

// leaves are structs that are one value to a user.
var leaves = []reflect.Type{
	reflect.TypeFor[metav1.Time](), reflect.TypeFor[resource.Quantity](), reflect.TypeFor[intstr.IntOrString](),
	reflect.TypeFor[metav1.FieldsV1](),
}

// fieldName returns the name that the API gives a field, "" when it is inlined.
func fieldName(field reflect.StructField) string {
	name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
	return name
}

// walk visits the fields of a type by the ledger's paths, and goes deeper where
// visit says so.
func walk(t reflect.Type, path string, visit func(path string, leaf bool) (deeper bool)) {
	switch {
	case t.Kind() == reflect.Pointer:
		walk(t.Elem(), path, visit)
	case t.Kind() == reflect.Slice:
		walk(t.Elem(), path+"[]", visit)
	case t.Kind() == reflect.Struct && !slices.Contains(leaves, t):
		if root, ok := roots[t]; ok {
			path = root
		}
		for field := range t.Fields() {
			if fieldName(field) == "" {
				walk(field.Type, path, visit)
				continue
			}
			at := strings.TrimPrefix(path+"."+fieldName(field), ".")
			if visit(at, isLeaf(field.Type)) {
				walk(field.Type, at, visit)
			}
		}
	}
}

func isLeaf(t reflect.Type) bool {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	return t.Kind() != reflect.Struct || slices.Contains(leaves, t)
}

func decisions(t *testing.T) map[string]Decision {
	t.Helper()
	found := map[string]Decision{}
	for _, field := range Ledger() {
		if _, twice := found[field.Path]; twice {
			t.Errorf("%s is in the ledger twice", field.Path)
		}
		if !strings.HasSuffix(field.Why, ".") {
			t.Errorf("%s: the reason %q is no sentence", field.Path, field.Why)
		}
		found[field.Path] = field.Decision
	}
	return found
}

// A Kubernetes upgrade that adds a field must not pass unnoticed.
func TestLedgerHasEveryField(t *testing.T) {
	decided := decisions(t)
	used := map[string]bool{}
	walk(reflect.TypeFor[corev1.Pod](), "", func(path string, leaf bool) bool {
		if _, ok := decided[path]; ok {
			used[path] = true
			return false
		}
		if leaf {
			t.Errorf("%s has no decision: add it to the ledger, and see that the translation does what it says", path)
		}
		return true
	})
	for path := range decided {
		if !used[path] {
			t.Errorf("%s is in the ledger, but no field of a pod, or below one that has a decision", path)
		}
	}
}

// A decision holds for all that is below a field. That list is kept, so that a
// field that Kubernetes adds below one is looked at by somebody.
func TestLedgerFieldsBelow(t *testing.T) {
	below := map[string]bool{}
	walk(reflect.TypeFor[corev1.Pod](), "", func(path string, leaf bool) bool {
		if leaf {
			below[path] = true
		}
		// The only type that a pod has and that has itself below it.
		return !strings.HasSuffix(path, "volumeClaimTemplate.spec")
	})
	golden(t, filepath.Join("testdata", "fields.txt"), strings.Join(slices.Sorted(maps.Keys(below)), "\n")+"\n")
}

// golden compares a file with what it should hold, or writes it.
func golden(t *testing.T, path, want string) {
	t.Helper()
	if *updateGoldens {
		if err := os.WriteFile(path, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(have)); diff != "" {
		t.Errorf("%s is not up to date: run go test ./pkg/provider/translate -update, and read the difference (-want +have):\n%s", path, diff)
	}
}

// The ledger is a promise to users: the translation must do what it says. Every
// field of a pod is set and looked up again on the other side.
func TestLedgerIsTrue(t *testing.T) {
	variants := map[string]func(*Mapper, *corev1.PodSpec){
		"own network, local DNS": func(mapper *Mapper, spec *corev1.PodSpec) {
			mapper.Nameservers = []string{"10.96.0.10"}
			spec.HostNetwork, spec.HostnameOverride, spec.DNSPolicy = false, nil, corev1.DNSClusterFirst
		},
		"host network": func(_ *Mapper, spec *corev1.PodSpec) { spec.SetHostnameAsFQDN = nil },
	}
	before, after := map[string][]any{}, map[string][]any{}
	for _, change := range variants {
		mapper, local := testMapper(), filledPod(1)
		local.Spec.ResourceClaims = nil // refused
		mapper.Storage = true
		local.Spec.Volumes = append(local.Spec.Volumes, mountingPod().Spec.Volumes...)
		mapper.Placement.RuntimeClasses = map[string]string{*local.Spec.RuntimeClassName: "sandbox"}
		change(mapper, &local.Spec)
		remote := translated(t, mapper, local)
		if slices.Equal(remote.Finalizers, []string{contract.FinalizerLastState}) {
			remote.Finalizers = nil // it is akd's own
		}
		reported := filledPod(2)
		reported.ObjectMeta = *remote.ObjectMeta.DeepCopy()
		status := &corev1.Pod{Status: *mapper.Status(local, reported, metav1.Now())}
		for _, field := range Ledger() {
			from, to := local, remote
			if strings.HasPrefix(field.Path, "status.") || strings.HasPrefix(field.Path, "containerStatus.") {
				to = status
				if field.Decision != Local {
					from = reported
				}
			}
			before[field.Path] = append(before[field.Path], fieldsAt(from, field.Path)...)
			after[field.Path] = append(after[field.Path], fieldsAt(to, field.Path)...)
		}
	}
	for _, field := range Ledger() {
		check(t, field, before[field.Path], after[field.Path])
	}
}

// translated returns the remote pod with its ephemeral containers, and without
// the Secrets that tokens become.
func translated(t *testing.T, mapper *Mapper, local *corev1.Pod) *corev1.Pod {
	t.Helper()
	remote, err := siteOf(mapper, local.Namespace).Pod(local, PodContext{Claims: map[string]MountedClaim{
		"data": {Name: "pvc-1"}, "scratch": {Name: "pvc-2"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	env := &environment{mapper: mapper, local: local}
	for i := range local.Spec.EphemeralContainers {
		remote.Spec.EphemeralContainers = append(remote.Spec.EphemeralContainers, *env.ephemeral(&local.Spec.EphemeralContainers[i]))
	}
	for i := range remote.Spec.Volumes {
		if projected := remote.Spec.Volumes[i].Projected; projected != nil {
			projected.Sources = slices.DeleteFunc(projected.Sources, func(p corev1.VolumeProjection) bool {
				return p.Secret != nil && p.Secret.Name == contract.TokenSecretName(local.UID)
			})
		}
	}
	return remote
}

func check(t *testing.T, field Field, before, after []any) {
	t.Helper()
	// Variables of ours come before a container's own, and setHostnameAsFQDN
	// becomes another field.
	added := strings.HasPrefix(field.Path, "container.env[].") || field.Path == "spec.hostnameOverride"
	if added && len(after) > len(before) {
		own := make([]any, 0, len(before))
		for _, value := range after {
			if slices.ContainsFunc(before, func(b any) bool { return cmp.Equal(b, value) }) {
				own = append(own, value)
			}
		}
		after = own
	}
	unset := []string{"kind", "apiVersion", "spec.resourceClaims", "volume.storageos.volumeNamespace"}
	if len(before) == 0 && !slices.Contains(unset, field.Path) && field.Decision != Refused {
		t.Errorf("%s: this test sets no such field", field.Path)
	}
	switch field.Decision {
	case Kept, Local:
		if diff := cmp.Diff(before, after); diff != "" {
			t.Errorf("%s is %s, but changed (-before +after):\n%s", field.Path, field.Decision, diff)
		}
	case Stripped, Refused:
		if len(after) > 0 {
			t.Errorf("%s is %s, but there: %v", field.Path, field.Decision, after)
		}
	case Translated:
		if cmp.Diff(before, after) == "" {
			t.Errorf("%s is translated, but unchanged: %v", field.Path, before)
		}
	}
}

// fieldsAt returns the values of all fields at a path of the ledger that are not zero.
func fieldsAt(pod *corev1.Pod, path string) []any {
	var found []any
	collectFields(reflect.ValueOf(pod).Elem(), "", path, &found)
	return found
}

func collectFields(v reflect.Value, path, want string, found *[]any) {
	switch {
	case v.Kind() == reflect.Pointer:
		if !v.IsNil() {
			collectFields(v.Elem(), path, want, found)
		}
	case v.Kind() == reflect.Slice:
		for i := range v.Len() {
			collectFields(v.Index(i), path+"[]", want, found)
		}
	case v.Kind() == reflect.Struct && !slices.Contains(leaves, v.Type()):
		if root, ok := roots[v.Type()]; ok {
			path = root
		}
		for i := range v.NumField() {
			field := v.Type().Field(i)
			at := path
			if name := fieldName(field); name != "" {
				at = strings.TrimPrefix(path+"."+name, ".")
			}
			if at == want && at != path {
				if !v.Field(i).IsZero() {
					*found = append(*found, v.Field(i).Interface())
				}
				continue
			}
			collectFields(v.Field(i), at, want, found)
		}
	}
}

func TestFieldsDoc(t *testing.T) {
	golden(t, filepath.Join("..", "..", "..", "docs", "fields.md"), fieldsDoc())
}

// keysDoc describes the labels and annotations that are copied.
func keysDoc(doc *strings.Builder) {
	doc.WriteString(`
## Labels and annotations

Webhooks, network plugins, runtimes and controllers of the remote cluster act on some keys. Whoever creates pods in the local cluster could
otherwise give them an identity, a network or a device there. This table lists what akd does with such keys. The first line that matches
decides, and a key that no line matches is copied. ` + "`*`" + ` stands for any characters, and a pattern that ends with ` + "`/`" + `
matches all names of that prefix.

An event on the pod says which of its labels and annotations were not copied. The configuration changes the decisions with
[` + "`pods.labels` and `pods.annotations`" + `](configuration.md#pods): ` + "`allow: [iam.amazonaws.com/]`" + ` copies keys, and
` + "`deny: [\"*/\"]`" + ` drops all that have a prefix. No list can know every webhook: if yours act on other keys, deny those.
Keys under ` + "`actual.vk/`" + ` and ` + "`kubernetes.io/config.`" + ` are never copied.

Cluster-wide network policies of the remote cluster that select pods by ordinary labels, such as ` + "`app`" + `, should leave out
namespaces with the label ` + "`actual.vk/node-name`" + `.

| keys | decision | why |
|---|---|---|
`)
	for _, group := range DefaultKeys() {
		decision := Stripped
		if group.Copied {
			decision = Kept
		}
		fmt.Fprintf(doc, "| `%s` | %s | %s |\n", strings.Join(group.Patterns, "` `"), decision, group.Why)
	}
}

func fieldsDoc() string {
	var doc strings.Builder
	doc.WriteString(`# How AK handles every field of a pod

<!-- Generated from pkg/provider/translate/ledger.go: go test ./pkg/provider/translate -run TestFieldsDoc -update -->

A pod on an actual-kubelets node is a local pod, which you see, and a remote pod, which runs. These tables list what akd does with each
field on its way between the two. A decision applies to everything below its field.

- **kept**: copied unchanged.
- **translated**: copied with changes.
- **stripped**: not copied; the pod runs without it.
- **refused**: akd does not run a pod that sets it; an event and the condition
  ` + "`" + string(contract.ConditionRemoteCreated) + "`" + ` on the pod report it.
- **local**: status only; the value of the local cluster stays.

Metadata and spec are copied from the local to the remote pod, the status from the remote to the local pod.
`)
	keysDoc(&doc)
	for _, part := range []struct {
		title, intro string
		fields       []Field
	}{
		{"Metadata", "", metadataFields()},
		{"Spec", "", specFields()},
		{"Placement", "[Where pods run](install.md#where-pods-run) shows the configuration.", placementFields()},
		{"Containers", "`container` stands for each of spec.containers, spec.initContainers and spec.ephemeralContainers.", containerFields()},
		{"Volumes", "`volume` stands for each of spec.volumes.", volumeFields()},
		{"Status", "", statusFields()},
		{"Container statuses",
			"`containerStatus` stands for each of status.containerStatuses, status.initContainerStatuses and status.ephemeralContainerStatuses.",
			containerStatusFields()},
	} {
		fmt.Fprintf(&doc, "\n## %s\n\n", part.title)
		if part.intro != "" {
			doc.WriteString(part.intro + "\n\n")
		}
		doc.WriteString("| field | decision | why |\n|---|---|---|\n")
		for _, field := range part.fields {
			fmt.Fprintf(&doc, "| `%s` | %s | %s |\n", field.Path, field.Decision, strings.ReplaceAll(field.Why, "|", `\|`))
		}
	}
	return doc.String()
}
