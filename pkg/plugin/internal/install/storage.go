package install

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/failure"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/rights"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/config"
)

// annotationDefault marks the StorageClass of claims that name none.
// https://kubernetes.io/docs/concepts/storage/storage-classes/#default-storageclass
const annotationDefault = "storageclass.kubernetes.io/is-default-class"

// firstClass, as the value of --default-storage-class, is the first class, whatever its
// name. It is the name of none.
const firstClass = "*"

// givenClass is a value of --storage-class.
type givenClass struct {
	remote, local string // local is empty if the user leaves it open
}

// parseClasses reads the values of --storage-class.
func parseClasses(given []string) ([]givenClass, error) {
	var classes []givenClass
	for _, text := range given {
		remote, local, named := strings.Cut(text, "=")
		names := []string{remote}
		if named {
			names = append(names, local)
		}
		for _, name := range names {
			if len(validation.IsDNS1123Subdomain(name)) > 0 {
				return nil, failure.Usagef("--storage-class %q: want REMOTE or REMOTE=LOCAL, names of storage classes", text)
			}
		}
		classes = append(classes, givenClass{remote: remote, local: local})
	}
	return classes, nil
}

// validateStorage checks the flags of storage against each other.
func (o *nodeOptions) validateStorage() error {
	if o.storage != "" && !slices.Contains(config.StorageMode("").Values(), o.storage) {
		return failure.Usagef("--storage %q: want claims or none", o.storage)
	}
	if o.storage == string(config.StorageNone) && (len(o.storageClasses) > 0 || o.defaultClass != "") {
		return failure.Usagef("--storage=none has no storage classes: leave out --storage-class and --default-storage-class")
	}
	return nil
}

// requestedStorage is what the user wants, or empty.
func (o *nodeOptions) requestedStorage() config.StorageMode {
	switch {
	case o.storage != "":
		return config.StorageMode(o.storage)
	case len(o.storageClasses) > 0 || o.defaultClass != "":
		return config.StorageClaims
	}
	storage, _ := o.fields["storage"].(map[string]any)
	requested, _ := storage["mode"].(string)
	return config.StorageMode(requested)
}

// fileClasses are the remote classes in the configuration file.
func (o *nodeOptions) fileClasses() (classes []string) {
	storage, _ := o.fields["storage"].(map[string]any)
	configured, _ := storage["classes"].([]any)
	for _, class := range configured {
		if name, ok := class.(string); ok {
			classes = append(classes, name)
		}
	}
	return classes
}

// withGiven adds the remote classes of flags.
func (o *nodeOptions) withGiven(classes []string) []string {
	classes = slices.Clone(classes)
	for _, class := range o.parsed.classes {
		if !slices.Contains(classes, class.remote) {
			classes = append(classes, class.remote)
		}
	}
	return classes
}

// localName is the name that the user gives to the local class of a remote one, or empty.
func (o *nodeOptions) localName(remote string) string {
	for _, class := range o.parsed.classes {
		if class.remote == remote && class.local != "" {
			return class.local
		}
	}
	return ""
}

// needClasses is for where no cluster can be asked.
func (o *nodeOptions) needClasses() error {
	if o.requestedStorage() != config.StorageClaims || len(o.withGiven(o.fileClasses())) > 0 {
		return nil
	}
	err := failure.Usagef("--storage=claims needs --storage-class, the name of a StorageClass of the remote cluster")
	return failure.Hintf(err, "name it: only install itself finds the default one")
}

// unseenClasses are the local classes where no cluster can be asked what its classes are
// like, and which names are free.
func (o *nodeOptions) unseenClasses(remote []string) (classes []manifests.StorageClass, err error) {
	for _, class := range remote {
		name := o.localName(class)
		if name == "" {
			name = class
		}
		classes = append(classes, manifests.StorageClass{Name: name, Remote: class})
	}
	return classes, o.markDefault(classes, nil)
}

// markDefault marks the class that the user wants as the default one. It leaves those that
// exist as they are.
func (o *nodeOptions) markDefault(made []manifests.StorageClass, existing []string) error {
	if o.defaultClass == "" {
		return nil
	}
	names := slices.Clone(existing)
	for i := range made {
		if made[i].Name == o.defaultClass || o.defaultClass == firstClass && i == 0 {
			made[i].Default = true
			return nil
		}
		names = append(names, made[i].Name)
	}
	if o.defaultClass != firstClass && !slices.Contains(existing, o.defaultClass) {
		return failure.Usagef("--default-storage-class %q: want one of the node's classes in the local cluster: %s",
			o.defaultClass, strings.Join(names, ", "))
	}
	return nil
}

