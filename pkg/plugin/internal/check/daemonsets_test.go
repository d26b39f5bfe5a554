package check

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// daemonSet is a DaemonSet whose pods have that spec.
func daemonSet(name string, spec corev1.PodSpec) *appsv1.DaemonSet {
	return &appsv1.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: name},
		Spec:       appsv1.DaemonSetSpec{Template: corev1.PodTemplateSpec{Spec: spec}},
	}
}

// within is the affinity to nodes that match one of the terms.
func within(terms ...corev1.NodeSelectorTerm) *corev1.Affinity {
	return &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
		RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: terms},
	}}
}

// having is the term of nodes whose label has one of the values.
func having(key string, values ...string) corev1.NodeSelectorTerm {
	return corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{
		{Key: key, Operator: corev1.NodeSelectorOpIn, Values: values},
	}}
}

// named is the term of the node of that name.
func named(name string) corev1.NodeSelectorTerm {
	return corev1.NodeSelectorTerm{MatchFields: []corev1.NodeSelectorRequirement{
		{Key: metav1.ObjectNameField, Operator: corev1.NodeSelectorOpIn, Values: []string{name}},
	}}
}

// everywhere tolerates every taint, as kube-proxy does.
func everywhere() []corev1.Toleration {
	return []corev1.Toleration{{Operator: corev1.TolerationOpExists}}
}

// virtual is a node of akd with these taints.
func virtual(taints ...corev1.Taint) *corev1.Node {
	labels := contract.NodeLabels("vk", "vk")
	labels[corev1.LabelOSStable] = "linux"
	return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "vk", Labels: labels}, Spec: corev1.NodeSpec{Taints: taints}}
}

func TestGetsPod(t *testing.T) {
	t.Parallel()
	remote := corev1.Taint{Key: "actual.vk/remote", Value: "true", Effect: corev1.TaintEffectNoSchedule}
	with := func(effect corev1.TaintEffect) corev1.Taint {
		return corev1.Taint{Key: remote.Key, Value: remote.Value, Effect: effect}
	}
	tolerates := []corev1.Toleration{{Key: remote.Key, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule}}
	away := corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{
		{Key: contract.LabelNode, Operator: corev1.NodeSelectorOpDoesNotExist},
	}}
	cases := map[string]struct {
		reason string
		spec   corev1.PodSpec
		taints []corev1.Taint
		want   bool
	}{
		"Any":      {reason: "nothing keeps it away", want: true},
		"Selected": {reason: "it wants Linux", spec: corev1.PodSpec{NodeSelector: map[string]string{corev1.LabelOSStable: "linux"}}, want: true},
		"Windows":  {reason: "the node is another", spec: corev1.PodSpec{NodeSelector: map[string]string{corev1.LabelOSStable: "windows"}}},
		"Away":     {reason: "it is patched", spec: corev1.PodSpec{Affinity: within(away)}},
		"One term": {
			reason: "one of the terms suffices",
			spec:   corev1.PodSpec{Affinity: within(away, having(corev1.LabelOSStable, "linux"))},
			want:   true,
		},
		"No term": {reason: "an empty term matches nothing", spec: corev1.PodSpec{Affinity: within(corev1.NodeSelectorTerm{})}},
		"Field":   {reason: "the term names the node", spec: corev1.PodSpec{Affinity: within(named("vk"))}, want: true},
		"Named":   {reason: "it is for this node", spec: corev1.PodSpec{NodeName: "vk"}, want: true},
		"Elsewhere": {
			reason: "it is for one machine",
			spec:   corev1.PodSpec{NodeName: "machine", Tolerations: everywhere()},
		},
		"Repelled": {reason: "it tolerates nothing", taints: []corev1.Taint{remote}},
		"Evicted": {
			reason: "the taint would evict it",
			spec:   corev1.PodSpec{Tolerations: tolerates},
			taints: []corev1.Taint{with(corev1.TaintEffectNoExecute)},
		},
		"Tolerant": {
			reason: "it tolerates the taint",
			spec:   corev1.PodSpec{Tolerations: tolerates},
			taints: []corev1.Taint{remote},
			want:   true,
		},
		"Everywhere": {
			reason: "it tolerates all taints",
			spec:   corev1.PodSpec{Tolerations: everywhere()},
			taints: []corev1.Taint{remote},
			want:   true,
		},
		"Preferred": {reason: "the controller does not prefer", taints: []corev1.Taint{with(corev1.TaintEffectPreferNoSchedule)}, want: true},
		"Unwell": {
			reason: "the node is not ready just now, and gets the pod once it is",
			taints: []corev1.Taint{{Key: corev1.TaintNodeNotReady, Effect: corev1.TaintEffectNoSchedule}},
			want:   true,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := getsPod(daemonSet("agent", tc.spec), virtual(tc.taints...)); got != tc.want {
				t.Errorf("%s: want %t, got %t", tc.reason, tc.want, got)
			}
		})
	}
}

