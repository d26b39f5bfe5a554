package install

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/meta/testrestmapper"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/failure"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/config"
)

// remoteClass is a class of the remote cluster.
func remoteClass(name string, changes ...func(*storagev1.StorageClass)) storagev1.StorageClass {
	class := storagev1.StorageClass{
		ObjectMeta:           metav1.ObjectMeta{Name: name, Annotations: map[string]string{}},
		Provisioner:          "csi.example.com",
		ReclaimPolicy:        new(corev1.PersistentVolumeReclaimDelete),
		AllowVolumeExpansion: new(true),
	}
	for _, change := range changes {
		change(&class)
	}
	return class
}

func isDefault(age time.Duration) func(*storagev1.StorageClass) {
	return func(class *storagev1.StorageClass) {
		class.Annotations[annotationDefault] = "true"
		class.CreationTimestamp = metav1.NewTime(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(-age))
	}
}

// offers is a local class whose volumes are of a remote one, on some nodes.
func offers(name, remote string, nodes ...string) storagev1.StorageClass {
	class := storagev1.StorageClass{
		ObjectMeta:  metav1.ObjectMeta{Name: name},
		Provisioner: contract.StorageDriver,
		Parameters:  map[string]string{contract.ParameterRemoteClass: remote},
	}
	if len(nodes) > 0 {
		class.AllowedTopologies = []corev1.TopologySelectorTerm{{
			MatchLabelExpressions: []corev1.TopologySelectorLabelRequirement{{Key: contract.LabelNodeName, Values: nodes}},
		}}
	}
	return class
}

