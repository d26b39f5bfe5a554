package provider

import (
	"context"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/kubernetes/scheme"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/cluster"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

var update = flag.Bool("update", false, "write what the scenarios gave into their files; then read the difference")

const scenarioNode = "ak"

// TestScenarios plays the scripts of testdata/scenarios against the real loops
// and two fake API servers, in fake time: a script reads like the lifecycle
// table, and its want section is what both clusters then hold.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/scenarios/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var got string
			synctest.Test(t, func(t *testing.T) { got = play(t, archive) })
			if *update {
				setFile(archive, "want", got)
				if err := os.WriteFile(file, txtar.Format(archive), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(section(archive, "want"), got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func section(archive *txtar.Archive, name string) string {
	for _, file := range archive.Files {
		if file.Name == name {
			return string(file.Data)
		}
	}
	return ""
}

func setFile(archive *txtar.Archive, name, content string) {
	for i := range archive.Files {
		if archive.Files[i].Name == name {
			archive.Files[i].Data = []byte(content)
			return
		}
	}
	archive.Files = append(archive.Files, txtar.File{Name: name, Data: []byte(content)})
}

// scenario is where a scenario plays.
type scenario struct {
	t       *testing.T
	archive *txtar.Archive
	local   *fakeServer
	remote  *fakeServer
	mirror  bool // akd mirrors Services
	out     strings.Builder
	stop    func()
}

func play(t *testing.T, archive *txtar.Archive) string {
	t.Helper()
	s := &scenario{t: t, archive: archive, local: newFakeServer("local"), remote: newFakeServer("remote")}
	s.start()
	for number, line := range strings.Split(string(archive.Comment), "\n") {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if err := s.do(words); err != nil {
			t.Errorf("line %d: %s: %v", number+1, strings.Join(words, " "), err)
		}
	}
	s.stop()
	return s.out.String()
}

// start runs akd's loops as a fresh process would.
func (s *scenario) start() {
	ctx, cancel := context.WithCancel(s.t.Context())
	local := cluster.NewLocal(s.local.client, s.local.client, scenarioNode)
	c := New(local, cluster.NewRemote(s.remote.client, scenarioNode), Config{
		Mapper:         scenarioMapper(),
		MirrorServices: s.mirror,
		Workers:        1, // so that UIDs come in the order of the script
		UnusedTTL:      5 * time.Minute,
		MaxOrphanShare: MaxOrphanShare,
		Clock:          clock.RealClock{},
		Observe:        func(string, time.Duration) {},
		CountToken:     func(error) {},
	}, slog.New(slog.DiscardHandler))
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx, func() {}) }()
	s.stop = func() {
		cancel()
		if err := <-done; err != nil {
			s.t.Errorf("the loops ended: %v", err)
		}
	}
	settle()
}

func scenarioMapper() *translate.Mapper {
	return &translate.Mapper{Owner: contract.Owner{Node: scenarioNode, ClusterUID: "local-cluster"}, ClusterDomain: "cluster.local", PodSecurity: "baseline",
		APIServer: translate.APIServer{Host: "192.0.2.1", Port: 6443},
	}
}

// settle lets everything happen that happens within two seconds.
func settle() {
	time.Sleep(2 * time.Second) // in fake time
	synctest.Wait()
}

func (s *scenario) do(words []string) error {
	switch words[0] {
	case "settle":
		settle()
		return nil
	case "wait":
		period, err := time.ParseDuration(words[1])
		time.Sleep(period) // in fake time
		synctest.Wait()
		return err
	case "restart":
		s.stop()
		s.start()
		return nil
	case "stop":
		s.stop()
		s.stop = func() {}
		return nil
	case "start":
		s.start()
		return nil
	case "mirror": // from the next start on
		s.mirror = true
		return nil
	case "show":
		s.show()
		return nil
	case "writes":
		s.local.report(&s.out)
		s.remote.report(&s.out)
		return nil
	case "local":
		return s.act(s.local, "default", words[1:])
	case "remote":
		return s.act(s.remote, contract.RemoteNamespace(scenarioNode, "default"), words[1:])
	}
	return fmt.Errorf("unknown command %q", words[0])
}

// act plays somebody else than akd: a user, a kubelet, an administrator.
func (s *scenario) act(c *fakeServer, namespace string, words []string) error {
	ctx := s.t.Context()
	name := ""
	if len(words) > 1 {
		name = words[1]
	}
	switch words[0] {
	case "create":
		return c.add(s.pod(namespace, name))
	case "apply":
		return c.applyYAML(section(s.archive, name))
	case "delete":
		return c.deletePod(namespace, name, words[2:])
	case "remove":
		return c.client.Tracker().Delete(resourceOf(name), namespace, words[2])
	case "image":
		return c.edit(ctx, namespace, name, func(pod *corev1.Pod) { pod.Spec.Containers[0].Image = words[2] })
	case "status":
		return c.edit(ctx, namespace, name, func(pod *corev1.Pod) { setPhase(pod, words[2]) })
	case "in":
		return s.act(c, strings.Trim(words[1], "-"), words[2:]) // - for no namespace
	case "sign":
		return c.sign(words[1:])
	case "confine":
		c.confine()
		return nil
	case "refuse":
		c.refuse(words[1], words[2], strings.Join(words[3:], " "))
		return nil
	case "accept":
		c.accept()
		return nil
	}
	return fmt.Errorf("unknown act %q", words[0])
}

func (s *scenario) pod(namespace, name string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Generation: 1},
		Spec: corev1.PodSpec{
			NodeName:   scenarioNode,
			Containers: []corev1.Container{{Name: "main", Image: "busybox"}},
		},
		Status: corev1.PodStatus{Phase: corev1.PodPending},
	}
}