// editStorage is what flags and discoveries change in storage. Before the clusters are
// asked, classes may be missing.
func (o *nodeOptions) editStorage(cfg *config.Configuration, found *storageChoice) {
	switch requested, given := o.requestedStorage(), o.withGiven(o.fileClasses()); {
	case found.mode != "":
		cfg.Storage.Mode, cfg.Storage.Classes = found.mode, found.classes
	case requested == config.StorageNone:
		cfg.Storage.Mode = requested
	case requested == config.StorageClaims && len(given) > 0:
		cfg.Storage.Mode, cfg.Storage.Classes = requested, given
	}
}

// storageFound is what decides about storage.
type storageFound struct {
	configured    []string // the classes of the installed node
	remote, local []storagev1.StorageClass
}

// storageChoice is where the volumes of claims are.
type storageChoice struct {
	mode    config.StorageMode // empty: akd's default
	classes []string           // of the remote cluster
	create  []manifests.StorageClass
	notes   []string
}

// String is the choice as the outcome of a step.
func (c *storageChoice) String() string {
	switch c.mode {
	case config.StorageClaims:
	case config.StorageNone:
		return "none, as configured"
	default:
		return "none: --storage=claims gives claims volumes in the remote cluster"
	}
	texts := []string{"claims of the remote classes " + strings.Join(c.classes, ", ")}
	for i := range c.create {
		text := "new local class " + c.create[i].Name
		if c.create[i].Default {
			text += " (default)"
		}
		texts = append(texts, text)
	}
	return strings.Join(append(texts, c.notes...), "; ")
}

// chooseStorage decides which remote classes claims can have, and which local classes are
// made for them. A local class that offers a remote one is the local administrator's.
func (o *nodeOptions) chooseStorage(found *storageFound) (storageChoice, error) {
	choice := storageChoice{mode: config.StorageClaims, classes: o.withGiven(found.configured)}
	if file := o.fileClasses(); len(file) > 0 { // which can take classes away
		choice.classes = o.withGiven(file)
	}
	if len(choice.classes) == 0 {
		class, err := found.defaultClass()
		if err != nil {
			return storageChoice{}, err
		}
		choice.classes = []string{class}
	}
	var existing []string
	for _, remote := range choice.classes {
		offering := found.offering(o.node, remote)
		existing = append(existing, offering...)
		if name := o.localName(remote); slices.Contains(offering, name) || name == "" && len(offering) > 0 {
			continue
		}
		class, err := o.localClass(found, remote)
		if err != nil {
			return storageChoice{}, err
		}
		choice.create = append(choice.create, class)
	}
	if len(found.local) == 0 && len(choice.create) > 0 && o.defaultClass == "" {
		choice.create[0].Default = true // a cluster without any class
	}
	if err := o.markDefault(choice.create, existing); err != nil {
		return storageChoice{}, err
	}
	isDefault := slices.ContainsFunc(choice.create, func(class manifests.StorageClass) bool { return class.Default })
	if o.defaultClass != "" && !isDefault {
		choice.notes = append(choice.notes,
			fmt.Sprintf("local class %s exists and stays as it is: annotate it with %s=true to make it the default",
				existingDefault(o.defaultClass, existing), annotationDefault))
	}
	return choice, nil
}

func existingDefault(named string, existing []string) string {
	if named == firstClass {
		return existing[0]
	}
	return named
}

// localClass is the local class of a remote one that has none yet.
func (o *nodeOptions) localClass(found *storageFound, remote string) (manifests.StorageClass, error) {
	at := slices.IndexFunc(found.remote, func(class storagev1.StorageClass) bool { return class.Name == remote })
	if at < 0 {
		return manifests.StorageClass{}, failure.Hintf(fmt.Errorf("the remote cluster has no StorageClass %s", remote), "%s", found.advice())
	}
	name := o.localName(remote)
	if name == "" {
		if name = remote; found.taken(name) {
			name = o.node + "-" + remote
		}
	}
	if found.taken(name) {
		return manifests.StorageClass{}, failure.Hintf(fmt.Errorf("the local cluster has another StorageClass %s", name),
			"choose a name with --storage-class %s=NAME", remote)
	}
	class := manifests.StorageClass{Name: name, Remote: remote}
	if policy := found.remote[at].ReclaimPolicy; policy != nil {
		class.ReclaimPolicy = *policy
	}
	if grows := found.remote[at].AllowVolumeExpansion; grows != nil {
		class.AllowVolumeExpansion = *grows
	}
	return class, nil
}

