package attacks

import (
	"maps"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// Attack is a change of an innocent object that must be refused.
type Attack[Object any] struct {
	Change func(Object)
	// Wants is a part of the message.
	Wants string
}

// Pod returns a pod that the policies admit, in the namespace of a local one.
func Pod(owner contract.Owner, local, name string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: contract.RemoteNamespace(owner.Node, local),
			Name:      name,
			Labels:    owner.Labels(local, "uid-of-"+"pod"),
		},
		Spec: corev1.PodSpec{
			AutomountServiceAccountToken:  new(bool),
			EnableServiceLinks:            new(bool),
			TerminationGracePeriodSeconds: new(int64),
			Containers: []corev1.Container{{
				Name:            "main",
				Image:           "busybox:1.36",
				ImagePullPolicy: corev1.PullNever,
				Command:         []string{"sleep", "3600"},
			}},
		},
	}
}

const (
	badPlacement  = "or another field that it never sets"
	badIdentity   = "without a service account of the remote cluster"
	badProjection = "without tokens, certificates and trust bundles of the remote cluster"
	badVolume     = "with these kinds of volumes only"
	badToleration = "with the installed tolerations only"
	badOwner      = "may not give objects finalizers or owners"
	badLabel      = "must label what it writes with its node and its local cluster"
)

// Pods returns attacks by pods of a tenant that was installed without options.
func Pods() map[string]Attack[*corev1.Pod] {
	all := map[string]Attack[*corev1.Pod]{
		"with a runtime class": {func(p *corev1.Pod) { p.Spec.RuntimeClassName = new("attacked") }, "of the installed runtime classes only"},
		"that preempts other tenants": {
			func(p *corev1.Pod) { p.Spec.PriorityClassName = "system-node-critical" }, "of the installed priority classes only",
		},
		"of another scheduler": {func(p *corev1.Pod) { p.Spec.SchedulerName = "mine" }, "to the default scheduler and the installed ones only"},
		"on chosen nodes": {
			func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{corev1.LabelHostname: "remote-1"} },
			"with the installed node selector only",
		},
		"that mounts a token by itself": {
			func(p *corev1.Pod) { p.Spec.AutomountServiceAccountToken = new(true) }, badIdentity,
		},
		"that leaves the token to the account": {
			func(p *corev1.Pod) { p.Spec.AutomountServiceAccountToken = nil }, badIdentity,
		},
	}
	for name, add := range map[string]func(*corev1.PodSpec){
		"on a node of its choice": func(s *corev1.PodSpec) { s.NodeName = "control-plane" },
		"with a readiness gate": func(s *corev1.PodSpec) {
			s.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: "example.org/x"}}
		},
		"with a scheduling gate": func(s *corev1.PodSpec) { s.SchedulingGates = []corev1.PodSchedulingGate{{Name: "example.org/x"}} },
		"with a resource claim": func(s *corev1.PodSpec) {
			s.ResourceClaims = []corev1.PodResourceClaim{{Name: "gpu", ResourceClaimName: new("gpu")}}
		},
	} {
		all[name] = Attack[*corev1.Pod]{func(p *corev1.Pod) { add(&p.Spec) }, badPlacement}
	}
	maps.Copy(all, neighbours())
	for name, affinity := range nodeAffinities() {
		all["on nodes chosen by "+name] = Attack[*corev1.Pod]{
			func(p *corev1.Pod) { p.Spec.Affinity = &corev1.Affinity{NodeAffinity: &affinity} }, "choose nodes by the installed labels only",
		}
	}
	for name, toleration := range tolerations() {
		all["that tolerates "+name] = Attack[*corev1.Pod]{
			func(p *corev1.Pod) { p.Spec.Tolerations = append(p.Spec.Tolerations, toleration) }, badToleration,
		}
	}
	for name, source := range volumeSources() {
		all["with a volume of kind "+name] = Attack[*corev1.Pod]{func(p *corev1.Pod) { mount(p, source) }, badVolume}
	}
	for name, source := range projections() {
		all["with a projected "+name] = Attack[*corev1.Pod]{func(p *corev1.Pod) {
			mount(p, corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{source}}})
		}, badProjection}
	}
	for name, change := range podMetadata() {
		all[name] = Attack[*corev1.Pod]{func(p *corev1.Pod) { change.Change(&p.ObjectMeta) }, change.Wants}
	}
	return all
}

