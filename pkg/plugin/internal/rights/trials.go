package rights

import (
	"context"
	"maps"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
)

// Trial is something that akd may do, but for one policy.
type Trial struct {
	// Policy is the one that has to refuse it.
	Policy   string
	resource string
	try      func(context.Context, kubernetes.Interface) error
}

// anyLevel is a Pod Security level that every node may use.
const anyLevel = "restricted"

// Trials returns a trial for each policy that confines the akd of a node, including
// those that confine the Services and PodDisruptionBudgets that it mirrors, and its
// claims. Pods and these are tried in one of the node's namespaces, and left out if that
// is empty.
func Trials(owner contract.Owner, namespace string, values *manifests.Values) []Trial {
	trials := []Trial{
		{contract.PolicyNamespaces, "namespaces", foreignNamespace(owner, values)},
		{contract.PolicySettings, "namespaces", foreignCluster(owner, values)},
		{contract.PolicyRoleBindings, "rolebindings", foreignBinding(owner)},
		{contract.PolicyTokens, "serviceaccounts", longToken(owner)},
		{contract.PolicyObjects, "configmaps", foreignRecord(owner)},
	}
	if namespace == "" {
		return trials
	}
	trials = append(trials, Trial{contract.PolicyPods, "pods", boundPod(owner, namespace)})
	if values.MirrorServices {
		trials = append(trials,
			Trial{contract.PolicyServices, "services", externalService(owner, namespace)},
			Trial{contract.PolicyEndpointSlices, "endpointslices", namedEndpoints(owner, namespace)})
	}
	if values.MirrorBudgets {
		trials = append(trials, Trial{contract.PolicyBudgets, "poddisruptionbudgets", endlessBudget(owner, namespace)})
	}
	if values.Storage.Enabled {
		trials = append(trials, Trial{contract.PolicyClaims, "persistentvolumeclaims", takenVolume(owner, namespace)})
	}
	return trials
}

// LocalTrials returns a trial for the policy that confines the volumes of a node's akd in
// the local cluster. The policy of claims cannot be tried without a claim; it is applied
// together with the first.
func LocalTrials(node string, values *manifests.Values) []Trial {
	if !values.Storage.Enabled {
		return nil
	}
	return []Trial{{contract.PolicyVolumes, "persistentvolumes", machinesVolume(node)}}
}

func dryRun() metav1.CreateOptions { return metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}} }

// foreignNamespace asks for a namespace that is not the node's. It has what policies of
// the remote cluster may demand: they are not what is tried.
func foreignNamespace(owner contract.Owner, values *manifests.Values) func(context.Context, kubernetes.Interface) error {
	return func(ctx context.Context, akd kubernetes.Interface) error {
		foreign := Namespace(owner, values, nobodys)
		foreign.Name, foreign.GenerateName = "", "not-a-tenants-"
		maps.DeleteFunc(foreign.Labels, func(key, _ string) bool { return contract.IsReservedKey(key) })
		_, err := akd.CoreV1().Namespaces().Create(ctx, foreign, dryRun())
		return err
	}
}

// foreignCluster asks for a namespace that is the node's in all but its cluster.
func foreignCluster(owner contract.Owner, values *manifests.Values) func(context.Context, kubernetes.Interface) error {
	owner.ClusterUID = "not-the-installed-one"
	return func(ctx context.Context, akd kubernetes.Interface) error {
		foreign := Namespace(owner, values, nobodys)
		foreign.Labels[contract.LabelPodSecurity] = anyLevel
		_, err := akd.CoreV1().Namespaces().Create(ctx, foreign, dryRun())
		return err
	}
}

func foreignBinding(owner contract.Owner) func(context.Context, kubernetes.Interface) error {
	return func(ctx context.Context, akd kubernetes.Interface) error {
		binding := &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{GenerateName: "not-a-tenants-"},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: contract.TenantRole},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: contract.SystemNamespace, Name: owner.Node}},
		}
		_, err := akd.RbacV1().RoleBindings(metav1.NamespaceDefault).Create(ctx, binding, dryRun())
		return err
	}
}

func longToken(owner contract.Owner) func(context.Context, kubernetes.Interface) error {
	const aWeek = 7 * 24 * 3600
	return func(ctx context.Context, akd kubernetes.Interface) error {
		request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: new(int64(aWeek))}}
		_, err := akd.CoreV1().ServiceAccounts(contract.SystemNamespace).CreateToken(ctx, owner.Node, request, dryRun())
		return err
	}
}

func foreignRecord(owner contract.Owner) func(context.Context, kubernetes.Interface) error {
	return func(ctx context.Context, akd kubernetes.Interface) error {
		record := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "not-a-record-", Labels: owner.ObjectLabels()}}
		_, err := akd.CoreV1().ConfigMaps(contract.SystemNamespace).Create(ctx, record, dryRun())
		return err
	}
}

