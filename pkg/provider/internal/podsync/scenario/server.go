package scenario

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/client-go/kubernetes/scheme"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/utils/ptr"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// fakeServer is a fake API server with the few behaviours of a real one that
// the lifecycle depends on: it assigns UIDs, deletes pods gracefully, and can refuse,
// lose and delay requests. Its storage has the rest.
type fakeServer struct {
	name        string
	storage     *storage
	controllers *controllers
	schedules   bool // it has a scheduler

	mu          sync.Mutex
	uids        int
	secretUIDs  int
	eventUIDs   int
	serviceUIDs int
	budgetUIDs  int
	claimUIDs   int
	volumeUIDs  int
	tokens      int
	fails       bool                               // the provisioner
	tells       bool                               // kubelets tell what they do by events
	tenant      bool                               // see confine
	late        bool                               // see authorizeLate
	born        map[types.NamespacedName]time.Time // local pods
	refusals    map[string]error                   // "verb resource" → error
	lose        bool                               // the answer to the next write
	loseOnly    string                             // "verb resource" of that write, if it is not any
	hold        bool                               // the next write
	holdOnly    string                             // likewise
	held        []clienttesting.Action             // writes that have not arrived yet
	arriving    bool                               // see isArriving
	arrived     map[string]bool                    // the namespaces that were created so
	hear        func(clienttesting.Action)         // hears what akd asks for, whatever the answer is
	audit       func(clienttesting.Action)         // sees what akd does before it is done
	arrives     func(clienttesting.Action)         // sees what was held back before it is done
	writes      map[string]int
	refused     map[string]int // writes
	reads       map[string]int // lists, and watches that have begun
}

// anyName stands for the name of an object in the answer to its creation.
const anyName = "NAME"

func newFakeServer(name string) *fakeServer {
	c := &fakeServer{
		name: name, storage: newStorage(), controllers: &controllers{},
		refusals: map[string]error{}, writes: map[string]int{}, refused: map[string]int{}, reads: map[string]int{},
		arrived: map[string]bool{}, born: map[types.NamespacedName]time.Time{},
	}
	c.storage.noticed = c.controllers.notice
	return c
}

// react counts and refuses requests, and does what the storage does not.
func (c *fakeServer) react(action clienttesting.Action) (bool, runtime.Object, error) {
	resource := resourceIn(action)
	if c.hear != nil {
		c.hear(action)
	}
	if err := c.note(action.GetVerb(), resource); err != nil {
		return true, nil, about(action, err)
	}
	if c.isConfined(action) || c.authorizesLater(action) {
		return true, nil, apierrors.NewForbidden(action.GetResource().GroupResource(), "", errors.New("no role is bound there"))
	}
	if err := c.precondition(action); err != nil {
		return true, nil, err
	}
	if c.audit != nil {
		c.audit(action)
	}
	if c.holds(action) {
		return true, nil, apierrors.NewTimeoutError("no answer", 1)
	}
	if c.loses(action.GetVerb(), resource) {
		return c.loseAnswer(action, resource)
	}
	return c.serve(action, resource)
}

