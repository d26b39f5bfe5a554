package manifests

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"slices"
	"strings"
	"text/template"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// Where akd can run.
const (
	RunInLocal  = "local"
	RunInRemote = "remote"
)

// Values are what differs between two nodes.
type Values struct {
	// Node is the node's name; see contract.CheckNodeName. Every object of the
	// node is named after it.
	Node string
	// ClusterUID is the UID of the local cluster's namespace kube-system, to which
	// the node's name belongs in the remote cluster. Remote labels every object of
	// the node with it.
	ClusterUID string
	// Image of akd. Empty leaves out akd itself: only its identities and rights
	// are rendered.
	Image string
	// PodSecurity is the weakest Pod Security level that the remote cluster lets
	// the node's namespaces enforce: privileged, baseline or restricted. Empty
	// means baseline.
	PodSecurity string
	// RunIn is the cluster in which akd runs: local, which empty means too, or
	// remote.
	RunIn string
	// Replicas of akd: one is active, the others stand by. 0 means 1.
	Replicas int32
	// MemoryLimit of each akd, a quantity of at least 128Mi. Empty means 1Gi.
	MemoryLimit string
	// Config is akd's configuration, an AKDConfiguration in YAML.
	Config string

	// Hostname and Signer are what the node's serving certificate is for, and from whom:
	// those of akd's configuration. Empty means the node's name and
	// kubernetes.io/kubelet-serving.
	Hostname, Signer string
	// ApproveCertificates adds an approver of the node's serving certificates, with an
	// identity of its own. akd must run in the local cluster.
	ApproveCertificates bool

	// ReadNodes lets akd list the remote cluster's nodes to find the node's
	// capacity. Otherwise the configuration has to give it.
	ReadNodes bool
	// ReadMetrics lets akd read the usage of its pods from metrics.k8s.io.
	ReadMetrics bool
	// MirrorServices lets akd keep copies of the local cluster's Services and
	// EndpointSlices in its namespaces.
	MirrorServices bool
	// ServiceCIDRs are the local cluster's ranges of service addresses: the remote
	// cluster gets them as ServiceCIDR objects, and copies have no other
	// addresses. At least one if Services are mirrored.
	ServiceCIDRs []string
	// EndpointCIDRs are the ranges that copies may lead to: those of the pods of
	// both clusters, and the address of the local API server. At least one if
	// Services are mirrored.
	EndpointCIDRs []string
	// NamespaceMetadata are the labels and annotations of the node's namespaces.
	NamespaceMetadata NamespaceMetadata
	// MirrorBudgets lets akd keep copies of the local cluster's PodDisruptionBudgets in
	// its namespaces. Each keeps at most MaxUnevictable pods from being evicted; 0 means
	// 10.
	MirrorBudgets  bool
	MaxUnevictable int32
	// Storage lets akd provision volumes in the remote cluster, by PersistentVolumeClaims in
	// its namespaces.
	Storage Storage
	// Placement is where and how the remote cluster may run the node's pods.
	Placement Placement
	// Volumes are the kinds of volumes that pods may have in addition; see
	// CheckVolumes.
	Volumes []string
	// Limits lets akd create a ResourceQuota, a LimitRange and a NetworkPolicy in
	// each of its namespaces, as its configuration says.
	Limits Limits
	// Unconfined leaves out the admission policies, for remote clusters that do
	// not serve them (Kubernetes before 1.30). akd's credential then gives access
	// to every namespace of the remote cluster.
	Unconfined bool
}

// Storage is what PersistentVolumeClaims of the node can be.
type Storage struct {
	// Enabled lets akd have claims in its namespaces.
	Enabled bool
	// Classes are the StorageClasses of the remote cluster that claims can have. At least
	// one if Enabled.
	Classes []string
	// Local are the StorageClasses that the local cluster gets. Whoever applies them must
	// not change those that exist.
	Local []StorageClass
}