// innocent is what the policies demand of every object of the node.
func innocent(owner contract.Owner, namespace string) metav1.ObjectMeta {
	return metav1.ObjectMeta{GenerateName: "not-a-tenants-", Namespace: namespace, Labels: owner.ObjectLabels()}
}

// boundPod asks for a pod on a node of akd's choice.
func boundPod(owner contract.Owner, namespace string) func(context.Context, kubernetes.Interface) error {
	return func(ctx context.Context, akd kubernetes.Interface) error {
		pod := &corev1.Pod{
			ObjectMeta: innocent(owner, namespace),
			Spec: corev1.PodSpec{
				NodeName:                     "of-akds-choice",
				AutomountServiceAccountToken: new(false),
				SecurityContext:              kubeclient.RestrictedPod(),
				Containers: []corev1.Container{{
					Name:            "main",
					Image:           "none.invalid/none",
					SecurityContext: kubeclient.RestrictedContainer(),
				}},
			},
		}
		_, err := akd.CoreV1().Pods(namespace).Create(ctx, pod, dryRun())
		return err
	}
}

// externalService asks for a name that leads out of the cluster.
func externalService(owner contract.Owner, namespace string) func(context.Context, kubernetes.Interface) error {
	return func(ctx context.Context, akd kubernetes.Interface) error {
		service := &corev1.Service{
			ObjectMeta: innocent(owner, namespace),
			Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "none.invalid"},
		}
		_, err := akd.CoreV1().Services(namespace).Create(ctx, service, dryRun())
		return err
	}
}

// namedEndpoints asks for endpoints that are names.
func namedEndpoints(owner contract.Owner, namespace string) func(context.Context, kubernetes.Interface) error {
	return func(ctx context.Context, akd kubernetes.Interface) error {
		slice := &discoveryv1.EndpointSlice{
			ObjectMeta:  innocent(owner, namespace),
			AddressType: discoveryv1.AddressTypeFQDN,
			Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{"none.invalid"}}},
		}
		_, err := akd.DiscoveryV1().EndpointSlices(namespace).Create(ctx, slice, dryRun())
		return err
	}
}

// endlessBudget asks for a budget that keeps all pods from being evicted.
func endlessBudget(owner contract.Owner, namespace string) func(context.Context, kubernetes.Interface) error {
	return func(ctx context.Context, akd kubernetes.Interface) error {
		budget := &policyv1.PodDisruptionBudget{
			ObjectMeta: innocent(owner, namespace),
			Spec: policyv1.PodDisruptionBudgetSpec{
				MaxUnavailable: new(intstr.FromInt32(0)),
				Selector:       &metav1.LabelSelector{MatchLabels: map[string]string{"none.invalid/none": ""}},
			},
		}
		_, err := akd.PolicyV1().PodDisruptionBudgets(namespace).Create(ctx, budget, dryRun())
		return err
	}
}

// takenVolume asks for a volume of the remote cluster by its name, as a claim without a
// class can.
func takenVolume(owner contract.Owner, namespace string) func(context.Context, kubernetes.Interface) error {
	return func(ctx context.Context, akd kubernetes.Interface) error {
		claim := &corev1.PersistentVolumeClaim{
			ObjectMeta: innocent(owner, namespace),
			Spec: corev1.PersistentVolumeClaimSpec{
				AccessModes:      []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
				StorageClassName: new(""),
				VolumeName:       "not-a-tenants",
				Resources:        corev1.VolumeResourceRequirements{Requests: smallest()},
			},
		}
		_, err := akd.CoreV1().PersistentVolumeClaims(namespace).Create(ctx, claim, dryRun())
		return err
	}
}

// machinesVolume asks for a volume that is a directory of a real node, and the node's in
// all else.
func machinesVolume(node string) func(context.Context, kubernetes.Interface) error {
	return func(ctx context.Context, akd kubernetes.Interface) error {
		volume := &corev1.PersistentVolume{
			ObjectMeta: metav1.ObjectMeta{GenerateName: "not-a-nodes-", Labels: map[string]string{contract.LabelNodeName: node}},
			Spec: corev1.PersistentVolumeSpec{
				AccessModes:                   []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
				Capacity:                      smallest(),
				PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
				PersistentVolumeSource: corev1.PersistentVolumeSource{
					HostPath: &corev1.HostPathVolumeSource{Path: "/not-a-nodes"},
				},
			},
		}
		_, err := akd.CoreV1().PersistentVolumes().Create(ctx, volume, dryRun())
		return err
	}
}

func smallest() corev1.ResourceList {
	return corev1.ResourceList{corev1.ResourceStorage: *resource.NewQuantity(1, resource.BinarySI)}
}