// serve does what the storage does not.
func (c *fakeServer) serve(action clienttesting.Action, resource string) (bool, runtime.Object, error) {
	switch action := action.(type) {
	case clienttesting.CreateActionImpl:
		if err := c.admitsInto(action); err != nil {
			return true, nil, err
		}
		if resource == "serviceaccounts/token" {
			if err := c.isBound(action); err != nil {
				return true, nil, err
			}
			return true, &authenticationv1.TokenRequest{Status: authenticationv1.TokenRequestStatus{
				Token: fmt.Sprintf("token-%d", c.next(&c.tokens)), ExpirationTimestamp: in(time.Hour),
			}}, nil
		}
		switch review := action.Object.(type) {
		case *authenticationv1.SelfSubjectReview:
			review.Status.UserInfo.Username = "system:serviceaccount:actual-system:" + Node
			return true, review, nil
		case *authorizationv1.SelfSubjectAccessReview:
			attributes := review.Spec.ResourceAttributes
			review.Status.Allowed = !c.isTenant() && attributes != nil && attributes.Verb != "bind"
			return true, review, nil
		}
		if meta, err := apimeta.Accessor(action.Object); err == nil && meta.GetName() != "" {
			if _, err := c.storage.Get(action.GetResource(), action.Namespace, meta.GetName()); err == nil {
				return false, nil, nil // refused below, and needs no UID: how often akd tries is random
			}
		}
		c.stamp(action.Object)
	case clienttesting.DeleteActionImpl:
		switch resource {
		case "pods":
			return true, nil, c.deleteGracefully(action)
		case "namespaces":
			return true, nil, c.end(action.Name)
		}
	}
	_, creates := action.(clienttesting.CreateActionImpl)
	if isStored(action.GetResource().Resource) && !creates && isWrite(action.GetVerb()) {
		return c.serveStored(action)
	}
	return false, nil, nil
}

// isBound returns an error if the pod for which a token is requested is not there.
func (c *fakeServer) isBound(action clienttesting.CreateActionImpl) error {
	request, is := action.Object.(*authenticationv1.TokenRequest)
	if !is || request.Spec.BoundObjectRef == nil {
		return nil
	}
	bound := request.Spec.BoundObjectRef
	pod, err := c.podNamed(action.Namespace, bound.Name)
	if err == nil && pod.UID != bound.UID {
		err = apierrors.NewConflict(schema.GroupResource{Resource: "Pod"}, bound.Name, errors.New("it has another UID"))
	}
	return err
}

// precondition checks the UID and the resource version that a write demands. An API
// server answers a deletion with the kind, and finds another UID in a patch only when it
// validates the result.
func (c *fakeServer) precondition(action clienttesting.Action) error {
	demanded, err := demandedBy(action)
	if err != nil || demanded.Name == "" {
		return err
	}
	found, err := c.storage.Get(action.GetResource(), action.GetNamespace(), demanded.Name)
	if err != nil {
		return nil //nolint:nilerr // the storage says so itself
	}
	meta, err := apimeta.Accessor(found)
	if err != nil {
		return err
	}
	kind := kindOf(action.GetResource().Resource)
	other := demanded.UID != "" && demanded.UID != meta.GetUID()
	resource := action.GetResource().GroupResource()
	switch action.(type) {
	case clienttesting.DeleteActionImpl:
		if kind != "Namespace" {
			resource.Resource = kind
		}
	case clienttesting.PatchActionImpl:
		if demanded.ResourceVersion == "" && other {
			return apierrors.NewInvalid(schema.GroupKind{Kind: kind}, demanded.Name,
				field.ErrorList{field.Invalid(field.NewPath("metadata", "uid"), demanded.UID, "field is immutable")})
		}
	}
	if other || demanded.ResourceVersion != "" && demanded.ResourceVersion != meta.GetResourceVersion() {
		return apierrors.NewConflict(resource, demanded.Name, errors.New("a precondition does not hold"))
	}
	return nil
}

// demandedBy returns the name, the UID and the resource version that a write is for.
func demandedBy(action clienttesting.Action) (demanded metav1.ObjectMeta, err error) {
	switch action := action.(type) {
	case clienttesting.UpdateActionImpl:
		object, err := apimeta.Accessor(action.Object)
		if err != nil {
			return demanded, err
		}
		return metav1.ObjectMeta{Name: object.GetName(), UID: object.GetUID(), ResourceVersion: object.GetResourceVersion()}, nil
	case clienttesting.PatchActionImpl:
		var patch metav1.PartialObjectMetadata
		if err := json.Unmarshal(action.Patch, &patch); err != nil {
			return demanded, err
		}
		demanded = patch.ObjectMeta
		demanded.Name = action.Name
	case clienttesting.DeleteActionImpl:
		demanded.Name = action.Name
		if p := action.DeleteOptions.Preconditions; p != nil {
			demanded.UID, demanded.ResourceVersion = ptr.Deref(p.UID, ""), ptr.Deref(p.ResourceVersion, "")
		}
	}
	return demanded, nil
}