func TestChooseStorage(t *testing.T) {
	slow := remoteClass("slow", func(class *storagev1.StorageClass) {
		class.ReclaimPolicy, class.AllowVolumeExpansion = new(corev1.PersistentVolumeReclaimRetain), nil
	})
	remote := []storagev1.StorageClass{remoteClass("fast"), remoteClass("standard", isDefault(time.Hour)), slow}
	foreign := []storagev1.StorageClass{remoteClass("standard")}
	made := func(name, remote string) manifests.StorageClass {
		return manifests.StorageClass{
			Name: name, Remote: remote, ReclaimPolicy: corev1.PersistentVolumeReclaimDelete, AllowVolumeExpansion: true,
		}
	}
	asDefault := func(class manifests.StorageClass) manifests.StorageClass {
		class.Default = true
		return class
	}
	cases := map[string]struct {
		reason  string
		change  func(*nodeOptions)
		found   storageFound
		classes []string
		create  []manifests.StorageClass
		says    string // a part of the outcome
		fails   string
		hint    string
	}{
		"Default": {
			reason:  "the remote default class; a local cluster without classes gets a default one",
			found:   storageFound{remote: remote},
			classes: []string{"standard"}, create: []manifests.StorageClass{asDefault(made("standard", "standard"))},
			says: "claims of the remote classes standard; new local class standard (default)",
		},
		"Taken": {
			reason:  "a class of the local cluster stays as it is, and the default one, too",
			found:   storageFound{remote: remote, local: foreign},
			classes: []string{"standard"}, create: []manifests.StorageClass{made("vk-standard", "standard")},
		},
		"Youngest": {
			reason:  "as Kubernetes chooses between two defaults",
			found:   storageFound{remote: append([]storagev1.StorageClass{remoteClass("newer", isDefault(time.Minute))}, remote...), local: foreign},
			classes: []string{"newer"}, create: []manifests.StorageClass{made("newer", "newer")},
		},
		"Named": {
			reason:  "as the remote class has it",
			change:  func(o *nodeOptions) { o.storageClasses = []string{"slow=archive", "fast"} },
			found:   storageFound{remote: remote, local: foreign},
			classes: []string{"slow", "fast"},
			create: []manifests.StorageClass{
				{Name: "archive", Remote: "slow", ReclaimPolicy: corev1.PersistentVolumeReclaimRetain}, made("fast", "fast"),
			},
		},
		"DefaultOfTwo": {
			reason:  "the one that is named",
			change:  func(o *nodeOptions) { o.storageClasses, o.defaultClass = []string{"standard", "fast=quick"}, "quick" },
			found:   storageFound{remote: remote},
			classes: []string{"standard", "fast"},
			create:  []manifests.StorageClass{made("standard", "standard"), asDefault(made("quick", "fast"))},
		},
		"Again": {
			reason: "what is there belongs to the local administrator, under whatever name",
			change: func(o *nodeOptions) { o.defaultClass = firstClass },
			found: storageFound{
				configured: []string{"standard"}, remote: remote, local: []storagev1.StorageClass{offers("mine", "standard", "a", "vk")},
			},
			classes: []string{"standard"},
			says:    "local class mine exists and stays as it is: annotate it",
		},
		"Everywhere": {
			reason:  "a class without topologies is for every node",
			found:   storageFound{remote: remote, local: []storagev1.StorageClass{offers("mine", "standard")}},
			classes: []string{"standard"},
		},
		"OtherNode": {
			reason:  "a class of another node is not this one's",
			found:   storageFound{remote: remote, local: []storagev1.StorageClass{offers("standard", "standard", "vk-b")}},
			classes: []string{"standard"}, create: []manifests.StorageClass{made("vk-standard", "standard")},
		},
		"Added": {
			reason: "a flag takes nothing away",
			change: func(o *nodeOptions) { o.storageClasses = []string{"fast"} },
			found: storageFound{
				configured: []string{"standard"}, remote: remote, local: []storagev1.StorageClass{offers("standard", "standard", "vk")},
			},
			classes: []string{"standard", "fast"}, create: []manifests.StorageClass{made("fast", "fast")},
		},
		"File": {
			reason: "a configuration lists all of them",
			change: func(o *nodeOptions) {
				o.fields = map[string]any{"storage": map[string]any{"mode": "claims", "classes": []any{"fast"}}}
			},
			found:   storageFound{configured: []string{"standard"}, remote: remote, local: foreign},
			classes: []string{"fast"}, create: []manifests.StorageClass{made("fast", "fast")},
		},
		"Lost": {
			reason:  "a class that went remotely needs no new local one",
			found:   storageFound{configured: []string{"gone"}, remote: remote, local: []storagev1.StorageClass{offers("gone", "gone", "vk")}},
			classes: []string{"gone"},
		},
		"NoDefault": {
			reason: "the user is told which there are", found: storageFound{remote: remote[:1]},
			fails: "the remote cluster has no default StorageClass", hint: "name one with --storage-class: fast",
		},
		"NoClass": {
			reason: "nobody can choose", fails: "the remote cluster has no default StorageClass", hint: "ask its administrator",
		},
		"Unknown": {
			reason: "a slip", change: func(o *nodeOptions) { o.storageClasses = []string{"fats"} }, found: storageFound{remote: remote},
			fails: "the remote cluster has no StorageClass fats", hint: "fast, slow, standard",
		},
		"NamedTaken": {
			reason: "another's class would not lead there",
			change: func(o *nodeOptions) { o.storageClasses = []string{"fast=standard"} },
			found:  storageFound{remote: remote, local: foreign},
			fails:  "the local cluster has another StorageClass standard", hint: "--storage-class fast=NAME",
		},
		"UnknownDefault": {
			reason: "a slip", change: func(o *nodeOptions) { o.defaultClass = "other" }, found: storageFound{remote: remote},
			fails: `--default-storage-class "other": want one of the node's classes in the local cluster: standard`,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			o := options(tc.change)
			if err := o.parse(); err != nil {
				t.Fatal(err)
			}
			choice, err := o.chooseStorage(&tc.found)
			if tc.fails != "" {
				if err == nil || !strings.Contains(err.Error(), tc.fails) || !strings.Contains(strings.Join(failure.Hints(err), "\n"), tc.hint) {
					t.Errorf("%s: error %v, hints %v, want %q with %q", tc.reason, err, failure.Hints(err), tc.fails, tc.hint)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.classes, choice.classes); diff != "" {
				t.Errorf("%s: classes (-want +got):\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(tc.create, choice.create); diff != "" {
				t.Errorf("%s: local classes (-want +got):\n%s", tc.reason, diff)
			}
			if !strings.Contains(choice.String(), tc.says) {
				t.Errorf("%s: outcome %q, want one with %q", tc.reason, choice.String(), tc.says)
			}
		})
	}
}

// configured is the configuration of the installed node.
func configured(storage string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: contract.SystemNamespace, Name: "vk"},
		Data: map[string]string{
			"akd.yaml": "apiVersion: actual.vk/v1alpha1\nkind: AKDConfiguration\nnodeName: vk\n" + storage,
		},
	}
}

