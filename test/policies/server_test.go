package policies_test

import (
	"context"
	"slices"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/meta/testrestmapper"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

// server is the admission plugin of an API server.
type server struct {
	plugin     *validating.Plugin
	interfaces admission.ObjectInterfaces
	mapper     meta.RESTMapper
}

// cluster is the UID of the local cluster of every tenant.
const cluster = "c1"

func owner(node string) contract.Owner { return contract.Owner{Node: node, ClusterUID: cluster} }

// namespace is the remote one of the local namespace home, as akd creates it.
func namespace(node string) *corev1.Namespace {
	mapper := &translate.Mapper{Owner: owner(node), PodSecurity: "baseline"}
	made := mapper.In(contract.RemoteNamespace(node, "home")).Namespace("home")
	made.UID = types.UID("uid-of-" + made.Name)
	return made
}

// serve starts an API server's plugin in whose cluster the tenants are installed,
// each with a namespace.
func serve(t testing.TB, tenants ...manifests.Values) *server {
	t.Helper()
	return start(t, contents(t, tenants...))
}

// contents are the objects of such a cluster.
func contents(t testing.TB, tenants ...manifests.Values) map[string]runtime.Object {
	t.Helper()
	objects := map[string]runtime.Object{}
	for _, name := range []string{"default", "kube-system", contract.SystemNamespace} {
		objects["Namespace/"+name] = &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	}
	for _, values := range tenants {
		values.ClusterUID = cluster
		rendered, err := manifests.Remote(values)
		if err != nil {
			t.Fatal(err)
		}
		for _, object := range rendered {
			objects[object.GetKind()+"/"+object.GetName()] = typed(t, object)
		}
		objects[values.Node+"/home"] = namespace(values.Node)
	}
	return objects
}

func start(t testing.TB, objects map[string]runtime.Object) *server {
	t.Helper()
	var all []runtime.Object
	for _, object := range objects {
		all = append(all, object)
	}
	client := fake.NewClientset(all...)
	factory := informers.NewSharedInformerFactory(client, 0)
	plugin, err := validating.NewPlugin(nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	s := &server{
		plugin:     plugin,
		interfaces: admission.NewObjectInterfacesFromScheme(scheme.Scheme),
		mapper:     testrestmapper.TestOnlyStaticRESTMapper(scheme.Scheme),
	}
	plugin.SetExternalKubeInformerFactory(factory)
	plugin.SetExternalKubeClientSet(client)
	plugin.SetDynamicClient(dynamicfake.NewSimpleDynamicClient(scheme.Scheme))
	plugin.SetRESTMapper(s.mapper)
	plugin.SetDrainedNotification(ctx.Done())
	plugin.SetUnconditionalAuthorizer(nobody{})
	if err := plugin.ValidateInitialization(); err != nil {
		t.Fatal(err)
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	if !plugin.WaitForReady() {
		t.Fatal("the plugin is not ready")
	}
	return s
}

// nobody has a right: the policies ask for none.
type nobody struct{}

func (nobody) Authorize(context.Context, authorizer.Attributes) (authorizer.Decision, string, error) {
	return authorizer.DecisionDeny, "", nil
}

func typed(t testing.TB, object *unstructured.Unstructured) runtime.Object {
	t.Helper()
	into, err := scheme.Scheme.New(object.GroupVersionKind())
	if err != nil {
		t.Fatal(err)
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, into); err != nil {
		t.Fatal(err)
	}
	switch object := into.(type) {
	case *admissionregistrationv1.ValidatingAdmissionPolicy:
		setDefaults(object.Spec.MatchConstraints)
	case *admissionregistrationv1.ValidatingAdmissionPolicyBinding:
		setDefaults(object.Spec.MatchResources)
	}
	return into
}

// setDefaults sets what the API server does.
func setDefaults(match *admissionregistrationv1.MatchResources) {
	if match == nil {
		return
	}
	match.MatchPolicy = new(admissionregistrationv1.Equivalent)
	match.ObjectSelector = &metav1.LabelSelector{}
	if match.NamespaceSelector == nil {
		match.NamespaceSelector = &metav1.LabelSelector{}
	}
}

// request is what somebody does.
type request struct {
	user        string
	object, old runtime.Object
	subresource string
	// in is the namespace, if the object has none.
	in string
}

func account(node string) string {
	return "system:serviceaccount:" + contract.SystemNamespace + ":" + node
}

// do returns the refusal of a request, or nil.
func (s *server) do(t testing.TB, r request) error {
	t.Helper()
	attributes := s.attributes(t, r)
	return s.plugin.Validate(context.Background(), attributes, s.interfaces)
}

func (s *server) attributes(t testing.TB, r request) admission.Attributes {
	t.Helper()
	it, operation := r.object, admission.Create
	switch {
	case r.object == nil:
		it, operation = r.old, admission.Delete
	case r.old != nil:
		operation = admission.Update
	}
	kinds, _, err := scheme.Scheme.ObjectKinds(it)
	if err != nil {
		t.Fatal(err)
	}
	it.GetObjectKind().SetGroupVersionKind(kinds[0])
	mapping, err := s.mapper.RESTMapping(kinds[0].GroupKind(), kinds[0].Version)
	if err != nil {
		t.Fatal(err)
	}
	about, err := meta.Accessor(it)
	if err != nil {
		t.Fatal(err)
	}
	in := about.GetNamespace()
	if r.in != "" {
		in = r.in
	}
	if kinds[0].Kind == "Namespace" {
		in = about.GetName() // as the API server does
	}
	groups := []string{"system:authenticated"}
	return admission.NewAttributesRecord(r.object, r.old, kinds[0], in, about.GetName(), mapping.Resource, r.subresource,
		operation, nil, false, &user.DefaultInfo{Name: r.user, Groups: slices.Clip(groups)})
}
