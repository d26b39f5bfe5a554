package policies_test

import (
	"maps"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/test/attacks"
)

const (
	thief  = "thief"
	victim = "thief-b"
)

// admitted is a pod after the rest of admission has set what it sets.
func admitted(pod *corev1.Pod) *corev1.Pod {
	pod = pod.DeepCopy()
	if pod.Spec.ServiceAccountName == "" {
		pod.Spec.ServiceAccountName, pod.Spec.DeprecatedServiceAccount = "default", "default"
	}
	if pod.Spec.SchedulerName == "" {
		pod.Spec.SchedulerName = corev1.DefaultSchedulerName
	}
	if pod.Spec.Priority == nil {
		pod.Spec.Priority = new(int32)
	}
	pod.Spec.PreemptionPolicy = new(corev1.PreemptLowerPriority)
	for _, key := range []string{corev1.TaintNodeNotReady, corev1.TaintNodeUnreachable} {
		pod.Spec.Tolerations = append(pod.Spec.Tolerations, corev1.Toleration{
			Key: key, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: new(int64(300)),
		})
	}
	return pod
}

func expect(t *testing.T, err error, wants string) {
	t.Helper()
	switch {
	case wants == "" && err != nil:
		t.Errorf("refused: %v", err)
	case wants != "" && err == nil:
		t.Error("it succeeded")
	case wants != "" && !strings.Contains(err.Error(), wants):
		t.Errorf("refused for another reason: %v\nwant %q", err, wants)
	}
}

// A thief's pods are refused, each for its own reason; the pod that they are made
// of is admitted, and an administrator's are not judged.
func TestPods(t *testing.T) {
	s := serve(t, manifests.Values{Node: thief}, manifests.Values{Node: victim})
	innocent := attacks.Pod(owner(thief), "home", "web")
	expect(t, s.do(t, request{user: account(thief), object: admitted(innocent)}), "")
	for name, attack := range attacks.Pods() {
		t.Run("create "+name, func(t *testing.T) {
			pod := innocent.DeepCopy()
			attack.Change(pod)
			expect(t, s.do(t, request{user: account(thief), object: admitted(pod)}), attack.Wants)
			expect(t, s.do(t, request{user: "admin", object: admitted(pod)}), "")
		})
	}
	for name, attack := range attacks.PodUpdates() {
		t.Run("update "+name, func(t *testing.T) {
			old := admitted(innocent)
			old.Spec.NodeName = "remote-1"
			pod := old.DeepCopy()
			attack.Change(pod)
			expect(t, s.do(t, request{user: account(thief), object: pod, old: old}), attack.Wants)
		})
	}
	for _, subresource := range []string{"status", "binding", "eviction", "exec"} {
		expect(t, s.do(t, request{user: account(thief), object: admitted(innocent), old: admitted(innocent), subresource: subresource}),
			"may change pods, their ephemeral containers and their sizes only")
	}
}

// A pod that does not always restart has akd's finalizer until akd takes it off, beside
// those of others.
func TestLastState(t *testing.T) {
	s := serve(t, manifests.Values{Node: thief})
	pod := func(finalizers ...string) *corev1.Pod {
		pod := admitted(attacks.Pod(owner(thief), "home", "web"))
		pod.Finalizers = finalizers
		return pod
	}
	const own, others = contract.FinalizerLastState, "example.org/administrators"
	expect(t, s.do(t, request{user: account(thief), object: pod(own)}), "")
	for _, subresource := range []string{"", "ephemeralcontainers", "resize"} {
		expect(t, s.do(t, request{user: account(thief), object: pod(own), old: pod(own), subresource: subresource}), "")
	}
	expect(t, s.do(t, request{user: account(thief), object: pod(), old: pod(own)}), "")
	expect(t, s.do(t, request{user: account(thief), object: pod(others), old: pod(others, own)}), "")
	expect(t, s.do(t, request{user: account(thief), object: pod(own, others), old: pod(own)}), "finalizers or owners")
}