// isWrite reports whether requests with that verb change something.
func isWrite(verb string) bool {
	return slices.Contains([]string{"create", "update", "patch", "delete"}, verb)
}

// lasts reports whether requests change something that lasts: neither an event nor the
// answer to a question.
func lasts(verb, resource string) bool {
	return isWrite(verb) && resource != "events" && !strings.HasPrefix(resource, "selfsubject")
}

// holds reports whether this request arrives later.
func (c *fakeServer) holds(action clienttesting.Action) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	request := action.GetVerb() + " " + resourceIn(action)
	held := c.hold && isWrite(action.GetVerb()) && action.GetResource().Resource != "events" && (c.holdOnly == "" || c.holdOnly == request)
	if held {
		c.hold = false
		c.held = append(c.held, action)
	}
	return held
}

// arrive does what was held back, for which nobody waits any more.
func (c *fakeServer) arrive() {
	c.mu.Lock()
	held := c.held
	c.hold, c.held, c.arriving = false, nil, true
	c.mu.Unlock()
	for _, action := range held {
		if c.precondition(action) != nil {
			continue
		}
		if c.arrives != nil {
			c.arrives(action)
		}
		err := c.carryOut(action, resourceIn(action))
		if create, creates := action.(clienttesting.CreateActionImpl); creates && err == nil && resourceIn(action) == "namespaces" {
			c.mu.Lock()
			c.arrived[nameOf(create.Object)] = true
			c.mu.Unlock()
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.arriving = false
}

// hasArrived reports whether a namespace was created by a request that nobody waited for
// any more: after minutes, in which an API server gives up, akd looks for it no more.
func (c *fakeServer) hasArrived(namespace string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.arrived[namespace]
}

// isArriving reports whether what happens was requested long ago.
func (c *fakeServer) isArriving() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.arriving
}

// carryOut does what is requested, without an answer.
func (c *fakeServer) carryOut(action clienttesting.Action, resource string) error {
	handled, _, err := c.serve(action, resource)
	if !handled {
		_, _, err = clienttesting.ObjectReaction(c.storage)(action)
	}
	return err
}

// resourceIn returns the resource of an action, with the subresource.
func resourceIn(action clienttesting.Action) string {
	if sub := action.GetSubresource(); sub != "" {
		return action.GetResource().Resource + "/" + sub
	}
	return action.GetResource().Resource
}

// loses reports whether the answer to this request gets lost.
func (c *fakeServer) loses(verb, resource string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	lost := c.lose && isWrite(verb) && (c.loseOnly == "" || c.loseOnly == verb+" "+resource)
	c.lose = c.lose && !lost
	return lost
}

// loseAnswer does what is requested, and answers as a gateway does that has waited in
// vain.
func (c *fakeServer) loseAnswer(action clienttesting.Action, resource string) (bool, runtime.Object, error) {
	err := c.carryOut(action, resource)
	if err == nil {
		err = apierrors.NewTimeoutError("the answer is lost", 1)
	}
	return true, nil, err
}

// about returns the error with the name of the object that the action would create.
func about(action clienttesting.Action, err error) error {
	create, creates := action.(clienttesting.CreateActionImpl)
	answer, answers := errors.AsType[*apierrors.StatusError](err)
	if !creates || !answers || answer.ErrStatus.Details == nil {
		return err
	}
	meta, accessErr := apimeta.Accessor(create.Object)
	if accessErr != nil {
		return err
	}
	status := *answer.ErrStatus.DeepCopy()
	status.Message = strings.ReplaceAll(status.Message, anyName, meta.GetName())
	status.Details.Name = strings.ReplaceAll(status.Details.Name, anyName, meta.GetName())
	return &apierrors.StatusError{ErrStatus: status}
}

// note counts a request that changes something that lasts, and lists, and refuses it if it is
// to be.
func (c *fakeServer) note(verb, resource string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	counts := c.writes
	refusal := cmp.Or(c.refusals[verb+" "+resource], c.refusals["all all"])
	if refusal != nil {
		counts = c.refused
	}
	if lasts(verb, resource) {
		counts[verb+" "+resource]++
	}
	if verb == "list" {
		c.reads["list "+resource]++
	}
	return refusal
}

// noteWatch counts a watch.
func (c *fakeServer) noteWatch(resource string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reads["watch "+resource]++
}

// in returns the time after a while as the API has it, in seconds.
func in(while time.Duration) metav1.Time {
	return metav1.NewTime(time.Now().Add(while).Truncate(time.Second))
}

func (c *fakeServer) next(counter *int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	*counter++
	return *counter
}

// stamp gives a new object what an API server gives it.
func (c *fakeServer) stamp(obj runtime.Object) {
	meta, ok := obj.(metav1.Object)
	if !ok {
		return
	}
	// A pod, its Secret, its events, a budget for it and Services are created concurrently:
	// their order is random.
	prefix, counter := c.name, &c.uids
	switch obj.(type) {
	case *corev1.Secret:
		prefix, counter = c.name+"-secret", &c.secretUIDs
	case *corev1.Event:
		prefix, counter = c.name+"-event", &c.eventUIDs
	case *corev1.Service:
		prefix, counter = c.name+"-service", &c.serviceUIDs
	case *policyv1.PodDisruptionBudget:
		prefix, counter = c.name+"-budget", &c.budgetUIDs
	case *corev1.PersistentVolumeClaim:
		prefix, counter = c.name+"-claim", &c.claimUIDs
	case *corev1.PersistentVolume:
		prefix, counter = c.name+"-volume", &c.volumeUIDs
	}
	protect(obj)
	if pod, is := obj.(*corev1.Pod); is && pod.Status.Phase == "" {
		pod.Status.Phase = corev1.PodPending
	}
	meta.SetUID(types.UID(fmt.Sprintf("%s-%d", prefix, c.next(counter))))
	meta.SetCreationTimestamp(in(0))
	if prefix := meta.GetGenerateName(); meta.GetName() == "" && prefix != "" {
		meta.SetName(prefix + string(meta.GetUID()))
	}
}

// deleteGracefully deletes as an API server does: with a grace period it marks
// the pod, without one it removes the pod. Preconditions have been checked.
func (c *fakeServer) deleteGracefully(action clienttesting.DeleteActionImpl) error {
	pod, err := c.podNamed(action.Namespace, action.Name)
	if err != nil {
		return err
	}
	grace := ptr.Deref(action.DeleteOptions.GracePeriodSeconds, 30)
	if c.awaitsNode(pod) || isElsewhere(pod) {
		grace = 0 // nobody runs it here
	}
	if pod.DeletionGracePeriodSeconds == nil || *pod.DeletionGracePeriodSeconds > grace {
		pod.DeletionTimestamp = new(in(time.Duration(grace) * time.Second))
		pod.DeletionGracePeriodSeconds = &grace
		if err := c.storage.mark(pod); err != nil {
			return err
		}
	}
	if grace > 0 || len(pod.Finalizers) > 0 {
		return nil
	}
	if err := c.storage.Delete(resourceOf("pods"), pod.Namespace, pod.Name); !apierrors.IsNotFound(err) {
		return err
	}
	return nil // akd was faster
}

func (c *fakeServer) add(obj runtime.Object) error {
	meta, err := apimeta.Accessor(obj)
	if err != nil {
		return err
	}
	if c.isEnding(meta.GetNamespace()) {
		return fmt.Errorf("namespace %s is being terminated", meta.GetNamespace())
	}
	c.stamp(obj)
	c.mu.Lock()
	c.born[types.NamespacedName{Namespace: meta.GetNamespace(), Name: meta.GetName()}] = time.Now()
	c.mu.Unlock()
	return c.storage.Add(obj)
}

func (c *fakeServer) applyYAML(content string) error {
	obj, _, err := scheme.Codecs.UniversalDeserializer().Decode([]byte(content), nil, nil)
	if err != nil {
		return errors.Join(errUnknown, err)
	}
	err = c.add(obj)
	if !apierrors.IsAlreadyExists(err) {
		return err
	}
	resource := map[string]string{
		"*v1.Pod": "pods", "*v1.ConfigMap": "configmaps", "*v1.Secret": "secrets", "*v1.Namespace": "namespaces",
		"*v1.Service": "services", "*v1.Node": "nodes", "*v1.EndpointSlice": "endpointslices", "*v1.ClusterTrustBundle": "clustertrustbundles",
		"*v1.PodDisruptionBudget": "poddisruptionbudgets", "*v1.StorageClass": classes, "*v1.PersistentVolumeClaim": claims,
	}[fmt.Sprintf("%T", obj)]
	meta, err := apimeta.Accessor(obj)
	if err != nil {
		return err
	}
	return c.storage.Update(resourceOf(resource), obj, meta.GetNamespace())
}

// sign answers all requests for certificates as a signer does: without a
// reason, it issues a certificate to be refreshed after an hour; with a reason,
// it issues none.
func (c *fakeServer) sign(reason []string) error {
	requests := resourceOf("podcertificaterequests")
	list, err := c.storage.List(requests, requests.GroupVersion().WithKind("PodCertificateRequest"), metav1.NamespaceAll)
	if err != nil {
		return err
	}
	found, ok := list.(*certificatesv1.PodCertificateRequestList)
	if !ok {
		return fmt.Errorf("the tracker has a %T for certificate requests", list)
	}
	for _, item := range found.Items {
		request := item.DeepCopy()
		if len(request.Status.Conditions) > 0 {
			continue
		}
		request.Status.Conditions = []metav1.Condition{
			{Type: certificatesv1.PodCertificateRequestConditionTypeIssued, Status: metav1.ConditionTrue},
		}
		request.Status.CertificateChain = "-----BEGIN CERTIFICATE-----\n" +
			base64.StdEncoding.EncodeToString([]byte(request.Name)) + "\n-----END CERTIFICATE-----\n"
		request.Status.BeginRefreshAt = new(in(time.Hour))
		if len(reason) > 0 {
			request.Status = certificatesv1.PodCertificateRequestStatus{Conditions: []metav1.Condition{
				{Type: certificatesv1.PodCertificateRequestConditionTypeDenied, Status: metav1.ConditionTrue, Reason: reason[0], Message: "no"},
			}}
		}
		if err := c.storage.Update(requests, request, request.Namespace); err != nil {
			return err
		}
	}
	return nil
}

// deletePod deletes as a user does: gracefully, or with the given grace period.
func (c *fakeServer) deletePod(namespace, name string, words []string) error {
	action := clienttesting.DeleteActionImpl{Name: name}
	action.Namespace = namespace
	if len(words) > 0 {
		grace, err := strconv.ParseInt(words[0], 10, 64)
		if err != nil {
			return err
		}
		action.DeleteOptions.GracePeriodSeconds = &grace
	}
	return c.deleteGracefully(action)
}

func (c *fakeServer) edit(_ context.Context, namespace, name string, change func(*corev1.Pod)) error {
	pods := corev1.SchemeGroupVersion.WithResource("pods")
	pod, err := c.podNamed(namespace, name)
	if err != nil {
		return err
	}
	change(pod)
	return c.storage.Update(pods, pod, namespace)
}

func (c *fakeServer) refuse(verb, resource, message string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if verb == "all" {
		c.refusals["all all"] = apierrors.NewInternalError(errors.New(message))
		return
	}
	c.refusals[verb+" "+resource] = apierrors.NewForbidden(schema.GroupResource{Resource: resource}, "", errors.New(message))
}

// fail makes the server answer requests with an error that is no refusal, by its code.
func (c *fakeServer) fail(verb, resource, code string) error {
	answer := map[string]error{
		"401": apierrors.NewUnauthorized("the token has expired"),
		"429": apierrors.NewTooManyRequests("later", 1),
		"500": apierrors.NewInternalError(errors.New("no")),
		"503": apierrors.NewServiceUnavailable("no"),
		"504": apierrors.NewTimeoutError("no", 1),
	}[code]
	if answer == nil {
		return fmt.Errorf("%w: code %s", errUnknown, code)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refusals[verb+" "+resource] = answer
	return nil
}

// graphLag is for how long the Node authorizer does not know a new pod.
const graphLag = 300 * time.Millisecond

// authorizeLate makes the Node authorizer lag: for a while after it is bound, a pod gives
// akd no rights to what it refers to.
func (c *fakeServer) authorizeLate(late bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.late = late
}

// authorizesLater reports whether akd has no right yet to something that a pod needs.
func (c *fakeServer) authorizesLater(action clienttesting.Action) bool {
	if !slices.Contains([]string{"serviceaccounts", "configmaps", "secrets"}, action.GetResource().Resource) {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.late {
		return false
	}
	for pod, born := range c.born {
		if pod.Namespace == action.GetNamespace() && time.Since(born) < graphLag {
			return true
		}
	}
	return false
}

// reject makes the server answer 422 Invalid to new pods: as its own validation does,
// with a message about a field, or as a policy or a webhook does.
func (c *fakeServer) reject(who, message string) {
	answer := apierrors.NewInvalid(schema.GroupKind{Kind: "Pod"}, anyName,
		field.ErrorList{field.Invalid(field.NewPath("spec", "containers").Index(0).Child("image"), "busybox", message)})
	switch who {
	case "policy":
		answer.ErrStatus.Details.Kind = "pods"
		answer.ErrStatus.Details.Causes = []metav1.StatusCause{{Message: message}}
		answer.ErrStatus.Message = "pods \"" + anyName + "\" is forbidden: " +
			"ValidatingAdmissionPolicy 'p' with binding 'b' denied request: " + message
	case "webhook":
		answer.ErrStatus.Message = "admission webhook \"w.example.com\" denied the request: " + message
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refusals["create pods"] = answer
}

// confine makes akd a tenant: it may not list namespaces, and has no rights in
// a namespace before it has bound its role.
func (c *fakeServer) confine() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tenant = true
}

func (c *fakeServer) isTenant() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tenant
}

func (c *fakeServer) isConfined(action clienttesting.Action) bool {
	tenant := c.isTenant()
	namespace, resource := action.GetNamespace(), action.GetResource()
	if tenant && resource.Resource == "namespaces" && action.GetVerb() == "list" {
		return true
	}
	if !tenant || namespace == "" || namespace == contract.SystemNamespace || resource.Resource == "rolebindings" {
		return false
	}
	_, err := c.storage.Get(resourceOf("rolebindings"), namespace, contract.TenantRole)
	return err != nil
}

func (c *fakeServer) accept() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.refusals)
}

// podNamed returns a copy of a pod.
func (c *fakeServer) podNamed(namespace, name string) (*corev1.Pod, error) {
	obj, err := c.storage.Get(corev1.SchemeGroupVersion.WithResource("pods"), namespace, name)
	if err != nil {
		return nil, err
	}
	pod, ok := obj.(*corev1.Pod)
	if !ok {
		return nil, fmt.Errorf("the tracker has a %T for pod %s/%s", obj, namespace, name)
	}
	return pod.DeepCopy(), nil
}

// pods returns all pods, which are read-only.
func (c *fakeServer) pods() []corev1.Pod {
	pods := resourceOf("pods")
	list, err := c.storage.List(pods, pods.GroupVersion().WithKind("Pod"), metav1.NamespaceAll)
	found, is := list.(*corev1.PodList)
	if err != nil || !is {
		panic(fmt.Sprintf("the tracker has %T for pods: %v", list, err))
	}
	return found.Items
}