// A node keeps its storage, and loses it only when somebody says so and nothing is in it.
func TestDiscoverStorage(t *testing.T) {
	const claims = "storage: {mode: claims, classes: [standard]}\n"
	standard := remoteClass("standard", isDefault(time.Hour))
	volume := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "pvc-1", Labels: map[string]string{contract.LabelNodeName: "vk"}}}
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{
		Namespace: "vk-0123456789abcdef", Name: "pvc-1", Labels: contract.Owner{Node: "vk", ClusterUID: "here"}.ObjectLabels(),
	}}
	theirs := claim.DeepCopy()
	theirs.Labels[contract.LabelClusterUID] = "elsewhere"
	old := runtime.NewScheme()
	cases := map[string]struct {
		reason        string
		change        func(*nodeOptions)
		local, remote []runtime.Object
		oldLocal      bool
		oldRemote     bool
		mode          config.StorageMode
		says, fails   string
	}{
		"Keeps, moved": {
			reason: "akd is to run elsewhere", local: []runtime.Object{configured(claims)},
			change: func(o *nodeOptions) { o.runIn = manifests.RunInRemote },
			mode:   config.StorageClaims, says: "claims of the remote classes standard",
		},
		"Keeps, newer": {
			reason: "another version wrote the configuration", local: []runtime.Object{configured("later: {}\n" + claims)},
			mode: config.StorageClaims, says: "claims of the remote classes standard",
		},
		"Nothing": {reason: "it is opt-in", says: "none: --storage=claims gives claims volumes"},
		"Off":     {reason: "as before", local: []runtime.Object{configured("")}, says: "none: --storage=claims gives"},
		"Keeps": {
			reason: "a rerun without flags", local: []runtime.Object{configured(claims)},
			mode: config.StorageClaims, says: "claims of the remote classes standard",
		},
		"On": {
			reason: "the flag", change: asksStorage("claims"), remote: []runtime.Object{&standard},
			mode: config.StorageClaims, says: "claims of the remote classes standard; new local class standard (default)",
		},
		"Ends": {
			reason: "nothing is in it", change: asksStorage("none"),
			local: []runtime.Object{configured(claims)}, remote: []runtime.Object{theirs},
			mode: config.StorageNone, says: "none, as configured",
		},
		"Volume": {
			reason: "pods would lose it", change: asksStorage("none"), local: []runtime.Object{configured(claims), volume},
			fails: "node vk has 1 volumes in the local cluster and 0 claims in the remote one",
		},
		"Claim": {
			reason: "a kept one, whose volume somebody deleted", change: asksStorage("none"),
			local: []runtime.Object{configured(claims)}, remote: []runtime.Object{claim},
			fails: "node vk has 0 volumes in the local cluster and 1 claims in the remote one",
		},
		"OldLocal": {
			reason: "a hostPath volume is root on real nodes", change: asksStorage("claims"), oldLocal: true,
			fails: "the local cluster v1.29.0 has no ValidatingAdmissionPolicy",
		},
		"OldRemote": {
			reason: "every free volume could be taken", change: asksStorage("claims"), oldRemote: true,
			fails: "the remote cluster v1.29.0 has no ValidatingAdmissionPolicy",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			o := options(tc.change)
			both := kubeclient.Clusters{
				Local: &kubeclient.Cluster{
					Side: kubeclient.Local, UID: "here", Version: "v1.29.0", Client: fake.NewClientset(tc.local...),
					Mapper: testrestmapper.TestOnlyStaticRESTMapper(scheme.Scheme),
				},
				Remote: &kubeclient.Cluster{Side: kubeclient.Remote, Version: "v1.29.0", Client: fake.NewClientset(tc.remote...)},
			}
			if tc.oldLocal {
				both.Local.Mapper = testrestmapper.TestOnlyStaticRESTMapper(old)
			}
			found := discovered{policies: !tc.oldRemote}
			says, err := o.discoverStorage(t.Context(), both, &found)
			if tc.fails != "" {
				if err == nil || !strings.Contains(err.Error(), tc.fails) || len(failure.Hints(err)) == 0 || says != "" {
					t.Errorf("%s: %q, error %v, want one with %q and a hint", tc.reason, says, err, tc.fails)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if found.storage.mode != tc.mode || !strings.Contains(says, tc.says) {
				t.Errorf("%s: %q, %q, want %q, %q", tc.reason, found.storage.mode, says, tc.mode, tc.says)
			}
		})
	}
}

func asksStorage(storage string) func(*nodeOptions) {
	return func(o *nodeOptions) { o.storage = storage }
}

// A class that exists is the local administrator's: another install leaves it as it is.
func TestCreateClasses(t *testing.T) {
	there := offers("there", "standard", "vk")
	there.APIVersion, there.Kind = "storage.k8s.io/v1", "StorageClass"
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&there)
	if err != nil {
		t.Fatal(err)
	}
	object := func(name string) *unstructured.Unstructured {
		class := (&unstructured.Unstructured{Object: content}).DeepCopy()
		class.SetName(name)
		return class
	}
	local := &kubeclient.Cluster{
		Side:    kubeclient.Local,
		Mapper:  testrestmapper.TestOnlyStaticRESTMapper(scheme.Scheme),
		Dynamic: dynamicfake.NewSimpleDynamicClient(scheme.Scheme, object("there")),
	}
	i := &installer{options: &installOptions{}, both: kubeclient.Clusters{Local: local}}
	changed := object("there")
	changed.SetLabels(map[string]string{"a": "b"})
	says, err := i.createClasses(t.Context(), []*unstructured.Unstructured{changed, object("new")})
	if err != nil || says != "1 created, 0 changed, 1 unchanged" {
		t.Fatalf("%q, error %v", says, err)
	}
	resource, err := local.Resource(object("there"))
	if err != nil {
		t.Fatal(err)
	}
	kept, err := resource.Get(t.Context(), "there", metav1.GetOptions{})
	if err != nil || len(kept.GetLabels()) > 0 {
		t.Errorf("it was changed: %v, error %v", kept, err)
	}
}