// A pod may have its own namespace as controller, and no other.
func TestController(t *testing.T) {
	s := serve(t, manifests.Values{Node: thief}, manifests.Values{Node: victim})
	own, others := namespace(thief), namespace(victim)
	for name, tc := range map[string]struct {
		namespace *corev1.Namespace
		change    func(*metav1.OwnerReference)
		wants     string
	}{
		"Own":      {namespace: own},
		"Victim's": {namespace: others, wants: badOwner},
		"Former":   {namespace: own, change: func(r *metav1.OwnerReference) { r.UID = "former" }, wants: badOwner},
		"Blocks":   {namespace: own, change: func(r *metav1.OwnerReference) { r.BlockOwnerDeletion = new(true) }, wants: badOwner},
		"Kind":     {namespace: own, change: func(r *metav1.OwnerReference) { r.Kind = "ConfigMap" }, wants: badOwner},
	} {
		t.Run(name, func(t *testing.T) {
			owner := metav1.OwnerReference{
				APIVersion: "v1", Kind: "Namespace", Name: tc.namespace.Name, UID: tc.namespace.UID, Controller: new(true),
			}
			if tc.change != nil {
				tc.change(&owner)
			}
			pod := admitted(attacks.Pod(contract.Owner{Node: thief, ClusterUID: cluster}, "home", "web"))
			pod.OwnerReferences = []metav1.OwnerReference{owner}
			expect(t, s.do(t, request{user: account(thief), object: pod}), tc.wants)
			if tc.wants == "" {
				expect(t, s.do(t, request{user: account(thief), object: pod, old: pod}), "")
				pod := &corev1.Secret{ObjectMeta: pod.ObjectMeta}
				expect(t, s.do(t, request{user: account(thief), object: pod}), badOwner)
			}
		})
	}
}

const badOwner = "finalizers or owners"

// What others set on a pod stays, and does not keep akd from updating it.
func TestUpdateOfOthers(t *testing.T) {
	s := serve(t, manifests.Values{Node: thief})
	old := admitted(attacks.Pod(owner(thief), "home", "web"))
	old.Spec.NodeName, old.Finalizers = "remote-1", []string{"example.org/administrators"}
	old.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "x", UID: "x"}}
	old.Spec.Tolerations = append(old.Spec.Tolerations, corev1.Toleration{Key: "administrators", Operator: corev1.TolerationOpExists})
	old.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{}}
	for _, subresource := range []string{"", "ephemeralcontainers", "resize"} {
		pod := old.DeepCopy()
		pod.Labels["app"] = "web"
		expect(t, s.do(t, request{user: account(thief), object: pod, old: old, subresource: subresource}), "")
	}
}

// What a node was installed with is admitted, and demanded of its pods.
func TestPodsAsInstalled(t *testing.T) {
	values := manifests.Values{Node: thief, Volumes: []string{"nfs", "csi/secrets-store.csi.k8s.io"}}
	values.Placement.NodeSelector = map[string]string{"pool": "tenants", "zone": "a"}
	values.Placement.Tolerations = []corev1.Toleration{
		{Key: "tenant", Value: "a", Effect: corev1.TaintEffectNoSchedule},
		{Key: "old", Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: new(int64(60))},
	}
	values.Placement.RuntimeClass, values.Placement.PriorityClass = "gvisor", "low"
	values.Placement.DefaultPriorityClass = "standard"
	values.Placement.RuntimeScheduling = []nodev1.Scheduling{{NodeSelector: map[string]string{"runtime": "gvisor"}}}
	s := serve(t, values)
	whole := func() *corev1.Pod {
		pod := attacks.Pod(owner(thief), "home", "web")
		pod.Spec.NodeSelector = map[string]string{"pool": "tenants", "zone": "a", "runtime": "gvisor"}
		pod.Spec.Tolerations = values.Placement.Tolerations
		pod.Spec.RuntimeClassName, pod.Spec.PriorityClassName, pod.Spec.Priority = new("gvisor"), "low", new(int32(-10))
		pod.Spec.Overhead = corev1.ResourceList{}
		pod.Spec.Volumes = []corev1.Volume{
			{Name: "nfs", VolumeSource: corev1.VolumeSource{NFS: &corev1.NFSVolumeSource{}}},
			{Name: "csi", VolumeSource: corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{Driver: "secrets-store.csi.k8s.io"}}},
		}
		return pod
	}
	for name, attack := range map[string]attacks.Attack[*corev1.Pod]{
		"as installed":        {Change: func(*corev1.Pod) {}},
		"without tolerations": {Change: func(p *corev1.Pod) { p.Spec.Tolerations = nil }},
		"without the selector": {
			Change: func(p *corev1.Pod) { p.Spec.NodeSelector = nil },
			Wants:  "node selector only, which is \"pool=tenants,zone=a\"",
		},
		"with half the selector": {Change: func(p *corev1.Pod) { delete(p.Spec.NodeSelector, "zone") }, Wants: "node selector only"},
		"with another value":     {Change: func(p *corev1.Pod) { p.Spec.NodeSelector["zone"] = "b" }, Wants: "node selector only"},
		"without the class": {
			Change: func(p *corev1.Pod) { p.Spec.PriorityClassName = "" },
			Wants:  "priority classes only: \"low\"",
		},
		"of the default class": {Change: func(p *corev1.Pod) { p.Spec.PriorityClassName = "standard" }, Wants: "priority classes only"},
		"without the sandbox": {
			Change: func(p *corev1.Pod) { p.Spec.RuntimeClassName = nil },
			Wants:  "runtime classes only: \"gvisor\"",
		},
		"of another driver": {
			Change: func(p *corev1.Pod) { p.Spec.Volumes[1].CSI.Driver = "other.example.com" },
			Wants:  "kinds of volumes only",
		},
		"with a longer tolerance": {
			Change: func(p *corev1.Pod) { p.Spec.Tolerations[1].TolerationSeconds = nil },
			Wants:  "tolerations only",
		},
	} {
		t.Run(name, func(t *testing.T) {
			pod := whole().DeepCopy()
			attack.Change(pod)
			expect(t, s.do(t, request{user: account(thief), object: admitted(pod)}), attack.Wants)
		})
	}
}

