package contract

// Names of the ValidatingAdmissionPolicies that confine tenants in the remote
// cluster. All tenants share them.
const (
	// PolicyNamespaces restricts namespaces to the tenant's own.
	PolicyNamespaces = "namespaces.actual.vk"
	// PolicyRoleBindings restricts role bindings to the tenants' roles, in the
	// tenant's own namespaces.
	PolicyRoleBindings = "rolebindings.actual.vk"
	// PolicyTokens limits the lifetime of the tenant's token.
	PolicyTokens = "tokens.actual.vk"
	// PolicyObjects restricts all other objects to the tenant's own namespaces.
	PolicyObjects = "objects.actual.vk"
	// PolicySettings restricts namespaces to the settings of the tenant.
	PolicySettings = "settings.actual.vk"
	// PolicyPods restricts pods to those that akd makes, with the settings of the
	// tenant.
	PolicyPods = "pods.actual.vk"
	// PolicyServices and PolicyEndpointSlices restrict mirrored Services to the
	// ranges in the settings of the tenant.
	PolicyServices       = "services.actual.vk"
	PolicyEndpointSlices = "endpointslices.actual.vk"
	// PolicyBudgets restricts mirrored PodDisruptionBudgets to the number of pods in the
	// settings of the tenant.
	PolicyBudgets = "budgets.actual.vk"
	// PolicyClaims restricts PersistentVolumeClaims to the StorageClasses in the settings
	// of the tenant.
	PolicyClaims = "claims.actual.vk"
)

// Names of the ValidatingAdmissionPolicies that confine akd in the local cluster, where it
// provisions volumes. All nodes share them.
const (
	// PolicyVolumes restricts PersistentVolumes to those of the node that no machine can
	// mount.
	PolicyVolumes = "volumes.actual.vk"
	// PolicyClaimStatus restricts the status of PersistentVolumeClaims to sizes and
	// conditions, of claims whose volume is of the node.
	PolicyClaimStatus = "claimstatus.actual.vk"
)

// Annotations of a tenant's ServiceAccount in the remote cluster: the settings with
// which its node was installed, which are the parameter of the policies. Each is a
// list with commas, unless it says otherwise. The tenant cannot change them.
const (
	// SettingPodSecurity has the Pod Security levels that namespaces may enforce.
	SettingPodSecurity = Domain + "pod-security"
	// SettingNamespaceLabels has the KEY=VALUE that every namespace is labelled with.
	SettingNamespaceLabels = Domain + "namespace-labels"
	// SettingNamespaceAnnotations has the KEY=VALUE that every namespace is annotated
	// with, one a line: values have commas.
	SettingNamespaceAnnotations = Domain + "namespace-annotations"
	// SettingNamespaceMetadata has the keys of labels and annotations that namespaces
	// may have with any value, because the remote cluster adds them. One that ends with
	// * stands for all that begin so.
	SettingNamespaceMetadata = Domain + "namespace-metadata"
	// SettingNodeSelector has the KEY=VALUE that every pod selects its nodes by.
	SettingNodeSelector = Domain + "node-selector"
	// SettingMoreNodeSelector has those that pods may have in addition, because
	// admission adds them.
	SettingMoreNodeSelector = Domain + "more-node-selector"
	// SettingTolerations has the KEY:OPERATOR:VALUE:EFFECT:SECONDS that pods may
	// tolerate, in addition to lost nodes.
	SettingTolerations = Domain + "tolerations"
	// SettingMoreTolerations has the KEY:OPERATOR:VALUE:EFFECT of which pods may tolerate
	// as much or less; an empty effect is any.
	SettingMoreTolerations = Domain + "more-tolerations"
	// SettingNodeLabels has the keys of labels by which pods may choose nodes, and over
	// which they may spread.
	SettingNodeLabels = Domain + "node-labels"
	// SettingSchedulers has the schedulers of pods, in addition to the default one.
	SettingSchedulers = Domain + "schedulers"
	// SettingPriorityClasses has the priority classes of pods; one of them may be
	// empty.
	SettingPriorityClasses = Domain + "priority-classes"
	// SettingRuntimeClass has the runtime classes of pods; one of them may be empty.
	SettingRuntimeClass = Domain + "runtime-class"
	// SettingVolumes has the kinds of volumes that pods may have in addition to
	// those of every pod: a field of a volume, or csi/DRIVER.
	SettingVolumes = Domain + "volumes"
	// SettingServiceCIDRs has the ranges of the addresses of mirrored Services.
	SettingServiceCIDRs = Domain + "service-cidrs"
	// SettingEndpointCIDRs has the ranges that mirrored Services may lead to.
	SettingEndpointCIDRs = Domain + "endpoint-cidrs"
	// SettingMaxUnevictable has the number of pods that one mirrored PodDisruptionBudget
	// may keep from being evicted.
	SettingMaxUnevictable = Domain + "max-unevictable"
	// SettingStorageClasses has the StorageClasses of PersistentVolumeClaims.
	SettingStorageClasses = Domain + "storage-classes"
)