// setPhase gives a pod the status that a kubelet would report.
func setPhase(pod *corev1.Pod, phase string) {
	now := metav1.Now()
	pod.Status.StartTime = &now
	pod.Status.Phase = corev1.PodPhase(phase)
	pod.Status.PodIP = "10.0.0.1"
	ready := corev1.ConditionFalse
	var state corev1.ContainerState
	switch pod.Status.Phase {
	case corev1.PodRunning:
		ready, state.Running = corev1.ConditionTrue, &corev1.ContainerStateRunning{StartedAt: now}
	case corev1.PodSucceeded:
		state.Terminated = &corev1.ContainerStateTerminated{Reason: "Completed"}
	case corev1.PodFailed:
		state.Terminated = &corev1.ContainerStateTerminated{Reason: "Error", ExitCode: 1}
	default:
		state.Waiting = &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}
	}
	pod.Status.Conditions = []corev1.PodCondition{
		{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: now},
		{Type: corev1.ContainersReady, Status: ready, LastTransitionTime: now},
		{Type: corev1.PodReady, Status: ready, LastTransitionTime: now},
	}
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "main", State: state, Ready: ready == corev1.ConditionTrue, Image: "busybox"}}
}

// show prints what both clusters hold, in a form that diffs well.
func (s *scenario) show() {
	for _, c := range []*fakeServer{s.local, s.remote} {
		for _, line := range c.lines() {
			_, _ = fmt.Fprintf(&s.out, "%s\n", line)
		}
	}
	s.out.WriteString("\n")
}

// fakeServer is a fake API server with the few habits of a real one that the
// lifecycle depends on: it gives UIDs and resource versions, deletes pods
// gracefully, and can be told to refuse.
type fakeServer struct {
	name   string
	client *fake.Clientset

	mu         sync.Mutex
	uids       int
	secretUIDs int
	versions   int
	tenant     bool             // see confine
	refusals   map[string]error // "verb resource" → error
	writes     map[string]int
}

func newFakeServer(name string) *fakeServer {
	c := &fakeServer{name: name, client: fake.NewClientset(), refusals: map[string]error{}, writes: map[string]int{}}
	c.client.PrependReactor("*", "*", c.react)
	return c
}