// StorageClass is a class of the local cluster whose volumes are in the remote one.
type StorageClass struct {
	// Name is that in the local cluster, Remote that of its class in the remote one.
	Name, Remote string
	// Default makes it the class of claims that name none.
	Default bool
	// ReclaimPolicy and AllowVolumeExpansion are those of the remote class. An empty policy
	// means Delete, as in the API.
	ReclaimPolicy        corev1.PersistentVolumeReclaimPolicy
	AllowVolumeExpansion bool
}

// Limits are the kinds of limits that akd may create in the node's remote
// namespaces. It may not change them.
type Limits struct {
	ResourceQuota, LimitRange, NetworkPolicy bool
}

//go:embed local/*.yaml remote/*.yaml akd/*.yaml
var files embed.FS

// Local returns the objects for the local cluster in the order in which to apply
// them: the node's identity and, if it runs there, akd. Errors say which value is
// wrong.
func Local(values Values) ([]*unstructured.Unstructured, error) {
	return render(values, "local", RunInLocal)
}

// Remote returns the objects for the remote cluster in the order in which to
// apply them: the tenant and, if it runs there, akd. Errors say which value is
// wrong.
func Remote(values Values) ([]*unstructured.Unstructured, error) {
	if err := values.checkClusterUID(); err != nil {
		return nil, err
	}
	if err := values.completeRanges(); err != nil {
		return nil, err
	}
	objects, err := render(values, "remote", RunInRemote)
	for _, object := range objects {
		labels := object.GetLabels()
		if labels[contract.LabelNodeName] != "" {
			labels[contract.LabelClusterUID] = values.ClusterUID
			object.SetLabels(labels)
		}
	}
	return objects, err
}

// render returns the objects of a folder's files, in the files' order, and akd if
// it runs in that cluster.
func render(values Values, folder, cluster string) ([]*unstructured.Unstructured, error) {
	if err := values.complete(); err != nil {
		return nil, err
	}
	names, err := fs.Glob(files, folder+"/*.yaml") // in order
	if err != nil {
		return nil, fmt.Errorf("find manifests: %w", err)
	}
	if values.RunIn == cluster && values.Image != "" {
		names = append(names, "akd/30-akd.yaml")
		if values.ApproveCertificates {
			names = append(names, "akd/40-approver.yaml")
		}
	}
	var objects []*unstructured.Unstructured
	for _, name := range names {
		found, err := renderFile(name, values)
		if err != nil {
			return nil, fmt.Errorf("manifest %s: %w", name, err)
		}
		objects = append(objects, found...)
	}
	return objects, nil
}

// complete fills in the defaults and says what is wrong with a value.
func (v *Values) complete() error {
	if err := contract.CheckNodeName(v.Node); err != nil {
		return err
	}
	if v.PodSecurity == "" {
		v.PodSecurity = "baseline"
	}
	if !slices.Contains(levels(), v.PodSecurity) {
		return fmt.Errorf("pod security level %q: want one of %s", v.PodSecurity, strings.Join(levels(), ", "))
	}
	if v.RunIn == "" {
		v.RunIn = RunInLocal
	}
	if v.RunIn != RunInLocal && v.RunIn != RunInRemote {
		return fmt.Errorf("cluster %q to run akd in: want %s or %s", v.RunIn, RunInLocal, RunInRemote)
	}
	if v.ApproveCertificates && v.RunIn != RunInLocal {
		return errors.New("an approver of akd's certificates must run in the local cluster: whoever administers the remote one could " +
			"otherwise have certificates approved that the local cluster trusts")
	}
	if v.Replicas < 0 {
		return fmt.Errorf("%d replicas of akd: want 1 or more", v.Replicas)
	}
	v.Replicas = max(v.Replicas, 1)
	v.Hostname, v.Signer = cmp.Or(v.Hostname, v.Node), cmp.Or(v.Signer, certificatesv1.KubeletServingSignerName)
	if v.MaxUnevictable < 0 {
		return fmt.Errorf("%d pods that one disruption budget keeps: want 1 or more", v.MaxUnevictable)
	}
	v.MaxUnevictable = cmp.Or(v.MaxUnevictable, defaultMaxUnevictable)
	if err := v.completeMemory(); err != nil {
		return err
	}
	if err := CheckNamespaceKeys(v.NamespaceMetadata.Allowed); err != nil {
		return err
	}
	if err := v.completeStorage(); err != nil {
		return err
	}
	return CheckVolumes(v.Volumes)
}

