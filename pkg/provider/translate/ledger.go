package translate

// Decision is what becomes of a field on its way between the two clusters.
type Decision string

// The decisions. For metadata and spec the way is from local to remote, for
// status from remote to local.
const (
	Kept       Decision = "kept"       // goes along as it is
	Translated Decision = "translated" // goes along, changed
	Stripped   Decision = "stripped"   // does not go along; the pod runs without it
	Refused    Decision = "refused"    // a pod that sets it is not run, and says so
	Local      Decision = "local"      // of a status: stays as the local cluster has it
)

// Field is one entry of the ledger. A decision holds for everything below its
// field.
type Field struct {
	// Path names the field as the API does: "spec.hostname", "volume.csi.driver".
	// Containers of each kind, volumes and container statuses have roots of
	// their own, because they appear in several places.
	Path     string
	Decision Decision
	Why      string // a sentence for users
}

// Ledger returns the decision on every field of a pod. Tests fail when
// Kubernetes adds a field that it lacks, and when the translation does
// something else than it says.
func Ledger() []Field {
	var all []Field
	for _, part := range [][]Field{
		metadataFields(), specFields(), containerFields(), volumeFields(), statusFields(), containerStatusFields(),
	} {
		all = append(all, part...)
	}
	return all
}

func metadataFields() []Field {
	const server = "The remote API server sets its own."
	return []Field{
		{"kind", Kept, "A Pod stays a Pod."},
		{"apiVersion", Kept, "A Pod stays a v1 Pod."},
		{"metadata.name", Kept, "The remote pod has the local pod's name."},
		{"metadata.generateName", Stripped, "The local API server has already made the name from it."},
		{"metadata.namespace", Translated, "Each local namespace has a remote one of its own: `<node>-<hash of the local name>`."},
		{"metadata.selfLink", Stripped, server},
		{"metadata.uid", Stripped, server + " The local one is in the label `actual.vk/uid`."},
		{"metadata.resourceVersion", Stripped, server},
		{"metadata.generation", Stripped, server},
		{"metadata.creationTimestamp", Stripped, server},
		{"metadata.deletionTimestamp", Stripped, "A deletion is forwarded as a deletion."},
		{"metadata.deletionGracePeriodSeconds", Stripped, "It is forwarded with the deletion, also when it is shortened later."},
		{"metadata.labels", Translated,
			"All go along, those under `actual.vk/` excepted, and follow later changes; akd adds its own. Labels that the remote cluster adds " +
				"stay there."},
		{"metadata.annotations", Translated,
			"All go along, those under `actual.vk/` and `kubernetes.io/config.` excepted, and follow later changes; akd adds its own. Annotations " +
				"that the remote cluster adds stay there."},
		{"metadata.ownerReferences", Stripped, "The owners are in the local cluster: the remote garbage collector would delete the pod."},
		{"metadata.finalizers", Stripped, "Who would remove them is in the local cluster."},
		{"metadata.managedFields", Stripped, server},
	}
}

