package translate

import "slices"

// Decision is what happens to a field on its way between the two clusters.
type Decision string

// The decisions. Metadata and spec go from local to remote, status from remote
// to local.
const (
	Kept       Decision = "kept"       // copied unchanged
	Translated Decision = "translated" // copied with changes
	Stripped   Decision = "stripped"   // not copied; the pod runs without it
	Refused    Decision = "refused"    // akd does not run a pod that sets it, and reports why
	Local      Decision = "local"      // status only: the local value stays
)

// Field is one entry of the ledger. Its decision holds for everything below the
// field.
type Field struct {
	// Path names the field as the API does: "spec.hostname", "volume.csi.driver".
	// Containers of each kind, volumes and container statuses have roots of
	// their own, because they appear in several places.
	Path     string
	Decision Decision
	Why      string // one or more sentences for users
}

// Ledger returns the decision on every field of a pod. Tests fail if Kubernetes
// adds a field that the ledger lacks, or if the translation differs from it.
func Ledger() []Field {
	return slices.Concat(
		metadataFields(), specFields(), placementFields(), containerFields(), volumeFields(), statusFields(), containerStatusFields(),
	)
}

func metadataFields() []Field {
	const server = "The remote API server sets its own value."
	return []Field{
		{"kind", Kept, "A Pod stays a Pod."},
		{"apiVersion", Kept, "A Pod stays a v1 Pod."},
		{"metadata.name", Kept, "The remote pod has the name of the local pod."},
		{"metadata.generateName", Stripped, "The local API server has already generated the name."},
		{"metadata.namespace", Translated, "Each local namespace has its own remote namespace: `<node>-<hash of the local name>`."},
		{"metadata.selfLink", Stripped, server},
		{"metadata.uid", Stripped, server + " The label `actual.vk/uid` holds the local UID."},
		{"metadata.resourceVersion", Stripped, server},
		{"metadata.generation", Stripped, server},
		{"metadata.creationTimestamp", Stripped, server},
		{"metadata.deletionTimestamp", Stripped, "akd deletes the remote pod if the local pod is deleted."},
		{"metadata.deletionGracePeriodSeconds", Stripped, "akd passes it on with the deletion, and again if it is shortened later."},
		{"metadata.labels", Translated,
			"Copied, except for [keys with a meaning in the remote cluster](#labels-and-annotations), and kept up to date. akd adds its own " +
				"labels. Labels added in the remote cluster stay there."},
		{"metadata.annotations", Translated,
			"Copied, except for [keys with a meaning in the remote cluster](#labels-and-annotations), and kept up to date. akd adds its own " +
				"annotations. Annotations added in the remote cluster stay there."},
		{"metadata.ownerReferences", Translated,
			"The owners are in the local cluster; the garbage collector of the remote cluster would delete the pod. A pod with a local " +
				"controller gets its remote namespace as controller, so that `kubectl drain` treats it as one that is replaced."},
		{"metadata.finalizers", Stripped,
			"The controllers that remove them are in the local cluster. akd gives pods that have finalizers, " +
				"and those whose restartPolicy is not Always, a finalizer of its own, " +
				"`actual.vk/last-state`, which keeps the remote pod until its last status is local."},
		{"metadata.managedFields", Stripped, server},
	}
}