// react counts, refuses, and does what the fake's tracker does not.
func (c *fakeServer) react(action clienttesting.Action) (bool, runtime.Object, error) {
	resource := action.GetResource().Resource
	if sub := action.GetSubresource(); sub != "" {
		resource += "/" + sub
	}
	if err := c.note(action.GetVerb(), resource); err != nil {
		return true, nil, err
	}
	if c.isConfined(action) {
		return true, nil, apierrors.NewForbidden(action.GetResource().GroupResource(), "", errors.New("no role is bound there"))
	}
	switch action := action.(type) {
	case clienttesting.CreateActionImpl:
		if resource == "serviceaccounts/token" {
			return true, &authenticationv1.TokenRequest{Status: authenticationv1.TokenRequestStatus{
				Token: fmt.Sprintf("token-%d", c.next(&c.versions)), ExpirationTimestamp: metav1.NewTime(time.Now().Add(time.Hour)),
			}}, nil
		}
		switch review := action.Object.(type) {
		case *authenticationv1.SelfSubjectReview:
			review.Status.UserInfo.Username = "system:serviceaccount:actual-system:" + scenarioNode
			return true, review, nil
		case *authorizationv1.SelfSubjectAccessReview:
			return true, review, nil // not allowed
		}
		c.stamp(action.Object, true)
	case clienttesting.UpdateActionImpl:
		c.stamp(action.Object, false)
	case clienttesting.PatchActionImpl:
		return c.patch(action)
	case clienttesting.DeleteActionImpl:
		if resource == "pods" {
			return true, nil, c.deleteGracefully(action)
		}
	}
	return false, nil, nil
}

// patch applies the patch as the fake would, and gives the result a version.
func (c *fakeServer) patch(action clienttesting.PatchActionImpl) (bool, runtime.Object, error) {
	_, patched, err := clienttesting.ObjectReaction(c.client.Tracker())(action)
	if err != nil {
		return true, nil, err
	}
	patched = patched.DeepCopyObject()
	c.stamp(patched, false)
	return true, patched, c.client.Tracker().Update(action.GetResource(), patched, action.GetNamespace())
}

func (c *fakeServer) note(verb, resource string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.refusals[verb+" "+resource]; err != nil {
		return err
	}
	if err := c.refusals["all all"]; err != nil {
		return err
	}
	if slices.Contains([]string{"create", "update", "patch", "delete"}, verb) && resource != "events" && !strings.HasPrefix(resource, "selfsubject") {
		c.writes[verb+" "+resource]++
	}
	return nil
}

func (c *fakeServer) next(counter *int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	*counter++
	return *counter
}

func (c *fakeServer) stamp(obj runtime.Object, created bool) {
	meta, ok := obj.(metav1.Object)
	if !ok {
		return
	}
	if created {
		// A pod and its Secret are created at the same time: who is first is chance.
		prefix, counter := c.name, &c.uids
		if _, ok := obj.(*corev1.Secret); ok {
			prefix, counter = c.name+"-secret", &c.secretUIDs
		}
		meta.SetUID(types.UID(fmt.Sprintf("%s-%d", prefix, c.next(counter))))
		meta.SetCreationTimestamp(metav1.Now())
		if prefix := meta.GetGenerateName(); meta.GetName() == "" && prefix != "" {
			meta.SetName(prefix + string(meta.GetUID()))
		}
	}
	meta.SetResourceVersion(strconv.Itoa(c.next(&c.versions)))
}

// deleteGracefully does as an API server: a grace period marks the pod, none
// removes it, and a UID precondition must hold.
func (c *fakeServer) deleteGracefully(action clienttesting.DeleteActionImpl) error {
	pods := corev1.SchemeGroupVersion.WithResource("pods")
	obj, err := c.client.Tracker().Get(pods, action.Namespace, action.Name)
	if err != nil {
		return err
	}
	pod := obj.(*corev1.Pod).DeepCopy()
	if p := action.DeleteOptions.Preconditions; p != nil && p.UID != nil && *p.UID != pod.UID {
		return apierrors.NewConflict(schema.GroupResource{Resource: "pods"}, pod.Name, errors.New("the UID does not match"))
	}
	grace := ptr.Deref(action.DeleteOptions.GracePeriodSeconds, 30)
	if grace == 0 {
		return c.client.Tracker().Delete(pods, pod.Namespace, pod.Name)
	}
	if pod.DeletionGracePeriodSeconds != nil && *pod.DeletionGracePeriodSeconds <= grace {
		return nil
	}
	pod.DeletionTimestamp = new(metav1.NewTime(time.Now().Add(time.Duration(grace) * time.Second)))
	pod.DeletionGracePeriodSeconds = &grace
	c.stamp(pod, false)
	return c.client.Tracker().Update(pods, pod, pod.Namespace)
}