func specFields() []Field {
	const scheduling = "It made the local scheduler choose the node; the remote scheduler chooses by the configuration of akd."
	return []Field{
		{"spec.restartPolicy", Kept, "The remote kubelet restarts containers as it says."},
		{"spec.terminationGracePeriodSeconds", Kept, "It is also forwarded when the pod is deleted."},
		{"spec.activeDeadlineSeconds", Kept, "The remote kubelet enforces it, from when the remote pod started. It follows later changes."},
		{"spec.dnsPolicy", Translated,
			"ClusterFirst leads to the remote cluster's DNS. When akd is told where pods reach the local one, that of the cluster becomes None " +
				"with the same settings that a local kubelet would make."},
		{"spec.nodeSelector", Stripped, scheduling},
		{"spec.serviceAccountName", Stripped, "The pod has its local identity, by the tokens it mounts, and never one of the remote cluster."},
		{"spec.serviceAccount", Stripped, "It is the old name of serviceAccountName."},
		{"spec.automountServiceAccountToken", Translated,
			"It is false remotely. The local API server has already added the volume with the token, which is kept."},
		{"spec.nodeName", Stripped, scheduling},
		{"spec.hostNetwork", Kept, "The Pod Security level of the remote namespace judges it."},
		{"spec.hostPID", Kept, "The Pod Security level of the remote namespace judges it."},
		{"spec.hostIPC", Kept, "The Pod Security level of the remote namespace judges it."},
		{"spec.shareProcessNamespace", Kept, "The remote kubelet does it."},
		{"spec.securityContext", Kept, "The remote kubelet applies it, and the Pod Security level of the remote namespace judges it."},
		{"spec.imagePullSecrets", Kept, "The Secrets are mirrored under their own names."},
		{"spec.hostname", Kept, "The remote kubelet sets it."},
		{"spec.subdomain", Kept,
			"The remote kubelet writes it to /etc/hosts, with the remote namespace in the full name; with setHostnameAsFQDN the full name is the " +
				"local one."},
		{"spec.affinity", Stripped, scheduling},
		{"spec.schedulerName", Stripped, scheduling},
		{"spec.tolerations", Translated,
			"Only those of `node.kubernetes.io/not-ready` and `unreachable` with effect NoExecute go along; the others tell of local nodes. The " +
				"configuration adds its own."},
		{"spec.hostAliases", Translated, "All go along. The names of `kubernetes.default` are added for the address of the local API server."},
		{"spec.priorityClassName", Stripped, scheduling},
		{"spec.priority", Stripped, scheduling},
		{"spec.dnsConfig", Translated, "It is kept; see dnsPolicy for what may come before it."},
		{"spec.readinessGates", Stripped,
			"Their conditions are set in the local cluster. Ready is worked out here, from the remote containers and the local gates."},
		{"spec.runtimeClassName", Stripped, "RuntimeClasses are the remote cluster's own; the configuration may set one for all pods."},
		{"spec.enableServiceLinks", Translated,
			"It is false remotely. The local Services become environment variables here, unless it is false locally."},
		{"spec.preemptionPolicy", Stripped, scheduling},
		{"spec.overhead", Stripped, "It comes from a local RuntimeClass; the remote API server refuses pods that bring their own."},
		{"spec.topologySpreadConstraints", Stripped, scheduling},
		{"spec.setHostnameAsFQDN", Translated,
			"With a subdomain it becomes hostnameOverride with the local full name (Kubernetes 1.34 or later remotely): the remote kubelet would " +
				"put the remote namespace into it."},
		{"spec.os", Kept, "The remote kubelet checks it."},
		{"spec.hostUsers", Kept, "The remote kubelet does it."},
		{"spec.schedulingGates", Stripped, scheduling},
		{"spec.resourceClaims", Refused, "Claims are allocated from devices of the local cluster."},
		{"spec.resources", Kept, "It follows later resizes."},
		{"spec.hostnameOverride", Kept, "The remote kubelet sets it."},
		{"spec.schedulingGroup", Stripped, scheduling},
		{"spec.evictionResponders", Stripped, "They respond to evictions in the local cluster."},
	}
}

func containerFields() []Field {
	const probe = "The remote kubelet probes the container."
	const hook = "The remote kubelet runs it."
	return []Field{
		{"container.name", Kept, "Logs, exec and attach find the container by it."},
		{"container.image", Kept, "The remote kubelet pulls it. It follows later changes; a name that a remote webhook put in its place stays."},
		{"container.command", Kept, "`$(NAME)` of Services resolve to the local ones."},
		{"container.args", Kept, "`$(NAME)` of Services resolve to the local ones."},
		{"container.workingDir", Kept, "It is a path in the image."},
		{"container.ports", Kept, "Host ports are taken on the remote node, and judged by the Pod Security level of the remote namespace."},
		{"container.envFrom[].prefix", Kept, "It is used as it is."},
		{"container.envFrom[].configMapRef", Translated,
			"The ConfigMap is mirrored under its own name; kube-root-ca.crt under another. A key that is there when the pod is created wins over " +
				"a variable of a Service, as in a kubelet; one that appears later loses."},
		{"container.envFrom[].secretRef", Kept, "The Secret is mirrored under its own name. For its keys it is as for those of a ConfigMap."},
		{"container.env[].name", Kept,
			"Variables of the local Services, of the local API server and of the configuration come before the container's own, which win."},
		{"container.env[].value", Kept, "It is used as it is."},
		{"container.env[].valueFrom.fieldRef", Translated,
			"`metadata.namespace`, `metadata.uid`, `spec.nodeName` and `spec.serviceAccountName` become the local values. Other fields are read " +
				"from the remote pod, which has the same: name, labels, annotations; or the true ones: addresses."},
		{"container.env[].valueFrom.resourceFieldRef", Kept,
			"Limits and requests are the same remotely. Without a limit it is the capacity of the remote node, on which the container runs."},
		{"container.env[].valueFrom.configMapKeyRef", Translated,
			"The ConfigMap is mirrored under its own name; kube-root-ca.crt under another."},
		{"container.env[].valueFrom.secretKeyRef", Kept, "The Secret is mirrored under its own name."},
		{"container.env[].valueFrom.fileKeyRef", Kept, "The file is in a volume of the pod."},
		{"container.resources", Kept,
			"The remote scheduler and kubelet use it. It follows later resizes of cpu and memory. Extended resources that somebody else than akd " +
				"advertises on the local Node are for the local scheduler alone, and left out."},
		{"container.resizePolicy", Kept, "The remote kubelet follows it."},
		{"container.restartPolicy", Kept, "The remote kubelet follows it; Always makes an init container a sidecar."},
		{"container.restartPolicyRules", Kept, "The remote kubelet follows them."},
		{"container.volumeMounts", Kept, "Volumes keep their names."},
		{"container.volumeDevices", Kept, "Volumes keep their names."},
		{"container.livenessProbe", Kept, probe},
		{"container.readinessProbe", Kept, probe},
		{"container.startupProbe", Kept, probe},
		{"container.lifecycle", Kept, hook},
		{"container.terminationMessagePath", Kept, "The remote kubelet reads the message; it is in the local status."},
		{"container.terminationMessagePolicy", Kept, "The remote kubelet reads the message; it is in the local status."},
		{"container.imagePullPolicy", Kept, "The remote kubelet pulls the image."},
		{"container.securityContext", Kept, "The remote kubelet applies it, and the Pod Security level of the remote namespace judges it."},
		{"container.stdin", Kept, "attach reaches the remote container."},
		{"container.stdinOnce", Kept, "attach reaches the remote container."},
		{"container.tty", Kept, "attach and exec reach the remote container."},
		{"ephemeralContainer.targetContainerName", Kept,
			"Containers keep their names. Ephemeral containers are added to the remote pod as they are to the local one."},
	}
}