// What pods may choose themselves is admitted as far as the node was installed with it.
func TestPodsAsTheyChoose(t *testing.T) {
	values := manifests.Values{Node: thief}
	values.Placement.NodeLabels = []string{"example.com/rack", corev1.LabelTopologyZone}
	values.Placement.MoreTolerations = []corev1.Toleration{
		{Key: "gpu", Operator: corev1.TolerationOpExists},
		{Key: "team", Value: "a", Effect: corev1.TaintEffectNoSchedule},
	}
	values.Placement.Schedulers = []string{"mine"}
	values.Placement.MoreRuntimeClasses, values.Placement.MorePriorityClasses = []string{"gvisor"}, []string{"high"}
	installed, bare := serve(t, values), serve(t, manifests.Values{Node: thief})
	tolerates := func(toleration corev1.Toleration) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.Spec.Tolerations = append(p.Spec.Tolerations, toleration) }
	}
	team := func(value string, effect corev1.TaintEffect) func(*corev1.Pod) {
		return tolerates(corev1.Toleration{Key: "team", Value: value, Effect: effect})
	}
	selects := func(key, value string) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{key: value} }
	}
	needs := func(key string) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			one := corev1.NodeSelectorRequirement{Key: key, Operator: corev1.NodeSelectorOpNotIn, Values: []string{"x"}}
			term := corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{one}}
			p.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
				RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{term}},
			}}
		}
	}
	apart := func(key string) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			term := corev1.PodAffinityTerm{LabelSelector: &metav1.LabelSelector{}, TopologyKey: key}
			p.Spec.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{
				RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{term},
			}}
			p.Spec.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{MaxSkew: 1, TopologyKey: key}}
		}
	}
	const (
		badToleration = "with the installed tolerations only"
		always        = "always" // admitted by both
	)
	// Each is refused without installation, and admitted with it, or what is said here.
	for name, tc := range map[string]struct {
		change func(*corev1.Pod)
		wants  string
	}{
		"Architecture":     {change: needs(corev1.LabelArchStable), wants: always},
		"System":           {change: selects(corev1.LabelOSStable, "linux"), wants: always},
		"Hosts":            {change: apart(corev1.LabelHostname), wants: always},
		"Zones":            {change: apart(corev1.LabelTopologyZone), wants: always},
		"Rack":             {change: needs("example.com/rack")},
		"Racks":            {change: apart("example.com/rack")},
		"SelectedZone":     {change: selects(corev1.LabelTopologyZone, "a")},
		"Row":              {change: needs("example.com/row"), wants: "by the installed labels only"},
		"Rows":             {change: apart("example.com/row"), wants: "over the installed labels"},
		"Scheduler":        {change: func(p *corev1.Pod) { p.Spec.SchedulerName = "mine" }},
		"Sandbox":          {change: func(p *corev1.Pod) { p.Spec.RuntimeClassName = new("gvisor") }},
		"OtherSandbox":     {change: func(p *corev1.Pod) { p.Spec.RuntimeClassName = new("kata") }, wants: "runtime classes only"},
		"Priority":         {change: func(p *corev1.Pod) { p.Spec.PriorityClassName, p.Spec.Priority = "high", new(int32(10)) }},
		"Device":           {change: tolerates(corev1.Toleration{Key: "gpu", Value: "x", Effect: corev1.TaintEffectNoSchedule})},
		"EveryDevice":      {change: tolerates(corev1.Toleration{Key: "gpu", Operator: corev1.TolerationOpExists})},
		"Team":             {change: team("a", corev1.TaintEffectNoSchedule)},
		"OtherTeam":        {change: team("b", corev1.TaintEffectNoSchedule), wants: badToleration},
		"EveryTeam":        {change: tolerates(corev1.Toleration{Key: "team", Operator: corev1.TolerationOpExists}), wants: badToleration},
		"TeamEvicted":      {change: team("a", corev1.TaintEffectNoExecute), wants: badToleration},
		"TeamOfEachEffect": {change: team("a", ""), wants: badToleration},
		"Everything":       {change: tolerates(corev1.Toleration{Operator: corev1.TolerationOpExists}), wants: badToleration},
	} {
		t.Run(name, func(t *testing.T) {
			pod := attacks.Pod(owner(thief), "home", "web")
			tc.change(pod)
			r := request{user: account(thief), object: admitted(pod)}
			if tc.wants == always {
				expect(t, bare.do(t, r), "")
				tc.wants = ""
			} else {
				expect(t, bare.do(t, r), "akd may")
			}
			expect(t, installed.do(t, r), tc.wants)
		})
	}
}