func (c *fakeServer) add(obj runtime.Object) error {
	c.stamp(obj, true)
	return c.client.Tracker().Add(obj)
}

func (c *fakeServer) applyYAML(content string) error {
	obj, _, err := scheme.Codecs.UniversalDeserializer().Decode([]byte(content), nil, nil)
	if err != nil {
		return err
	}
	err = c.add(obj)
	if !apierrors.IsAlreadyExists(err) {
		return err
	}
	resource := map[string]string{
		"*v1.Pod": "pods", "*v1.ConfigMap": "configmaps", "*v1.Secret": "secrets", "*v1.Namespace": "namespaces",
		"*v1.Service": "services", "*v1.EndpointSlice": "endpointslices", "*v1.ClusterTrustBundle": "clustertrustbundles",
	}[fmt.Sprintf("%T", obj)]
	return c.client.Tracker().Update(resourceOf(resource), obj, obj.(metav1.Object).GetNamespace())
}

// sign answers all requests for certificates as a signer does: with one that is
// to be refreshed after an hour, or, with a reason, not at all.
func (c *fakeServer) sign(reason []string) error {
	requests := resourceOf("podcertificaterequests")
	list, err := c.client.Tracker().List(requests, requests.GroupVersion().WithKind("PodCertificateRequest"), metav1.NamespaceAll)
	if err != nil {
		return err
	}
	for _, item := range list.(*certificatesv1.PodCertificateRequestList).Items {
		request := item.DeepCopy()
		if len(request.Status.Conditions) > 0 {
			continue
		}
		request.Status.Conditions = []metav1.Condition{{Type: certificatesv1.PodCertificateRequestConditionTypeIssued, Status: metav1.ConditionTrue}}
		request.Status.CertificateChain = "-----BEGIN CERTIFICATE-----\n" + base64.StdEncoding.EncodeToString([]byte(request.Name)) + "\n-----END CERTIFICATE-----\n"
		request.Status.BeginRefreshAt = new(metav1.NewTime(time.Now().Add(time.Hour)))
		if len(reason) > 0 {
			request.Status = certificatesv1.PodCertificateRequestStatus{Conditions: []metav1.Condition{
				{Type: certificatesv1.PodCertificateRequestConditionTypeDenied, Status: metav1.ConditionTrue, Reason: reason[0], Message: "no"},
			}}
		}
		c.stamp(request, false)
		if err := c.client.Tracker().Update(requests, request, request.Namespace); err != nil {
			return err
		}
	}
	return nil
}

// DeletePod deletes as a user does: gracefully, or with the given grace period.
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
	obj, err := c.client.Tracker().Get(pods, namespace, name)
	if err != nil {
		return err
	}
	pod := obj.(*corev1.Pod).DeepCopy()
	change(pod)
	c.stamp(pod, false)
	return c.client.Tracker().Update(pods, pod, namespace)
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

// confine makes akd a tenant: it may not list namespaces, and in a namespace do
// nothing before it has bound its role.
func (c *fakeServer) confine() {
	c.refuse("list", "namespaces", "a tenant")
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tenant = true
}

func (c *fakeServer) isConfined(action clienttesting.Action) bool {
	c.mu.Lock()
	tenant := c.tenant
	c.mu.Unlock()
	namespace, resource := action.GetNamespace(), action.GetResource()
	if !tenant || namespace == "" || namespace == contract.SystemNamespace || resource.Resource == "rolebindings" {
		return false
	}
	_, err := c.client.Tracker().Get(resourceOf("rolebindings"), namespace, contract.TenantRole)
	return err != nil
}

func (c *fakeServer) accept() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.refusals)
}

// report prints the writes since the last report.
func (c *fakeServer) report(out io.Writer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, write := range slices.Sorted(maps.Keys(c.writes)) {
		_, _ = fmt.Fprintf(out, "%s %s: %d\n", c.name, write, c.writes[write])
	}
	clear(c.writes)
}