func volumeFields() []Field {
	const drive = "The storage must be reachable from the remote nodes, and their kubelets must support it."
	const need = "The Secret is mirrored under its own name."
	return []Field{
		{"volume.name", Kept, "Volumes keep their names."},
		{"volume.hostPath", Kept, "It is a path on the remote node, and judged by the Pod Security level of the remote namespace."},
		{"volume.emptyDir", Kept, "It is made on the remote node. A size limit of memory follows later resizes."},
		{"volume.gcePersistentDisk", Kept, drive},
		{"volume.awsElasticBlockStore", Kept, drive},
		{"volume.gitRepo", Kept, "Kubelets since Kubernetes 1.33 do not support it any more."},
		{"volume.secret", Kept, need + " Later changes appear in the files."},
		{"volume.nfs", Kept, drive},
		{"volume.iscsi", Kept, drive + " " + need},
		{"volume.glusterfs", Refused, "Its Endpoints are in the local cluster."},
		{"volume.persistentVolumeClaim", Refused, "The claim and its volume are in the local cluster; they are not mirrored yet."},
		{"volume.rbd", Kept, drive + " " + need},
		{"volume.flexVolume", Kept, drive + " " + need},
		{"volume.cinder", Kept, drive + " " + need},
		{"volume.cephfs", Kept, drive + " " + need},
		{"volume.flocker", Kept, drive},
		{"volume.downwardAPI.items[].path", Kept, "It is used as it is."},
		{"volume.downwardAPI.items[].fieldRef", Translated,
			"`metadata.namespace` and `metadata.uid` have the local values. Files of all labels or all annotations show those of akd too."},
		{"volume.downwardAPI.items[].resourceFieldRef", Kept, "Limits and requests are the same remotely."},
		{"volume.downwardAPI.items[].mode", Kept, "It is used as it is."},
		{"volume.downwardAPI.items[].user", Kept, "It is used as it is."},
		{"volume.downwardAPI.defaultMode", Kept, "It is used as it is."},
		{"volume.downwardAPI.defaultUser", Kept, "It is used as it is."},
		{"volume.fc", Kept, drive},
		{"volume.azureFile", Kept, drive + " " + need},
		{"volume.configMap.name", Translated,
			"The ConfigMap is mirrored under its own name, and later changes appear in the files; kube-root-ca.crt is mirrored under another " +
				"name, because the remote cluster keeps its own CA in it."},
		{"volume.configMap.items", Kept, "They are used as they are."},
		{"volume.configMap.defaultMode", Kept, "It is used as it is."},
		{"volume.configMap.optional", Kept, "A ConfigMap that appears later is mirrored then."},
		{"volume.configMap.defaultUser", Kept, "It is used as it is."},
		{"volume.vsphereVolume", Kept, drive},
		{"volume.quobyte", Kept, drive},
		{"volume.azureDisk", Kept, drive},
		{"volume.photonPersistentDisk", Kept, drive},
		{"volume.projected.sources[].secret", Kept, need + " Later changes appear in the files."},
		{"volume.projected.sources[].downwardAPI", Translated, "As in a downwardAPI volume."},
		{"volume.projected.sources[].configMap", Translated, "As in a configMap volume."},
		{"volume.projected.sources[].serviceAccountToken", Translated,
			"It becomes an item of a Secret that akd keeps: a token of the local ServiceAccount, bound to the local pod, at the same path, " +
				"renewed before it expires. Its file is readable by the same users."},
		{"volume.projected.sources[].clusterTrustBundle", Translated,
			"The local cluster's bundle, kept in a Secret, at the same path; the file follows later changes."},
		{"volume.projected.sources[].podCertificate", Translated,
			"akd asks a signer of the local cluster for a certificate of the local pod, keeps it in a Secret, at the same paths, and renews it."},
		{"volume.projected.defaultMode", Kept, "It is used as it is."},
		{"volume.projected.defaultUser", Kept, "It is used as it is."},
		{"volume.portworxVolume", Kept, drive},
		{"volume.scaleIO", Kept, drive + " " + need},
		{"volume.storageos.volumeName", Kept, drive},
		{"volume.storageos.volumeNamespace", Translated,
			"Where it is empty, it becomes the local namespace: StorageOS would take the remote one."},
		{"volume.storageos.fsType", Kept, "It is used as it is."},
		{"volume.storageos.readOnly", Kept, "It is used as it is."},
		{"volume.storageos.secretRef", Kept, need},
		{"volume.csi", Kept, "The driver must run on the remote nodes. " + need},
		{"volume.ephemeral", Refused, "Its claim is made in the local cluster; claims are not mirrored yet."},
		{"volume.image", Kept, "The remote kubelet pulls it, with the pod's pull secrets."},
	}
}