// completeStorage says what is wrong with the classes of claims.
func (v *Values) completeStorage() error {
	storage := &v.Storage
	if !storage.Enabled {
		return nil
	}
	if v.Unconfined {
		return errors.New("storage needs the admission policies of the remote cluster: without them, akd's credential would give access to " +
			"every free volume of it")
	}
	if len(storage.Classes) == 0 {
		return errors.New("storage needs a StorageClass of the remote cluster")
	}
	storage.Classes = distinct(slices.Clone(storage.Classes))
	storage.Local = slices.Clone(storage.Local)
	names := slices.Clone(storage.Classes)
	for i := range storage.Local {
		class := &storage.Local[i]
		class.ReclaimPolicy = cmp.Or(class.ReclaimPolicy, corev1.PersistentVolumeReclaimDelete)
		if !slices.Contains(storage.Classes, class.Remote) {
			return fmt.Errorf("storage class %q: its remote class %q is not one of %s", class.Name, class.Remote,
				strings.Join(storage.Classes, ", "))
		}
		names = append(names, class.Name)
	}
	for _, name := range names {
		if problems := validation.IsDNS1123Subdomain(name); len(problems) > 0 {
			return fmt.Errorf("storage class %q: %s", name, strings.Join(problems, "; "))
		}
	}
	return nil
}

// defaultMaxUnevictable is also the default of akd's configuration.
const defaultMaxUnevictable = 10

// Memory of akd. Less than the smallest limit is too little to serve any pod.
const (
	defaultMemoryLimit  = "1Gi"
	smallestMemoryLimit = 128 << 20
)

func (v *Values) completeMemory() error {
	v.MemoryLimit = cmp.Or(v.MemoryLimit, defaultMemoryLimit)
	limit, err := resource.ParseQuantity(v.MemoryLimit)
	if err != nil || limit.MilliValue()%1000 != 0 {
		return fmt.Errorf("memory limit %q: want an amount of bytes, such as 1Gi", v.MemoryLimit)
	}
	if limit.Value() < smallestMemoryLimit {
		return fmt.Errorf("memory limit %s: want 128Mi or more", v.MemoryLimit)
	}
	return nil
}

// checkClusterUID says what is wrong with the UID, which becomes a label.
func (v *Values) checkClusterUID() error {
	if v.ClusterUID == "" {
		return errors.New("the local cluster's UID is missing: it is that of the namespace kube-system")
	}
	if problems := validation.IsValidLabelValue(v.ClusterUID); len(problems) > 0 {
		return fmt.Errorf("the local cluster's UID %q: %s", v.ClusterUID, strings.Join(problems, "; "))
	}
	return nil
}

// GoMemoryLimit returns the value of GOMEMLIMIT, nine tenths of the memory limit:
// the rest is for what the Go runtime does not count.
// https://go.dev/doc/gc-guide#Memory_limit
func (v *Values) GoMemoryLimit() string {
	limit := resource.MustParse(v.MemoryLimit)
	const mebibyte = 1 << 20
	return fmt.Sprintf("%dMiB", limit.Value()/10*9/mebibyte)
}

// completeRanges says what is wrong with the ranges of mirrored Services, and
// writes them as the API has them.
func (v *Values) completeRanges() error {
	if !v.MirrorServices {
		return nil
	}
	if len(v.ServiceCIDRs) == 0 {
		return errors.New("mirrored services need the local cluster's range of service addresses")
	}
	if len(v.EndpointCIDRs) == 0 {
		return errors.New("mirrored services need the ranges of pod addresses that they may lead to")
	}
	var err error
	if v.ServiceCIDRs, err = canonical("service", v.ServiceCIDRs); err != nil {
		return err
	}
	v.EndpointCIDRs, err = canonical("endpoint", v.EndpointCIDRs)
	return err
}