// lines describes all objects.
func (c *fakeServer) lines() []string {
	var lines []string
	for _, kind := range []string{"namespaces", "rolebindings", "pods", "configmaps", "secrets", "services", "endpointslices"} {
		gvr := resourceOf(kind)
		list, err := c.client.Tracker().List(gvr, gvr.GroupVersion().WithKind(kindOf(kind)), metav1.NamespaceAll)
		if err != nil {
			lines = append(lines, err.Error())
			continue
		}
		var found []string
		switch list := list.(type) {
		case *corev1.NamespaceList:
			for _, item := range list.Items {
				found = append(found, fmt.Sprintf("%s namespace %s", c.name, item.Name))
			}
		case *rbacv1.RoleBindingList:
			for _, item := range list.Items {
				found = append(found, fmt.Sprintf("%s rolebinding %s/%s %s to %s/%s", c.name, item.Namespace, item.Name,
					item.RoleRef.Name, item.Subjects[0].Namespace, item.Subjects[0].Name))
			}
		case *corev1.PodList:
			for _, item := range list.Items {
				found = append(found, c.name+" "+describePod(&item))
			}
		case *corev1.ConfigMapList:
			for _, item := range list.Items {
				found = append(found, fmt.Sprintf("%s configmap %s/%s %v", c.name, item.Namespace, item.Name, item.Data))
			}
		case *corev1.SecretList:
			for _, item := range list.Items {
				found = append(found, fmt.Sprintf("%s secret %s/%s type=%s %s", c.name, item.Namespace, item.Name, item.Type, describeData(item.Data)))
			}
		case *corev1.ServiceList:
			for _, item := range list.Items {
				found = append(found, fmt.Sprintf("%s service %s/%s %s", c.name, item.Namespace, item.Name, item.Spec.ClusterIP))
			}
		case *discoveryv1.EndpointSliceList:
			for _, item := range list.Items {
				line := fmt.Sprintf("%s endpointslice %s/%s of %s:", c.name, item.Namespace, item.Name, translate.ServiceOf(&item))
				for _, endpoint := range item.Endpoints {
					line += fmt.Sprintf(" %s ready=%t", endpoint.Addresses[0], ptr.Deref(endpoint.Conditions.Ready, false))
				}
				found = append(found, line)
			}
		}
		slices.Sort(found)
		lines = append(lines, found...)
	}
	return lines
}

func describeData(data map[string][]byte) string {
	var values []string
	for _, name := range slices.Sorted(maps.Keys(data)) {
		value, private := string(data[name]), ""
		if key, rest, found := strings.Cut(value, "-----END PRIVATE KEY-----\n"); found {
			value, private = rest, strings.SplitAfter(key, "\n")[0] // the key itself is another one each time
		}
		values = append(values, name+"="+private+value)
	}
	return strings.Join(values, ",")
}

func resourceOf(name string) schema.GroupVersionResource {
	switch name {
	case "rolebindings":
		return rbacv1.SchemeGroupVersion.WithResource(name)
	case "clustertrustbundles", "podcertificaterequests":
		return certificatesv1.SchemeGroupVersion.WithResource(name)
	case "endpointslices":
		return discoveryv1.SchemeGroupVersion.WithResource(name)
	}
	return corev1.SchemeGroupVersion.WithResource(name)
}

func kindOf(resource string) string {
	return map[string]string{"namespaces": "Namespace", "rolebindings": "RoleBinding", "pods": "Pod", "configmaps": "ConfigMap", "secrets": "Secret",
		"services": "Service", "endpointslices": "EndpointSlice"}[resource]
}

func describePod(pod *corev1.Pod) string {
	line := fmt.Sprintf("pod %s/%s uid=%s %s", pod.Namespace, pod.Name, pod.UID, pod.Status.Phase)
	if image := pod.Spec.Containers[0].Image; image != "busybox" {
		line += " image=" + image
	}
	if pod.DeletionTimestamp != nil {
		line += fmt.Sprintf(" terminating=%ds", *pod.DeletionGracePeriodSeconds)
	}
	if pod.Status.Reason != "" {
		line += " reason=" + pod.Status.Reason
	}
	for _, condition := range pod.Status.Conditions {
		line += fmt.Sprintf(" %s=%s", condition.Type, condition.Status)
		if condition.Reason != "" {
			line += "(" + condition.Reason + ")"
		}
	}
	return line
}