// Without a configured class, pods have the remote cluster's default one, or none.
func TestDefaultPriorityClass(t *testing.T) {
	values := manifests.Values{Node: thief}
	values.Placement.DefaultPriorityClass = "standard"
	s := serve(t, values)
	for class, wants := range map[string]string{"": "", "standard": "", "high": "priority classes only: \"\", \"standard\""} {
		pod := attacks.Pod(owner(thief), "home", "web")
		if pod.Spec.PriorityClassName = class; class != "" {
			pod.Spec.Priority = new(int32(1000))
		}
		expect(t, s.do(t, request{user: account(thief), object: admitted(pod)}), wants)
	}
}

// Admission lets a pod that uses a device tolerate the taint of its nodes.
func TestTolerationOfResource(t *testing.T) {
	s := serve(t, manifests.Values{Node: thief})
	pod := attacks.Pod(owner(thief), "home", "web")
	pod.Spec.Tolerations = []corev1.Toleration{{Key: "example.com/gpu", Operator: corev1.TolerationOpExists}}
	pod.Spec.Containers[0].Resources.Requests = corev1.ResourceList{"example.com/gpu": {}}
	expect(t, s.do(t, request{user: account(thief), object: admitted(pod)}), "")
}

// Other objects are written in own namespaces only, labelled, and without owners.
func TestObjects(t *testing.T) {
	s := serve(t, manifests.Values{Node: thief}, manifests.Values{Node: victim})
	kinds := map[string]func(metav1.ObjectMeta) runtime.Object{
		"configmap": func(m metav1.ObjectMeta) runtime.Object { return &corev1.ConfigMap{ObjectMeta: m} },
		"secret": func(m metav1.ObjectMeta) runtime.Object {
			return &corev1.Secret{ObjectMeta: m, Type: corev1.SecretTypeOpaque}
		},
		"resourcequota":       func(m metav1.ObjectMeta) runtime.Object { return &corev1.ResourceQuota{ObjectMeta: m} },
		"poddisruptionbudget": func(m metav1.ObjectMeta) runtime.Object { return &policyv1.PodDisruptionBudget{ObjectMeta: m} },
		"limitrange":          func(m metav1.ObjectMeta) runtime.Object { return &corev1.LimitRange{ObjectMeta: m} },
		"claim":               func(m metav1.ObjectMeta) runtime.Object { return &corev1.PersistentVolumeClaim{ObjectMeta: m} },
	}
	for kind, object := range kinds {
		innocent := metav1.ObjectMeta{Namespace: namespace(thief).Name, Name: "mine", Labels: owner(thief).Labels("home", "uid")}
		expect(t, s.do(t, request{user: account(thief), object: object(*innocent.DeepCopy())}), "")
		for name, attack := range attacks.Objects() {
			t.Run(kind+" "+name, func(t *testing.T) {
				changed := innocent.DeepCopy()
				attack.Change(changed)
				expect(t, s.do(t, request{user: account(thief), object: object(*changed)}), attack.Wants)
				expect(t, s.do(t, request{user: account(thief), object: object(*changed), old: object(*innocent.DeepCopy())}), attack.Wants)
			})
		}
		for _, place := range []string{"default", contract.SystemNamespace, namespace(victim).Name} {
			elsewhere := innocent.DeepCopy()
			elsewhere.Namespace = place
			expect(t, s.do(t, request{user: account(thief), object: object(*elsewhere)}), "beyond them its record alone")
		}
	}
	for _, kind := range []corev1.SecretType{corev1.SecretTypeServiceAccountToken, "bootstrap.kubernetes.io/token"} {
		secret := &corev1.Secret{Type: kind, ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace(thief).Name, Name: "mine", Labels: owner(thief).Labels("home", "uid"),
		}}
		expect(t, s.do(t, request{user: account(thief), object: secret}), "may not make secrets that hold identities")
	}
}