// canonical returns the ranges in order, each once, or says which is none.
func canonical(what string, cidrs []string) ([]string, error) {
	prefixes := make([]netip.Prefix, 0, len(cidrs))
	for _, cidr := range cidrs {
		prefix, err := netip.ParsePrefix(cidr)
		switch {
		case err != nil:
			return nil, fmt.Errorf("%s range %q: want an address and a length, such as 10.96.0.0/16", what, cidr)
		case prefix.Addr().Is4In6():
			return nil, fmt.Errorf("%s range %q: write it as one of IPv4", what, cidr)
		case prefix != prefix.Masked():
			return nil, fmt.Errorf("%s range %q has address bits beyond its length: did you mean %s?", what, cidr, prefix.Masked())
		}
		prefixes = append(prefixes, prefix)
	}
	slices.SortFunc(prefixes, netip.Prefix.Compare)
	out := make([]string, 0, len(prefixes))
	for _, prefix := range slices.Compact(prefixes) {
		out = append(out, prefix.String())
	}
	return out, nil
}

// ServiceRanges returns the ServiceCIDR objects' ranges by the objects' names.
// Such an object has one range of each IP family at most.
// https://kubernetes.io/docs/reference/networking/virtual-ips/#ip-address-objects
func (v *Values) ServiceRanges() map[string][]string {
	ranges := map[string][]string{}
	taken := map[bool]int{}
	for _, cidr := range v.ServiceCIDRs {
		isIPv6 := strings.Contains(cidr, ":")
		taken[isIPv6]++
		name := ServiceRange(v.Node)
		if taken[isIPv6] > 1 {
			name = fmt.Sprintf("services-%d.%s.actual.vk", taken[isIPv6], v.Node)
		}
		ranges[name] = append(ranges[name], cidr)
	}
	return ranges
}

// ServiceRange returns the name of the ServiceCIDR object that a node's mirrored
// Services have their addresses from; further ones are labelled as this is.
func ServiceRange(node string) string { return "services." + node + ".actual.vk" }

// levels are the Pod Security levels, weakest first.
// https://kubernetes.io/docs/concepts/security/pod-security-standards/
func levels() []string { return []string{"privileged", "baseline", "restricted"} }

// AtLeast returns the Pod Security levels that are no weaker than the installed one.
func (v *Values) AtLeast() []string { return levels()[slices.Index(levels(), v.PodSecurity):] }

func renderFile(name string, values Values) ([]*unstructured.Unstructured, error) {
	content, err := files.ReadFile(name)
	if err != nil {
		return nil, err
	}
	functions := template.FuncMap{"quote": quote, "hash": hash, "list": list}
	parsed, err := template.New(name).Option("missingkey=error").Funcs(functions).Parse(string(content))
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := parsed.Execute(&out, &values); err != nil {
		return nil, err
	}
	return decode(&out)
}

// quote returns a value as YAML's double-quoted strings have it, which are
// JSON's, or a list of them in brackets.
func quote(value any) (string, error) {
	quoted, err := json.Marshal(value)
	return string(quoted), err
}

// list returns its arguments.
func list(items ...string) []string { return items }

// hash returns a short name for a text.
func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	const length = 8
	return hex.EncodeToString(sum[:length])
}

// decode reads a stream of YAML documents; empty ones are left out.
func decode(stream io.Reader) ([]*unstructured.Unstructured, error) {
	const buffer = 4096
	var objects []*unstructured.Unstructured
	decoder := yaml.NewYAMLOrJSONDecoder(stream, buffer)
	for {
		object := &unstructured.Unstructured{}
		err := decoder.Decode(&object.Object)
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, err
		}
		if len(object.Object) > 0 {
			objects = append(objects, object)
		}
	}
}

// ApproverPolicy returns the name of the policy that ties a node's approver to the node,
// and of its binding.
func ApproverPolicy(node string) string { return "approver." + node + ".actual.vk" }

// Approver returns the objects of Local that belong to a node's approver, in the order in
// which Local applies them.
func Approver(node string) ([]*unstructured.Unstructured, error) {
	objects, err := Local(Values{Node: node, Image: "any", ApproveCertificates: true})
	return slices.DeleteFunc(objects, func(object *unstructured.Unstructured) bool {
		return object.GetLabels()["app.kubernetes.io/component"] != "approver"
	}), err
}