func specFields() []Field {
	const (
		scheduling  = "It is for the local scheduler. The configuration of akd controls scheduling in the remote cluster."
		kubelet     = "The remote kubelet applies it."
		podSecurity = "It is subject to the Pod Security level of the remote namespace."
	)
	return []Field{
		{"spec.restartPolicy", Kept, "The remote kubelet restarts containers accordingly."},
		{"spec.terminationGracePeriodSeconds", Kept, "akd also passes it on if the pod is deleted."},
		{"spec.activeDeadlineSeconds", Kept,
			"The remote kubelet enforces it, counted from the start of the remote pod. Later changes are applied."},
		{"spec.dnsPolicy", Translated,
			"ClusterFirst uses the DNS of the remote cluster. If akd knows where pods reach the local DNS, ClusterFirst becomes None with the " +
				"settings of a local kubelet."},
		{"spec.serviceAccountName", Stripped, "The pod has its local identity, through the tokens that it mounts, and no remote identity."},
		{"spec.serviceAccount", Stripped, "It is the deprecated name of serviceAccountName."},
		{"spec.automountServiceAccountToken", Translated,
			"Set to false. The local API server has already added the token volume, which is kept."},
		{"spec.nodeName", Stripped, scheduling},
		{"spec.hostNetwork", Kept, podSecurity},
		{"spec.hostPID", Kept, podSecurity},
		{"spec.hostIPC", Kept, podSecurity},
		{"spec.shareProcessNamespace", Kept, kubelet},
		{"spec.securityContext", Kept, kubelet + " " + podSecurity},
		{"spec.imagePullSecrets", Kept, "The Secrets are mirrored under their own names."},
		{"spec.hostname", Kept, kubelet},
		{"spec.subdomain", Kept,
			"The remote kubelet writes it to /etc/hosts, where the full name contains the remote namespace. With setHostnameAsFQDN, the full " +
				"name is the local one."},
		{"spec.hostAliases", Translated, "Copied. Names of `kubernetes.default` are added, with the address of the local API server."},
		{"spec.priority", Stripped, scheduling},
		{"spec.dnsConfig", Translated, "Copied; dnsPolicy says what may be added."},
		{"spec.readinessGates", Stripped,
			"Their conditions are set in the local cluster. akd computes Ready from the remote containers and the local gates."},
		{"spec.enableServiceLinks", Translated,
			"Set to false. Unless it is false locally, akd adds the environment variables of the local Services."},
		{"spec.preemptionPolicy", Stripped, scheduling},
		{"spec.overhead", Stripped, "It comes from a local RuntimeClass. The remote API server rejects pods that set it."},
		{"spec.setHostnameAsFQDN", Translated,
			"With a subdomain, it becomes hostnameOverride with the local full name, because the remote kubelet would use the remote " +
				"namespace. Requires Kubernetes 1.34 in the remote cluster. The file /etc/hosts then lacks the short name."},
		{"spec.os", Kept, "The remote kubelet checks it."},
		{"spec.hostUsers", Kept, kubelet},
		{"spec.schedulingGates", Stripped, scheduling},
		{"spec.resourceClaims", Refused, "Claims are allocated from devices of the local cluster."},
		{"spec.resources", Kept, "Later resizes are applied."},
		{"spec.hostnameOverride", Kept, kubelet},
		{"spec.schedulingGroup", Stripped, scheduling},
		{"spec.evictionResponders", Stripped, "They respond to evictions in the local cluster."},
	}
}

// placementFields say where a pod runs.
func placementFields() []Field {
	return []Field{
		{"spec.nodeSelector", Translated,
			"`kubernetes.io/os`, `kubernetes.io/arch` and the labels of `pods.placement.nodeLabels` go along; all others are for the " +
				"local scheduler. The node selector of the configuration is added. akd refuses a pod that requires another value of a " +
				"label in it."},
		{"spec.affinity", Translated,
			"Node affinity goes along as far as it is about labels that may be in nodeSelector. Of terms that the local Node does not meet, " +
				"and of preferences that are about other labels too, nothing does. Pod affinity and anti-affinity go along if they are " +
				"about pods of the same namespace, over `kubernetes.io/hostname`, `topology.kubernetes.io/zone` or `region`, or a label of " +
				"`pods.placement.nodeLabels`. An event says what is required and does not go along, unless the local Node has " +
				"the label because all remote nodes have it, or by the configuration."},
		{"spec.schedulerName", Translated,
			"Only schedulers in `pods.placement.schedulers` are copied. All other pods get the default scheduler."},
		{"spec.tolerations", Translated,
			"Only tolerations of `node.kubernetes.io/not-ready` and `unreachable` with effect NoExecute are copied, and those that tolerate no " +
				"more than one in `pods.placement.tolerations`; the others refer to local nodes. Those of the configuration are added."},
		{"spec.priorityClassName", Translated,
			"A class in `pods.placement.priorityClasses` becomes the remote class there, and any other that of the configuration."},
		{"spec.runtimeClassName", Translated,
			"A class in `pods.placement.runtimeClasses` becomes the remote class there. akd refuses pods with any other class but that which " +
				"the configuration sets for all pods: the sandbox that it stands for would be missing. Pods without a class get that one."},
		{"spec.topologySpreadConstraints", Translated,
			"Constraints over the labels over which pod affinity goes along are copied. Without nodeTaintsPolicy it is Honor: locally, " +
				"there are no remote nodes that the pods do not tolerate."},
	}
}