// A tenant keeps its record, and cannot make it another's.
func TestRecord(t *testing.T) {
	s := serve(t, manifests.Values{Node: thief})
	record := func(name string, labels map[string]string) *corev1.ConfigMap {
		return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: contract.SystemNamespace, Name: name, Labels: labels}}
	}
	own := record(contract.RecordName(thief), owner(thief).ObjectLabels())
	expect(t, s.do(t, request{user: account(thief), object: own}), "")
	expect(t, s.do(t, request{user: account(thief), object: own, old: own}), "")
	const badLabel = "must label what it writes"
	expect(t, s.do(t, request{user: account(thief), object: record(own.Name, owner(victim).ObjectLabels()), old: own}), badLabel)
	expect(t, s.do(t, request{user: account(thief), object: record(own.Name, nil), old: own}), badLabel)
	other := contract.Owner{Node: thief, ClusterUID: "another"}
	expect(t, s.do(t, request{user: account(thief), object: record(own.Name, other.ObjectLabels()), old: own}), badLabel)
	expect(t, s.do(t, request{user: account(thief), object: record(thief+".policy", own.Labels)}), "its record alone")
	expect(t, s.do(t, request{user: account(thief), object: record(contract.RecordName(victim), own.Labels)}), "its record alone")
}

// The settings demand the node's own cluster and level of a namespace.
func TestNamespaces(t *testing.T) {
	s := serve(t, manifests.Values{Node: thief, PodSecurity: "baseline"}, manifests.Values{Node: victim})
	const level = "pod-security.kubernetes.io/enforce"
	for name, attack := range map[string]attacks.Attack[*corev1.Namespace]{
		"own":        {Change: func(*corev1.Namespace) {}},
		"restricted": {Change: func(n *corev1.Namespace) { n.Labels[level] = "restricted" }},
		"privileged": {
			Change: func(n *corev1.Namespace) { n.Labels[level] = "privileged" },
			Wants:  "one of the Pod Security levels baseline, restricted",
		},
		"no level": {Change: func(n *corev1.Namespace) { delete(n.Labels, level) }, Wants: "Pod Security levels"},
		"another cluster": {
			Change: func(n *corev1.Namespace) { n.Labels[contract.LabelClusterUID] = "another" },
			Wants:  "their label actual.vk/cluster-uid is its UID",
		},
		"no cluster": {
			Change: func(n *corev1.Namespace) { delete(n.Labels, contract.LabelClusterUID) },
			Wants:  "their label actual.vk/cluster-uid is its UID",
		},
		"no node": {
			Change: func(n *corev1.Namespace) { delete(n.Labels, contract.LabelNodeName) },
			Wants:  "namespaces of its own node only",
		},
		"the victim's node": {
			Change: func(n *corev1.Namespace) { n.Labels[contract.LabelNodeName] = victim }, Wants: "namespaces of its own node only",
		},
		"a foreign name": {
			Change: func(n *corev1.Namespace) { n.Name = namespace(victim).Name },
			Wants:  "named by the node, a dash and a hash",
		},
		"a short name": {Change: func(n *corev1.Namespace) { n.Name = "thief-abc" }, Wants: "named by the node, a dash and a hash"},
		"finalizer": {
			Change: func(n *corev1.Namespace) { n.Finalizers = []string{"example.org/stays"} },
			Wants:  "finalizers or owners",
		},
		"owner": {Change: func(n *corev1.Namespace) {
			n.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: "x", UID: "x"}}
		}, Wants: "finalizers or owners"},
		"finalizer of its content": {
			Change: func(n *corev1.Namespace) {
				n.Spec.Finalizers = []corev1.FinalizerName{"kubernetes", "example.org/stays"}
			}, Wants: "finalizers or owners",
		},
	} {
		t.Run(name, func(t *testing.T) {
			made := namespace(thief)
			attack.Change(made)
			expect(t, s.do(t, request{user: account(thief), object: made}), attack.Wants)
		})
	}
	expect(t, s.do(t, request{user: account(thief), old: namespace(thief)}), "")
	expect(t, s.do(t, request{user: account(thief), old: namespace(victim)}), "namespaces of its own node only")
	expect(t, s.do(t, request{user: account(thief), object: namespace(thief), old: namespace(thief)}), "and change none")
}

// asInstalled lists labels and annotations of namespaces, and keys with any value.
func asInstalled() manifests.Values {
	return manifests.Values{Node: thief, NamespaceMetadata: manifests.NamespaceMetadata{
		Labels:      map[string]string{"team": "payments", "app.kubernetes.io/part-of": "shop", "empty": ""},
		Annotations: map[string]string{"example.com/contact": "a, b = c", "example.com/project": "p1"},
		Allowed:     []string{"field.cattle.io/projectId", "istio.io/*", "mesh.example.com/re*", "example.com/project"},
	}}
}