// defaultClass returns the remote cluster's default class: the youngest of those that are
// marked, as Kubernetes takes it.
// https://github.com/kubernetes/kubernetes/blob/v1.37.1/pkg/volume/util/storageclass.go
func (f *storageFound) defaultClass() (string, error) {
	var youngest *storagev1.StorageClass
	for i := range f.remote {
		class := &f.remote[i]
		if class.Annotations[annotationDefault] != "true" {
			continue
		}
		if youngest == nil || youngest.CreationTimestamp.Before(&class.CreationTimestamp) {
			youngest = class
		}
	}
	if youngest == nil {
		return "", failure.Hintf(errors.New("the remote cluster has no default StorageClass"), "%s", f.advice())
	}
	return youngest.Name, nil
}

// advice lists the remote classes.
func (f *storageFound) advice() string {
	if len(f.remote) == 0 {
		return "it has no StorageClass at all: ask its administrator for one, or install without --storage=claims"
	}
	var names []string
	for i := range f.remote {
		names = append(names, f.remote[i].Name)
	}
	slices.Sort(names)
	return "name one with --storage-class: " + strings.Join(names, ", ")
}

// taken reports whether the local cluster has a class of that name.
func (f *storageFound) taken(name string) bool {
	return slices.ContainsFunc(f.local, func(class storagev1.StorageClass) bool { return class.Name == name })
}

// offering returns the local classes whose volumes are of a remote class, on the node.
func (f *storageFound) offering(node, remote string) (names []string) {
	for i := range f.local {
		class := &f.local[i]
		if class.Provisioner == contract.StorageDriver && class.Parameters[contract.ParameterRemoteClass] == remote && isFor(class, node) {
			names = append(names, class.Name)
		}
	}
	return names
}

// isFor reports whether volumes of a class can be on the node.
func isFor(class *storagev1.StorageClass, node string) bool {
	return len(class.AllowedTopologies) == 0 || slices.ContainsFunc(class.AllowedTopologies, func(term corev1.TopologySelectorTerm) bool {
		return slices.ContainsFunc(term.MatchLabelExpressions, func(one corev1.TopologySelectorLabelRequirement) bool {
			return one.Key == contract.LabelNodeName && slices.Contains(one.Values, node)
		})
	})
}

// discoverStorage reads what the clusters have, and decides. A node keeps its storage
// unless the user says otherwise.
func (o *nodeOptions) discoverStorage(ctx context.Context, both kubeclient.Clusters, found *discovered) (string, error) {
	configured, err := o.currentClasses(ctx, both)
	if err != nil {
		return "", err
	}
	requested := o.requestedStorage()
	if requested == config.StorageNone {
		if err := refuseVolumes(ctx, both, o.node); err != nil {
			return "", err
		}
		found.storage.mode = requested
		return found.storage.String(), nil
	}
	decides := storageFound{configured: configured}
	if requested == "" && len(decides.configured) == 0 {
		return found.storage.String(), nil
	}
	if err := checkStoragePolicies(both, found.policies); err != nil {
		return "", err
	}
	if requested == "" {
		found.storage.mode, found.storage.classes = config.StorageClaims, decides.configured
		return found.storage.String(), nil
	}
	for c, into := range map[*kubeclient.Cluster]*[]storagev1.StorageClass{both.Local: &decides.local, both.Remote: &decides.remote} {
		list, err := c.Client.StorageV1().StorageClasses().List(ctx, metav1.ListOptions{})
		if err != nil {
			return "", fmt.Errorf("list the storage classes of the %s cluster: %w", c.Side, err)
		}
		*into = list.Items
	}
	if found.storage, err = o.chooseStorage(&decides); err != nil {
		return "", err
	}
	return found.storage.String(), nil
}