func containerFields() []Field {
	const (
		unchanged = "Copied unchanged."
		kubelet   = "The remote kubelet applies it."
		probe     = "The remote kubelet probes the container."
		message   = "The remote kubelet reads the message, which appears in the local status."
		attach    = "attach connects to the remote container."
		rootCA    = "The ConfigMap is mirrored under its own name, kube-root-ca.crt under another."
	)
	return []Field{
		{"container.name", Kept, "logs, exec and attach find the container by its name."},
		{"container.image", Kept,
			"The remote kubelet pulls it. Later changes are applied. If a webhook in the remote cluster replaced the name, the replacement stays."},
		{"container.command", Kept, "`$(NAME)` of a Service expands to the value of the local Service."},
		{"container.args", Kept, "`$(NAME)` of a Service expands to the value of the local Service."},
		{"container.workingDir", Kept, "It is a path in the image."},
		{"container.ports", Kept,
			"Host ports are those of the remote node, and subject to the Pod Security level of the remote namespace."},
		{"container.envFrom[].prefix", Kept, unchanged},
		{"container.envFrom[].configMapRef", Translated,
			rootCA + " A key that exists when the pod is created overrides the variable of a Service, as in a kubelet; a key that appears " +
				"later does not."},
		{"container.envFrom[].secretRef", Kept,
			"The Secret is mirrored under its own name. Its keys override variables as those of a ConfigMap do."},
		{"container.env[].name", Kept,
			"The container's own variables override those of the local Services, of the local API server and of the configuration."},
		{"container.env[].value", Kept, unchanged},
		{"container.env[].valueFrom.fieldRef", Translated,
			"`metadata.namespace`, `metadata.uid`, `spec.nodeName` and `spec.serviceAccountName` become the local values, and so do " +
				"labels and annotations that are not copied, as they are when the pod is created. The other fields are read from the remote pod, " +
				"where the name, other labels and annotations are the same and addresses are the real ones."},
		{"container.env[].valueFrom.resourceFieldRef", Kept,
			"Limits and requests are the same in both clusters. Without a limit, the value is the capacity of the remote node."},
		{"container.env[].valueFrom.configMapKeyRef", Translated, rootCA},
		{"container.env[].valueFrom.secretKeyRef", Kept, "The Secret is mirrored under its own name."},
		{"container.env[].valueFrom.fileKeyRef", Kept, "The file is in a volume of the pod."},
		{"container.resources", Kept,
			"The remote scheduler and kubelet apply them. Later resizes of cpu and memory are applied. Extended resources that others than " +
				"akd advertise on the local Node are left out: only the local scheduler knows them."},
		{"container.resizePolicy", Kept, kubelet},
		{"container.restartPolicy", Kept, "The remote kubelet applies it; Always makes an init container a sidecar."},
		{"container.restartPolicyRules", Kept, kubelet},
		{"container.volumeMounts", Kept, "Volumes keep their names."},
		{"container.volumeDevices", Kept, "Volumes keep their names."},
		{"container.livenessProbe", Kept, probe},
		{"container.readinessProbe", Kept, probe},
		{"container.startupProbe", Kept, probe},
		{"container.lifecycle", Kept, "The remote kubelet runs the hooks."},
		{"container.terminationMessagePath", Kept, message},
		{"container.terminationMessagePolicy", Kept, message},
		{"container.imagePullPolicy", Kept, "The remote kubelet pulls the image."},
		{"container.securityContext", Kept, kubelet + " It is subject to the Pod Security level of the remote namespace."},
		{"container.stdin", Kept, attach},
		{"container.stdinOnce", Kept, attach},
		{"container.tty", Kept, "attach and exec connect to the remote container."},
		{"ephemeralContainer.targetContainerName", Kept,
			"Containers keep their names. akd adds to the remote pod the ephemeral containers that are added to the local pod."},
	}
}