// A thief of akd's credential gets no label and no annotation but those that install
// listed, and cannot leave any out: other admission may go by them.
func TestNamespaceMetadata(t *testing.T) {
	s := serve(t, asInstalled(), manifests.Values{Node: victim})
	installed := asInstalled().NamespaceMetadata
	label := func(key, value string) func(*corev1.Namespace) {
		return func(n *corev1.Namespace) { n.Labels[key] = value }
	}
	annotate := func(key, value string) func(*corev1.Namespace) {
		return func(n *corev1.Namespace) { n.Annotations[key] = value }
	}
	several := func(n *corev1.Namespace) {
		for _, key := range []string{"c", "a", "b"} {
			n.Labels[key], n.Annotations[key] = "", ""
		}
	}
	const reserved = "kubernetes.io and k8s.io on a namespace but those that it needs: "
	for name, attack := range map[string]attacks.Attack[*corev1.Namespace]{
		"as installed":           {Change: func(*corev1.Namespace) {}},
		"an allowed label":       {Change: label("field.cattle.io/projectId", "any")},
		"an allowed annotation":  {Change: annotate("field.cattle.io/projectId", "any, and more")},
		"an allowed prefix":      {Change: label("istio.io/rev", "stable")},
		"an allowed beginning":   {Change: annotate("mesh.example.com/revision", "stable")},
		"a listed key, allowed":  {Change: annotate("example.com/project", "p2")},
		"an audited level":       {Change: label("pod-security.kubernetes.io/audit", "restricted")},
		"a warned level":         {Change: label("pod-security.kubernetes.io/warn-version", "latest")},
		"the name that is set":   {Change: func(n *corev1.Namespace) { n.Labels[corev1.LabelMetadataName] = n.Name }},
		"an unlisted label":      {Change: label("owner", "thief"), Wants: "annotations only, not with label owner: if"},
		"another value":          {Change: label("team", "admins"), Wants: "annotations only, not with label team: if"},
		"a value with more":      {Change: label("team", "payments,owner=thief"), Wants: "annotations only, not with label team: if"},
		"an unlisted annotation": {Change: annotate("owner", "thief"), Wants: "annotations only, not with annotation owner: if"},
		"another line": {
			Change: annotate("example.com/contact", "a, b = c\nx=y"),
			Wants:  "not with annotation example.com/contact: if",
		},
		"part of a list":         {Change: annotate("example.com/contact", "a"), Wants: "not with annotation example.com/contact: if"},
		"a label as annotation":  {Change: annotate("team", "payments"), Wants: "annotations only, not with annotation team: if"},
		"an annotation as label": {Change: label("example.com/contact", "a"), Wants: "not with label example.com/contact: if"},
		"beyond a prefix": {
			Change: label("istio.io.example.com/rev", "x"),
			Wants:  "not with label istio.io.example.com/rev: if",
		},
		"without the slash":     {Change: label("istio.io.x", "x"), Wants: "not with label istio.io.x: if"},
		"no key of the pattern": {Change: annotate("mesh.example.com/x", "x"), Wants: "not with annotation mesh.example.com/x: if"},
		"several, in order": {
			Change: several,
			Wants: "not with label a, label b, label c, annotation a, annotation b, annotation c: if the remote cluster adds them, " +
				"kubectl actual install --allow-namespace-metadata=a,b,c,a,b,c allows them",
		},
		"without a label": {
			Change: func(n *corev1.Namespace) { delete(n.Labels, "team") },
			Wants:  "without team: see namespaces.labels",
		},
		"without an empty one": {
			Change: func(n *corev1.Namespace) { delete(n.Labels, "empty") },
			Wants:  "without empty: see namespaces.labels",
		},
		"without an annotation": {
			Change: func(n *corev1.Namespace) { delete(n.Annotations, "example.com/contact") },
			Wants:  "without example.com/contact",
		},
		"without an allowed one": {Change: func(n *corev1.Namespace) { delete(n.Annotations, "example.com/project") }},
		"an old Pod Security": {
			Change: label("pod-security.kubernetes.io/enforce-version", "v1.0"),
			Wants:  reserved + "pod-security.kubernetes.io/enforce-version",
		},
		"a selector of nodes": {
			Change: annotate("scheduler.alpha.kubernetes.io/node-selector", ""),
			Wants:  reserved + "scheduler.alpha.kubernetes.io/node-selector",
		},
		"a label of AK":       {Change: label("actual.vk/other", "x"), Wants: reserved + "actual.vk/other"},
		"an annotation of AK": {Change: annotate("actual.vk/node-name", "x"), Wants: reserved + "actual.vk/node-name"},
		"a level as annotation": {
			Change: annotate("pod-security.kubernetes.io/warn", "x"),
			Wants:  reserved + "pod-security.kubernetes.io/warn",
		},
		"several of Kubernetes": {Change: func(n *corev1.Namespace) {
			n.Labels["b.k8s.io/x"], n.Labels["a.k8s.io/x"], n.Annotations["c.k8s.io/x"] = "", "", ""
		}, Wants: reserved + "a.k8s.io/x, b.k8s.io/x, c.k8s.io/x; if a webhook"},
		"a label of a subproject": {Change: label("sub.k8s.io/x", "x"), Wants: reserved + "sub.k8s.io/x"},
	} {
		t.Run(name, func(t *testing.T) {
			made := namespace(thief)
			maps.Copy(made.Labels, installed.Labels)
			made.Annotations = maps.Clone(installed.Annotations)
			attack.Change(made)
			expect(t, s.do(t, request{user: account(thief), object: made}), attack.Wants)
		})
	}
	bare := namespace(victim)
	bare.Labels["team"] = "payments"
	expect(t, s.do(t, request{user: account(victim), object: bare}), "not with label team")
	expect(t, s.do(t, request{user: account(thief), old: namespace(thief)}), "") // it was made before
}