// neighbours returns attacks by pods that want to be near the pods of others, or far from
// them: where they run would tell where those do, and keep them away.
func neighbours() map[string]Attack[*corev1.Pod] {
	const wants = "by the pods of their own namespace only"
	near := func(s *corev1.PodSpec, term corev1.PodAffinityTerm) {
		s.Affinity = &corev1.Affinity{PodAffinity: &corev1.PodAffinity{
			RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{term},
		}}
	}
	everybody := corev1.PodAffinityTerm{
		LabelSelector: &metav1.LabelSelector{}, NamespaceSelector: &metav1.LabelSelector{}, TopologyKey: corev1.LabelHostname,
	}
	victim := corev1.PodAffinityTerm{
		LabelSelector: &metav1.LabelSelector{}, Namespaces: []string{"victim"}, TopologyKey: corev1.LabelTopologyZone,
	}
	byRack := corev1.PodAffinityTerm{LabelSelector: &metav1.LabelSelector{}, TopologyKey: "example.com/rack"}
	all := map[string]Attack[*corev1.Pod]{}
	for name, change := range map[string]func(*corev1.PodSpec){
		"next to everybody":               func(s *corev1.PodSpec) { near(s, everybody) },
		"next to the victim":              func(s *corev1.PodSpec) { near(s, victim) },
		"next to each other by any label": func(s *corev1.PodSpec) { near(s, byRack) },
		"rather next to the victim": func(s *corev1.PodSpec) {
			s.Affinity = &corev1.Affinity{PodAffinity: &corev1.PodAffinity{
				PreferredDuringSchedulingIgnoredDuringExecution: []corev1.WeightedPodAffinityTerm{{Weight: 1, PodAffinityTerm: victim}},
			}}
		},
		"that keeps everybody away": func(s *corev1.PodSpec) {
			s.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{
				RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{everybody},
			}}
		},
		"that rather keeps the victim away": func(s *corev1.PodSpec) {
			s.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{
				PreferredDuringSchedulingIgnoredDuringExecution: []corev1.WeightedPodAffinityTerm{{Weight: 1, PodAffinityTerm: victim}},
			}}
		},
		"spread over any label": func(s *corev1.PodSpec) {
			s.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{
				MaxSkew: 1, TopologyKey: "example.com/rack", WhenUnsatisfiable: corev1.DoNotSchedule, LabelSelector: &metav1.LabelSelector{},
			}}
		},
	} {
		all[name] = Attack[*corev1.Pod]{func(p *corev1.Pod) { change(&p.Spec) }, wants}
	}
	return all
}

// nodeAffinities returns choices of nodes that no installation allows by default.
func nodeAffinities() map[string]corev1.NodeAffinity {
	required := func(terms ...corev1.NodeSelectorTerm) corev1.NodeAffinity {
		return corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: terms}}
	}
	term := func(keys ...string) (term corev1.NodeSelectorTerm) {
		for _, key := range keys {
			term.MatchExpressions = append(term.MatchExpressions, corev1.NodeSelectorRequirement{Key: key, Operator: corev1.NodeSelectorOpExists})
		}
		return term
	}
	name := corev1.NodeSelectorRequirement{Key: metav1.ObjectNameField, Operator: corev1.NodeSelectorOpIn, Values: []string{"control-plane"}}
	return map[string]corev1.NodeAffinity{
		"their name": required(corev1.NodeSelectorTerm{MatchFields: []corev1.NodeSelectorRequirement{name}}),
		"their host": required(term(corev1.LabelHostname)),
		"their role": required(term(corev1.LabelArchStable), term(corev1.LabelArchStable, "node-role.kubernetes.io/control-plane")),
		"their zone": required(term(corev1.LabelTopologyZone)),
		"a preferred label": {
			PreferredDuringSchedulingIgnoredDuringExecution: []corev1.PreferredSchedulingTerm{{Weight: 1, Preference: term("victim")}},
		},
	}
}

// PodUpdates returns attacks by updates of a pod that the policies have admitted.
func PodUpdates() map[string]Attack[*corev1.Pod] {
	all := map[string]Attack[*corev1.Pod]{
		"to tolerate every taint": {func(p *corev1.Pod) {
			p.Spec.Tolerations = append(p.Spec.Tolerations, corev1.Toleration{Operator: corev1.TolerationOpExists})
		}, badToleration},
	}
	for name, change := range podMetadata() {
		all[name] = Attack[*corev1.Pod]{func(p *corev1.Pod) { change.Change(&p.ObjectMeta) }, change.Wants}
	}
	return all
}