func volumeFields() []Field {
	fields := []Field{
		{"volume.name", Kept, "Volumes keep their names."},
		{"volume.hostPath", Kept, "It is a path on the remote node, and subject to the Pod Security level of the remote namespace."},
		{"volume.emptyDir", Kept, "It is created on the remote node. Later changes of the size limit of a memory-backed volume are applied."},
		{"volume.image", Kept, "The remote kubelet pulls it, with the pull secrets of the pod."},
		{"volume.persistentVolumeClaim", Translated,
			"With storage, it becomes the remote claim of the local one, which has the name of the local volume. The pod waits until the " +
				"claim is bound. A claim whose volume is in the local cluster or on another node is refused. Without storage, all are."},
		{"volume.ephemeral", Translated,
			"With storage, it becomes the remote claim of the claim that the local cluster creates for the pod. Without storage, it is refused."},
	}
	return slices.Concat(fields, apiVolumeFields(), storageFields())
}

// apiVolumeFields are those of volumes with objects of the API as files.
func apiVolumeFields() []Field {
	const (
		unchanged = "Copied unchanged."
		secret    = "The Secret is mirrored under its own name. The files follow later changes."
		limited   = " A pod with more of them than the configuration allows is refused."
	)
	return []Field{
		{"volume.secret", Kept, secret},
		{"volume.configMap.name", Translated,
			"The ConfigMap is mirrored under its own name, and the files follow later changes. kube-root-ca.crt is mirrored under another " +
				"name, because the remote cluster keeps its own CA under that name."},
		{"volume.configMap.items", Kept, unchanged},
		{"volume.configMap.defaultMode", Kept, unchanged},
		{"volume.configMap.optional", Kept, "A ConfigMap that appears later is then mirrored."},
		{"volume.configMap.defaultUser", Kept, unchanged},
		{"volume.downwardAPI.items[].path", Kept, unchanged},
		{"volume.downwardAPI.items[].fieldRef", Translated,
			"`metadata.namespace` and `metadata.uid` have the local values. Files of all labels or all annotations, and of those that the local " +
				"pod has and that are not copied, show annotations of the remote pod in which akd keeps the local values up to date."},
		{"volume.downwardAPI.items[].resourceFieldRef", Kept, "Limits and requests are the same in both clusters."},
		{"volume.downwardAPI.items[].mode", Kept, unchanged},
		{"volume.downwardAPI.items[].user", Kept, unchanged},
		{"volume.downwardAPI.defaultMode", Kept, unchanged},
		{"volume.downwardAPI.defaultUser", Kept, unchanged},
		{"volume.projected.sources[].secret", Kept, secret},
		{"volume.projected.sources[].downwardAPI", Translated, "As in a downwardAPI volume."},
		{"volume.projected.sources[].configMap", Translated, "As in a configMap volume."},
		{"volume.projected.sources[].serviceAccountToken", Translated,
			"Becomes an item of a Secret that akd maintains, at the same path: a token of the local ServiceAccount, bound to the local pod and " +
				"renewed before it expires. The same users can read the file." + limited},
		{"volume.projected.sources[].clusterTrustBundle", Translated,
			"The bundle of the local cluster, kept in a Secret, at the same path. The file follows later changes." + limited},
		{"volume.projected.sources[].podCertificate", Translated,
			"akd requests a certificate for the local pod from a signer of the local cluster, keeps it in a Secret, at the same paths, and " +
				"renews it." + limited},
		{"volume.projected.defaultMode", Kept, unchanged},
		{"volume.projected.defaultUser", Kept, unchanged},
	}
}

// storageFields are those of volumes in storage that the remote nodes reach, or
// do not.
func storageFields() []Field {
	const (
		storage = "The remote nodes must reach the storage, their kubelets must support the volume type, and the node must be installed with " +
			"`--allow-volume`."
		secret = "The Secret is mirrored under its own name."
	)
	return []Field{
		{"volume.csi", Kept,
			"The driver must run on the remote nodes, and the node must be installed with `--allow-volume csi/DRIVER`. " + secret},
		{"volume.nfs", Kept, storage},
		{"volume.iscsi", Kept, storage + " " + secret},
		{"volume.fc", Kept, storage},
		{"volume.rbd", Kept, storage + " " + secret},
		{"volume.cephfs", Kept, storage + " " + secret},
		{"volume.glusterfs", Refused, "Its Endpoints are in the local cluster."},
		{"volume.gcePersistentDisk", Kept, storage},
		{"volume.awsElasticBlockStore", Kept, storage},
		{"volume.azureDisk", Kept, storage},
		{"volume.azureFile", Kept, storage + " " + secret},
		{"volume.cinder", Kept, storage + " " + secret},
		{"volume.vsphereVolume", Kept, storage},
		{"volume.photonPersistentDisk", Kept, storage},
		{"volume.portworxVolume", Kept, storage},
		{"volume.scaleIO", Kept, storage + " " + secret},
		{"volume.quobyte", Kept, storage},
		{"volume.flocker", Kept, storage},
		{"volume.flexVolume", Kept, storage + " " + secret},
		{"volume.storageos.volumeName", Kept, storage},
		{"volume.storageos.volumeNamespace", Translated,
			"If it is empty, it becomes the local namespace, because StorageOS would use the remote one."},
		{"volume.storageos.fsType", Kept, "Copied unchanged."},
		{"volume.storageos.readOnly", Kept, "Copied unchanged."},
		{"volume.storageos.secretRef", Kept, secret},
		{"volume.gitRepo", Kept, "Kubelets no longer support it since Kubernetes 1.33."},
	}
}