// A mistake in the settings opens no key of Kubernetes: the shared policy knows them.
func TestReservedMetadata(t *testing.T) {
	values := manifests.Values{Node: thief}
	values.NamespaceMetadata.Labels = map[string]string{"pod-security.kubernetes.io/enforce-version": "v1.0"}
	s := serve(t, values)
	made := namespace(thief)
	maps.Copy(made.Labels, values.NamespaceMetadata.Labels)
	expect(t, s.do(t, request{user: account(thief), object: made}), "but those that it needs: pod-security.kubernetes.io/enforce-version")
}

// Role bindings bind the tenants' roles to the tenant, in its own namespaces.
func TestRoleBindings(t *testing.T) {
	s := serve(t, manifests.Values{Node: thief}, manifests.Values{Node: victim})
	innocent := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace(thief).Name, Name: contract.TenantRole, Labels: owner(thief).ObjectLabels()},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: contract.TenantRole},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: contract.SystemNamespace, Name: thief}},
	}
	for name, attack := range map[string]attacks.Attack[*rbacv1.RoleBinding]{
		"own": {Change: func(*rbacv1.RoleBinding) {}},
		"the victim's namespace": {
			Change: func(b *rbacv1.RoleBinding) { b.Namespace = namespace(victim).Name },
			Wants:  "in its own namespaces only",
		},
		"kube-system":     {Change: func(b *rbacv1.RoleBinding) { b.Namespace = "kube-system" }, Wants: "in its own namespaces only"},
		"another role":    {Change: func(b *rbacv1.RoleBinding) { b.RoleRef.Name = "edit" }, Wants: "the tenants' cluster roles only"},
		"another subject": {Change: func(b *rbacv1.RoleBinding) { b.Subjects[0].Name = victim }, Wants: "to itself only"},
		"finalizer": {
			Change: func(b *rbacv1.RoleBinding) { b.Finalizers = []string{"example.org/stays"} },
			Wants:  "finalizers or owners",
		},
		"no label": {Change: func(b *rbacv1.RoleBinding) { b.Labels = nil }, Wants: "must label role bindings"},
	} {
		t.Run(name, func(t *testing.T) {
			made := innocent.DeepCopy()
			attack.Change(made)
			expect(t, s.do(t, request{user: account(thief), object: made}), attack.Wants)
		})
	}
	expect(t, s.do(t, request{user: account(thief), old: innocent}), "and change and delete none")
}

// A tenant whose settings are gone may do nothing more.
func TestSettingsGone(t *testing.T) {
	objects := map[string]runtime.Object{"home": namespace(thief)}
	rendered, err := manifests.Remote(manifests.Values{Node: thief, ClusterUID: cluster})
	if err != nil {
		t.Fatal(err)
	}
	for _, object := range rendered {
		if object.GetKind() != "ServiceAccount" {
			objects[object.GetKind()+"/"+object.GetName()] = typed(t, object)
		}
	}
	s := start(t, objects)
	const gone = "no params found"
	expect(t, s.do(t, request{user: account(thief), object: namespace(thief)}), gone)
	expect(t, s.do(t, request{user: account(thief), object: admitted(attacks.Pod(owner(thief), "home", "web"))}), gone)
}