// The patch keeps the pods away from nodes of akd, and changes nothing for machines. One that
// only set a term would take away the DaemonSet's own.
func TestKeepAway(t *testing.T) {
	t.Parallel()
	zone := func(name string) *corev1.Node {
		return &corev1.Node{ObjectMeta: metav1.ObjectMeta{
			Name:   "machine-" + name,
			Labels: map[string]string{corev1.LabelOSStable: "linux", corev1.LabelTopologyZone: name},
		}}
	}
	preferred := within(having(corev1.LabelOSStable, "linux"))
	preferred.PodAffinity = &corev1.PodAffinity{}
	preferred.NodeAffinity.PreferredDuringSchedulingIgnoredDuringExecution = []corev1.PreferredSchedulingTerm{
		{Weight: 1, Preference: having(corev1.LabelTopologyZone, "a")},
	}
	cases := map[string]struct {
		reason   string
		affinity *corev1.Affinity
		want     *corev1.NodeSelector
	}{
		"None": {reason: "there is no affinity", want: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{}}}},
		"Terms": {
			reason:   "each term would be enough",
			affinity: within(having(corev1.LabelTopologyZone, "a"), having(corev1.LabelOSStable, "linux")),
			want: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{
				having(corev1.LabelTopologyZone, "a"), having(corev1.LabelOSStable, "linux"),
			}},
		},
		"Others": {
			reason:   "what is preferred, and the affinity to pods, stay",
			affinity: preferred,
			want:     &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{having(corev1.LabelOSStable, "linux")}},
		},
		"Field": {
			reason:   "a term can have fields alone",
			affinity: within(named("vk"), named("machine-b")),
			want:     &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{named("vk"), named("machine-b")}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before := daemonSet("agent", corev1.PodSpec{Affinity: tc.affinity, Tolerations: everywhere()})
			for i := range tc.want.NodeSelectorTerms {
				term := &tc.want.NodeSelectorTerms[i]
				term.MatchExpressions = append(term.MatchExpressions, corev1.NodeSelectorRequirement{
					Key: contract.LabelNode, Operator: corev1.NodeSelectorOpDoesNotExist,
				})
			}
			after := patchedBy(t, before)
			affinity := after.Spec.Template.Spec.Affinity
			if diff := cmp.Diff(tc.want, affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
			if getsPod(after, virtual()) {
				t.Errorf("%s: it still gets a pod", tc.reason)
			}
			for _, machine := range []*corev1.Node{zone("a"), zone("b")} {
				if getsPod(before, machine) != getsPod(after, machine) {
					t.Errorf("%s: the patch changes whether %s gets a pod", tc.reason, machine.Name)
				}
			}
			affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution = nil
			if tc.affinity != nil {
				tc.affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution = nil
				if diff := cmp.Diff(tc.affinity, affinity); diff != "" {
					t.Errorf("%s: everything else (-want +got):\n%s", tc.reason, diff)
				}
			}
		})
	}
}

// A term without requirements matches no node. With one, it would match every machine.
func TestKeepAwayFromEmptyTerm(t *testing.T) {
	t.Parallel()
	before := daemonSet("agent", corev1.PodSpec{Affinity: within(corev1.NodeSelectorTerm{}, having(corev1.LabelOSStable, "linux"))})
	machine := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "machine", Labels: map[string]string{corev1.LabelOSStable: "windows"}}}
	if getsPod(patchedBy(t, before), machine) {
		t.Error("the patched DaemonSet gets to a machine for which it never was")
	}
}

// patchedBy applies the patch as an API server does.
func patchedBy(t *testing.T, ds *appsv1.DaemonSet) *appsv1.DaemonSet {
	t.Helper()
	patch, err := keepAway(ds)
	if err != nil {
		t.Fatal(err)
	}
	original, err := json.Marshal(ds)
	if err != nil {
		t.Fatal(err)
	}
	merged, err := strategicpatch.StrategicMergePatch(original, patch, appsv1.DaemonSet{})
	if err != nil {
		t.Fatal(err)
	}
	var after appsv1.DaemonSet
	if err := json.Unmarshal(merged, &after); err != nil {
		t.Fatal(err)
	}
	return &after
}