// podMetadata returns attacks by the metadata of pods, which may have one finalizer.
func podMetadata() map[string]Attack[*metav1.ObjectMeta] {
	all := metadata()
	for name, finalizers := range map[string][]string{
		"with another finalizer beside akd's":    {contract.FinalizerLastState, "example.org/stays"},
		"with a finalizer that resembles akd's":  {contract.FinalizerLastState + "s"},
		"with the finalizer of the owner's fate": {metav1.FinalizerOrphanDependents},
	} {
		all[name] = Attack[*metav1.ObjectMeta]{func(m *metav1.ObjectMeta) { m.Finalizers = finalizers }, badOwner}
	}
	delete(all, withLastState)
	return all
}

func tolerations() map[string]corev1.Toleration {
	const exists = corev1.TolerationOpExists
	return map[string]corev1.Toleration{
		"every taint":                {Operator: exists},
		"control planes":             {Key: "node-role.kubernetes.io/control-plane", Operator: exists},
		"one tenant's taint":         {Key: "tenant", Value: "victim", Effect: corev1.TaintEffectNoSchedule},
		"every taint that evicts":    {Operator: exists, Effect: corev1.TaintEffectNoExecute},
		"the taint of a lost node":   {Key: corev1.TaintNodeUnreachable, Operator: exists, Effect: corev1.TaintEffectNoSchedule},
		"the taint of a full node":   {Key: corev1.TaintNodeMemoryPressure, Operator: exists},
		"a resource it does not use": {Key: "example.com/gpu", Operator: exists},
	}
}

func mount(pod *corev1.Pod, source corev1.VolumeSource) {
	pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: "mine", VolumeSource: source})
	for i := range pod.Spec.Containers {
		pod.Spec.Containers[i].VolumeMounts = append(pod.Spec.Containers[i].VolumeMounts, corev1.VolumeMount{Name: "mine", MountPath: "/mine"})
	}
}

func volumeSources() map[string]corev1.VolumeSource {
	return map[string]corev1.VolumeSource{
		"persistentVolumeClaim": {PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "mine"}},
		"ephemeral": {Ephemeral: &corev1.EphemeralVolumeSource{VolumeClaimTemplate: &corev1.PersistentVolumeClaimTemplate{
			Spec: corev1.PersistentVolumeClaimSpec{
				VolumeName:  "of-the-victim",
				AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
				Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
			},
		}}},
		"csi":                  {CSI: &corev1.CSIVolumeSource{Driver: "secrets-store.csi.k8s.io"}},
		"nfs":                  {NFS: &corev1.NFSVolumeSource{Server: "192.0.2.1", Path: "/"}},
		"awsElasticBlockStore": {AWSElasticBlockStore: &corev1.AWSElasticBlockStoreVolumeSource{VolumeID: "vol-1"}},
		"iscsi":                {ISCSI: &corev1.ISCSIVolumeSource{TargetPortal: "192.0.2.1", IQN: "iqn.2001-04.com.example:storage", Lun: 0}},
	}
}

func projections() map[string]corev1.VolumeProjection {
	return map[string]corev1.VolumeProjection{
		"token":        {ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token"}},
		"trust bundle": {ClusterTrustBundle: &corev1.ClusterTrustBundleProjection{Name: new("mine"), Path: "ca.crt"}},
	}
}

// withLastState is an attack by any object but a pod.
const withLastState = "with the finalizer of pods"

// metadata returns attacks by what every object has.
func metadata() map[string]Attack[*metav1.ObjectMeta] {
	label := func(key, value string) func(*metav1.ObjectMeta) {
		return func(m *metav1.ObjectMeta) { m.Labels[key] = value }
	}
	return map[string]Attack[*metav1.ObjectMeta]{
		"with a finalizer": {func(m *metav1.ObjectMeta) { m.Finalizers = []string{"example.org/stays"} }, badOwner},
		withLastState:      {func(m *metav1.ObjectMeta) { m.Finalizers = []string{contract.FinalizerLastState} }, badOwner},
		"with an owner": {func(m *metav1.ObjectMeta) {
			m.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "mine", UID: "mine"}}
		}, badOwner},
		"labelled as the victim's":       {label(contract.LabelNodeName, "thief-b"), badLabel},
		"labelled as of another cluster": {label(contract.LabelClusterUID, "another"), badLabel},
		"without labels":                 {func(m *metav1.ObjectMeta) { m.Labels = nil }, badLabel},
	}
}

// Objects returns attacks by the metadata of any object of a tenant.
func Objects() map[string]Attack[*metav1.ObjectMeta] { return metadata() }