// A budget holds as many pods as installed. A thief's budgets that hold more, or say so in
// another way, are refused.
func TestBudgets(t *testing.T) {
	values := manifests.Values{Node: thief, MirrorBudgets: true, MaxUnevictable: 5}
	attacked := manifests.Values{Node: victim, MirrorBudgets: true, MaxUnevictable: 50}
	s := serve(t, values, attacked)
	const absolute, atMost = "with an absolute minAvailable only", "at most 5 pods"
	budget := func() *policyv1.PodDisruptionBudget {
		return &policyv1.PodDisruptionBudget{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace(thief).Name, Name: "web", Labels: owner(thief).Labels("home", "uid")},
			Spec: policyv1.PodDisruptionBudgetSpec{
				MinAvailable: new(intstr.FromInt32(5)),
				Selector:     &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}},
			},
		}
	}
	for name, attack := range map[string]attacks.Attack[*policyv1.PodDisruptionBudget]{
		"Limit":     {Change: func(*policyv1.PodDisruptionBudget) {}},
		"EveryPod":  {Change: func(b *policyv1.PodDisruptionBudget) { b.Spec.Selector = &metav1.LabelSelector{} }},
		"Unhealthy": {Change: func(b *policyv1.PodDisruptionBudget) { b.Spec.UnhealthyPodEvictionPolicy = new(policyv1.AlwaysAllow) }},
		"MoreThanLimit": {
			Change: func(b *policyv1.PodDisruptionBudget) { b.Spec.MinAvailable = new(intstr.FromInt32(6)) }, Wants: atMost,
		},
		"VictimsLimit": {
			Change: func(b *policyv1.PodDisruptionBudget) { b.Spec.MinAvailable = new(intstr.FromInt32(50)) }, Wants: atMost,
		},
		"Percentage": {
			Change: func(b *policyv1.PodDisruptionBudget) { b.Spec.MinAvailable = new(intstr.FromString("5%")) }, Wants: absolute,
		},
		"NoneUnavailable": {
			Change: func(b *policyv1.PodDisruptionBudget) {
				b.Spec.MinAvailable, b.Spec.MaxUnavailable = nil, new(intstr.FromInt32(0))
			}, Wants: absolute,
		},
		"Both": {
			Change: func(b *policyv1.PodDisruptionBudget) { b.Spec.MaxUnavailable = new(intstr.FromInt32(0)) }, Wants: absolute,
		},
		"Neither":    {Change: func(b *policyv1.PodDisruptionBudget) { b.Spec.MinAvailable = nil }, Wants: absolute},
		"NoSelector": {Change: func(b *policyv1.PodDisruptionBudget) { b.Spec.Selector = nil }, Wants: "with a selector only"},
		"Annotation": {
			Change: func(b *policyv1.PodDisruptionBudget) { b.Annotations = map[string]string{"a": "b"} }, Wants: "and not annotate it",
		},
		"Label":     {Change: func(b *policyv1.PodDisruptionBudget) { b.Labels["a"] = "b" }, Wants: "with its origin only"},
		"Unlabeled": {Change: func(b *policyv1.PodDisruptionBudget) { b.Labels = nil }, Wants: "must label what it writes"},
		"Finalizer": {Change: func(b *policyv1.PodDisruptionBudget) { b.Finalizers = []string{"example.org/stays"} }, Wants: badOwner},
		"VictimsNamespace": {
			Change: func(b *policyv1.PodDisruptionBudget) { b.Namespace = namespace(victim).Name }, Wants: "own",
		},
		"SharedNamespace": {
			Change: func(b *policyv1.PodDisruptionBudget) { b.Namespace = "default" }, Wants: "beyond them its record alone",
		},
	} {
		t.Run(name, func(t *testing.T) {
			changed := budget()
			attack.Change(changed)
			expect(t, s.do(t, request{user: account(thief), object: changed}), attack.Wants)
			expect(t, s.do(t, request{user: account(thief), object: changed, old: budget()}), attack.Wants)
			expect(t, s.do(t, request{user: "admin", object: changed}), "")
		})
	}
	changed := budget()
	changed.Spec.MinAvailable = new(intstr.FromInt32(6))
	expect(t, s.do(t, request{user: account(thief), object: changed, old: budget(), subresource: "status"}), atMost)
	expect(t, s.do(t, request{user: account(thief), old: budget()}), "")
}

// A node that was installed with budgets once, and is not any more, may have rights left in
// its namespaces.
func TestBudgetsNotInstalled(t *testing.T) {
	objects := contents(t, manifests.Values{Node: thief, MirrorBudgets: true})
	settings, is := objects["ServiceAccount/"+thief].(*corev1.ServiceAccount)
	if !is {
		t.Fatal("the node has no ServiceAccount")
	}
	delete(settings.Annotations, contract.SettingMaxUnevictable)
	budget := &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace(thief).Name, Name: "web", Labels: owner(thief).Labels("home", "uid")},
		Spec:       policyv1.PodDisruptionBudgetSpec{MinAvailable: new(intstr.FromInt32(1)), Selector: &metav1.LabelSelector{}},
	}
	expect(t, start(t, objects).do(t, request{user: account(thief), object: budget}), "at most 0 pods")
}