func TestDaemonSets(t *testing.T) {
	t.Parallel()
	const away = `'{"spec":{"template":{"spec":{"affinity":{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":` +
		`{"nodeSelectorTerms":[{"matchExpressions":[{"key":"actual.vk/node","operator":"DoesNotExist"}]}]}}}}}}}'`
	const intro = "keep away those that are for machines only; as any change of a template does, this replaces their pods everywhere:\n"
	patch := func(name string) string { return "kubectl patch daemonset " + name + " -n kube-system -p " + away }
	proxy := daemonSet("kube-proxy", corev1.PodSpec{
		HostNetwork: true,
		Tolerations: everywhere(),
		Containers:  []corev1.Container{{Name: "main", SecurityContext: &corev1.SecurityContext{Privileged: new(true)}}},
		Volumes: []corev1.Volume{{
			Name: "modules", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/lib/modules"}},
		}},
	})
	agent := daemonSet("agent", corev1.PodSpec{Containers: []corev1.Container{{Name: "main"}}})
	own, ending := daemonSet("own", corev1.PodSpec{}), daemonSet("ending", corev1.PodSpec{})
	own.Labels = map[string]string{contract.LabelNodeName: "vk"}
	ending.DeletionTimestamp, ending.Finalizers = new(metav1.Now()), []string{"example.org/hold"}
	remote := corev1.Taint{Key: "actual.vk/remote", Effect: corev1.TaintEffectNoSchedule}
	const denied = `kube-system/kube-proxy (denied by Pod Security "baseline": host namespaces, hostPath volumes, privileged)`
	cases := map[string]struct {
		reason     string
		objects    []runtime.Object
		change     func(*Subject)
		level      Level
		found, fix string
		details    []string
	}{
		"None": {reason: "there are no DaemonSets", level: LevelOK, found: "0 of 0"},
		"Both": {
			reason:  "what pods of the node meet is said of each",
			objects: []runtime.Object{proxy, agent, own, ending},
			level:   LevelWarning,
			found:   "2 of 2 do: kube-system/agent (runs in the remote cluster), " + denied,
			fix:     intro + patch("agent") + "\n" + patch("kube-proxy"),
			details: []string{
				"kube-system/agent: its pod runs in the remote cluster, as any pod of the node",
				`kube-system/kube-proxy: the remote cluster denies its pod, which violates Pod Security "baseline": ` +
					`host namespaces (hostNetwork=true), hostPath volumes (volume "modules"), ` +
					`privileged (container "main" must not set securityContext.privileged=true)`,
			},
		},
		"Privileged": {
			reason:  "the remote namespaces allow everything",
			objects: []runtime.Object{proxy},
			change:  func(s *Subject) { s.Node.Values.PodSecurity = "privileged" },
			level:   LevelWarning,
			found:   "1 of 1 do: kube-system/kube-proxy (runs in the remote cluster)",
			fix:     intro + patch("kube-proxy"),
			details: []string{"kube-system/kube-proxy: its pod runs in the remote cluster, as any pod of the node"},
		},
		"Tainted": {
			reason:  "the node repels what does not tolerate it",
			objects: []runtime.Object{agent},
			change:  func(s *Subject) { s.Node.Object = virtual(remote) },
			level:   LevelOK,
			found:   "0 of 1",
		},
		"Planned": {
			reason:  "the node will have that taint",
			objects: []runtime.Object{agent},
			change:  func(s *Subject) { s.Node.Object, s.Taints = nil, []corev1.Taint{remote} },
			level:   LevelOK,
			found:   "0 of 1",
		},
		"Labels": {
			reason: "the node will have labels of the remote nodes, and those that are given",
			objects: []runtime.Object{
				daemonSet("arm", corev1.PodSpec{NodeSelector: map[string]string{"beta.kubernetes.io/arch": "arm64", "rack": "1"}}),
				daemonSet("amd", corev1.PodSpec{NodeSelector: map[string]string{corev1.LabelArchStable: "amd64"}}),
			},
			change: func(s *Subject) {
				machine := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "r", Labels: map[string]string{corev1.LabelArchStable: "arm64"}}}
				machine.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
				s.Node.Object, s.Labels = nil, map[string]string{"rack": "1"}
				s.Remote.Client = fake.NewClientset(machine)
			},
			level:   LevelWarning,
			found:   "1 of 2 do: kube-system/arm",
			fix:     intro + patch("arm"),
			details: []string{"kube-system/arm: its pod runs in the remote cluster, as any pod of the node"},
		},
		"Forbidden": {
			reason: "whoever may not list DaemonSets is told so",
			change: func(s *Subject) {
				client := fake.NewClientset()
				client.PrependReactor("list", "daemonsets", func(clienttesting.Action) (bool, runtime.Object, error) {
					return true, nil, apierrors.NewForbidden(appsv1.Resource("daemonsets"), "", errors.New("no right"))
				})
				s.Local.Client = client
			},
			level: LevelSkipped,
			found: "daemonsets.apps is forbidden: no right",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := subject(tc.objects, nil)
			s.Node.Object = virtual()
			if tc.change != nil {
				tc.change(s)
			}
			got := daemonSets(t.Context(), s)
			expect(t, tc.reason, got, tc.level, tc.found, tc.fix)
			if diff := cmp.Diff(tc.details, got.Details); diff != "" {
				t.Errorf("%s: details (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}