func statusFields() []Field {
	const (
		claims  = "Claims are allocated in the local cluster."
		kubelet = "The remote kubelet reports it."
	)
	return []Field{
		{"status.observedGeneration", Translated, "The local generation, once the remote kubelet has observed everything in it."},
		{"status.phase", Kept,
			"Succeeded and Failed are final, whatever happens to the remote pod. If somebody deletes the remote pod, the phase becomes Failed."},
		{"status.conditions", Translated,
			"PodReadyToStartContainers, Initialized, ContainersReady and the conditions of restarts and resizes are those of the remote pod. " +
				"Ready is that of the remote pod, and also requires the local readiness gates; it is False from the moment at which somebody " +
				"in the remote cluster deletes the pod. DisruptionTarget comes from either cluster, or reports that deletion. PodScheduled is " +
				"that of the local scheduler, and True for a pod that passed none. All others stay as they are. `actual.vk/RemoteScheduled` " +
				"reports on scheduling in the remote cluster, `actual.vk/RemoteCreated` on a remote pod that could not be created."},
		{"status.message", Translated, "Names of the remote cluster are replaced with the local names."},
		{"status.reason", Kept, "That of the remote pod. akd itself sets RemotePodDeleted, RemotePodEnded and RemotePodInvalid."},
		{"status.nominatedNodeName", Local, "The local scheduler sets it."},
		{"status.hostIP", Kept, "The address of the remote node."},
		{"status.hostIPs", Kept, "The addresses of the remote node."},
		{"status.podIP", Kept, "The address of the remote pod."},
		{"status.podIPs", Kept, "The addresses of the remote pod."},
		{"status.startTime", Translated, "That of the remote pod when akd first saw it. It never changes."},
		{"status.qosClass", Local, "The local API server sets it."},
		{"status.resize", Kept, kubelet},
		{"status.resourceClaimStatuses", Local, claims},
		{"status.extendedResourceClaimStatus", Local, claims},
		{"status.allocatedResources", Kept, kubelet},
		{"status.resources", Kept, kubelet},
		{"status.nodeAllocatableResourceClaimStatuses", Local, claims},
		{"status.volumeHealth", Kept, "The remote kubelet reports it. Only volumes of the local pod are included."},
	}
}

func containerStatusFields() []Field {
	const (
		kubelet = "The remote kubelet reports it."
		names   = "In messages of a waiting container, names of the remote cluster are replaced with the local names."
	)
	return []Field{
		{"containerStatus.name", Kept, "Containers that a webhook in the remote cluster added are left out."},
		{"containerStatus.state", Translated, names},
		{"containerStatus.lastState", Translated, names},
		{"containerStatus.ready", Kept, kubelet},
		{"containerStatus.restartCount", Kept, kubelet},
		{"containerStatus.image", Kept, kubelet},
		{"containerStatus.imageID", Kept, kubelet},
		{"containerStatus.containerID", Kept, kubelet},
		{"containerStatus.started", Kept, kubelet},
		{"containerStatus.allocatedResources", Kept, kubelet},
		{"containerStatus.resources", Kept, kubelet},
		{"containerStatus.volumeMounts", Kept, kubelet},
		{"containerStatus.user", Kept, kubelet},
		{"containerStatus.allocatedResourcesStatus", Kept, kubelet},
		{"containerStatus.stopSignal", Kept, kubelet},
	}
}