func statusFields() []Field {
	const claims = "Claims are allocated in the local cluster."
	return []Field{
		{"status.observedGeneration", Translated, "It is the local generation once the remote kubelet has observed all that is in it."},
		{"status.phase", Kept,
			"Succeeded and Failed are final: the local pod stays so whatever the remote pod does. It becomes Failed when somebody deletes the " +
				"remote pod."},
		{"status.conditions", Translated,
			"PodReadyToStartContainers, Initialized, ContainersReady and those of restarts and resizes are the remote pod's; Ready is the remote " +
				"pod's and needs the local readiness gates too; DisruptionTarget comes from either cluster, or tells that somebody deleted the " +
				"remote pod; PodScheduled and all others stay. `actual.vk/RemoteScheduled` tells of the remote scheduler, `actual.vk/RemoteCreated` " +
				"of a remote pod that could not be created."},
		{"status.message", Translated, "Names of the remote cluster are replaced by the local ones."},
		{"status.reason", Kept, "It is the remote pod's; RemotePodDeleted, RemotePodEnded and RemotePodInvalid are akd's own."},
		{"status.nominatedNodeName", Local, "The local scheduler sets it."},
		{"status.hostIP", Kept, "It is the address of the remote node."},
		{"status.hostIPs", Kept, "They are the addresses of the remote node."},
		{"status.podIP", Kept, "It is the address of the remote pod."},
		{"status.podIPs", Kept, "They are the addresses of the remote pod."},
		{"status.startTime", Translated, "It is the remote pod's as first seen, and never changes."},
		{"status.qosClass", Local, "The local API server sets it."},
		{"status.resize", Kept, "It is the remote kubelet's word."},
		{"status.resourceClaimStatuses", Local, claims},
		{"status.extendedResourceClaimStatus", Local, claims},
		{"status.allocatedResources", Kept, "It is the remote kubelet's word."},
		{"status.resources", Kept, "It is the remote kubelet's word."},
		{"status.nodeAllocatableResourceClaimStatuses", Local, claims},
		{"status.volumeHealth", Kept, "It is the remote kubelet's word, of the volumes that the local pod has."},
	}
}

func containerStatusFields() []Field {
	const word = "It is the remote kubelet's word."
	return []Field{
		{"containerStatus.name", Kept, "Containers that a remote webhook added are left out."},
		{"containerStatus.state", Translated, "Names of the remote cluster in messages of a waiting container are replaced by the local ones."},
		{"containerStatus.lastState", Translated,
			"Names of the remote cluster in messages of a waiting container are replaced by the local ones."},
		{"containerStatus.ready", Kept, word},
		{"containerStatus.restartCount", Kept, word},
		{"containerStatus.image", Kept, word},
		{"containerStatus.imageID", Kept, word},
		{"containerStatus.containerID", Kept, word},
		{"containerStatus.started", Kept, word},
		{"containerStatus.allocatedResources", Kept, word},
		{"containerStatus.resources", Kept, word},
		{"containerStatus.volumeMounts", Kept, word},
		{"containerStatus.user", Kept, word},
		{"containerStatus.allocatedResourcesStatus", Kept, word},
		{"containerStatus.stopSignal", Kept, word},
	}
}