// currentClasses returns the remote classes of the installed node; none if it has no
// storage. The configuration is where akd runs, which may change, and may be of another
// version: of what else is in it, nothing is read.
func (o *nodeOptions) currentClasses(ctx context.Context, both kubeclient.Clusters) ([]string, error) {
	hosts := []*kubeclient.Cluster{both.Local, both.Remote}
	if o.runIn == manifests.RunInRemote {
		slices.Reverse(hosts)
	}
	for _, host := range hosts {
		stored, err := host.Client.CoreV1().ConfigMaps(contract.SystemNamespace).Get(ctx, o.node, metav1.GetOptions{})
		if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
			continue // who may not read it may not change it either: the review of rights says so
		}
		if err != nil {
			return nil, fmt.Errorf("read akd's configuration: %w", err)
		}
		var current struct {
			Storage struct {
				Mode    config.StorageMode `json:"mode"`
				Classes []string           `json:"classes"`
			} `json:"storage"`
		}
		if err := yaml.Unmarshal([]byte(stored.Data["akd.yaml"]), &current); err != nil {
			return nil, fmt.Errorf("read the storage of akd's configuration in the %s cluster: %w", host.Side, err)
		}
		if current.Storage.Mode != config.StorageClaims {
			return nil, nil
		}
		return current.Storage.Classes, nil
	}
	return nil, nil
}

// checkStoragePolicies refuses storage in clusters without the policies that confine it.
func checkStoragePolicies(both kubeclient.Clusters, remote bool) error {
	const upgrade = "upgrade it to Kubernetes 1.30, or install the node with --storage=none"
	local, err := both.Local.HasPolicies()
	switch {
	case err != nil:
		return err
	case !local:
		return failure.Hintf(fmt.Errorf("the local cluster %s has no ValidatingAdmissionPolicy, without which akd's credential could mount "+
			"the directories of its nodes", both.Local.Version), upgrade)
	case !remote:
		return failure.Hintf(fmt.Errorf("the remote cluster %s has no ValidatingAdmissionPolicy, without which akd's credential could take "+
			"its free volumes", both.Remote.Version), upgrade)
	}
	return nil
}

// refuseVolumes refuses to switch storage off while there is anything in it: pods would
// lose their volumes, and nobody would delete the remote claims any more.
func refuseVolumes(ctx context.Context, both kubeclient.Clusters, node string) error {
	ours := contract.LabelNodeName + "=" + node
	volumes, err := both.Local.Client.CoreV1().PersistentVolumes().List(ctx, metav1.ListOptions{LabelSelector: ours})
	if err != nil {
		return fmt.Errorf("list the node's local volumes: %w", err)
	}
	claims, err := both.Remote.Client.CoreV1().PersistentVolumeClaims("").List(ctx,
		metav1.ListOptions{LabelSelector: labels.Set(both.Owner(node).ObjectLabels()).String()})
	if err != nil {
		return fmt.Errorf("list the node's remote claims: %w", err)
	}
	if len(volumes.Items)+len(claims.Items) == 0 {
		return nil
	}
	err = fmt.Errorf("node %s has %d volumes in the local cluster and %d claims in the remote one: storage stays on while it has any",
		node, len(volumes.Items), len(claims.Items))
	return failure.Hintf(err, "delete the local PersistentVolumeClaims, and the volumes that are kept without one: %s",
		both.Commands().Actual("volumes", node))
}

// createClasses creates local classes that are not there. Nobody but the local administrator
// changes those that are.
func (i *installer) createClasses(ctx context.Context, classes []*unstructured.Unstructured) (string, error) {
	var counts kubeclient.Counts
	options := metav1.CreateOptions{FieldManager: kubeclient.FieldManager}
	if i.options.dryRun == dryRunServer {
		options.DryRun = []string{metav1.DryRunAll}
	}
	for _, class := range classes {
		resource, err := i.both.Local.Resource(class)
		if err != nil {
			return "", err
		}
		_, err = resource.Create(ctx, class, options)
		switch {
		case err == nil:
			counts.Created++
		case apierrors.IsAlreadyExists(err):
			counts.Unchanged++
		default:
			return "", fmt.Errorf("create local %s: %w", kubeclient.Title(class), err)
		}
	}
	i.counts = i.counts.Add(counts)
	return counts.String(), nil
}

// awaitLocalPolicies waits until the policy of volumes refuses akd what is not its node's,
// on each API server.
func (i *installer) awaitLocalPolicies(ctx context.Context) (string, error) {
	trials := rights.LocalTrials(i.options.node, &i.values)
	return i.awaitConfinement(ctx, i.both.Local, func(ctx context.Context, servers []*kubeclient.Cluster, rounds int) error {
		return i.tryAll(ctx, servers, rounds, trials)
	})
}
