//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/test/e2e/audit"
	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

// Two akds serve one node with the rights that are installed, and no other.
// The one at work is killed in the middle of a scale-up: the other one takes
// over, and every pod runs, and runs once. The next handover is a clean one.
func TestTwoReplicas(t *testing.T) {
	e := shared
	in := e.InstallNode(t, manifests.Values{Node: "replicated"}, time.Hour)
	first := e.StartAKD(t, in.Name, in.Args()...)
	second := e.LaunchAKD(t, in.Name, in.Args("--kubelet-api-port", "10251", "--metrics-address", "127.0.0.1:"+env.SecondMetrics)...)
	env.Eventually(t, "the second akd waits", func(ctx context.Context) error {
		_, err := e.MetricsPage(ctx, env.SecondMetrics, "/readyz")
		return err
	})
	namespace := e.Namespace(t, "replicas")
	e.Apply(t, namespace, env.Web(in.Name, 0))
	e.Kubectl(t, "local", "scale", "deployment/web", "-n", namespace, "--replicas=20")
	remote := contract.RemoteNamespace(in.Name, namespace)
	made := remotePodsMade(t, e, remote)
	env.Eventually(t, "some remote pods exist", func(ctx context.Context) error {
		created, err := e.Remote.CoreV1().Pods(remote).List(ctx, metav1.ListOptions{})
		if err == nil && len(created.Items) == 0 {
			err = errors.New("none yet")
		}
		return err
	})
	killed := time.Now()
	first.Stop(t, syscall.SIGKILL)
	e.WaitLeader(t, env.SecondMetrics)
	t.Logf("the second akd led %s after the first was killed", time.Since(killed).Round(time.Second))
	takesOverSoon(t, e, in.Name)
	e.WaitRolloutWithin(t, 5*time.Minute, namespace, "deployment/web")
	once(t, e, namespace, remote)

	first.Start(t)
	e.WaitSynced(t, env.FirstMetrics) // it waits
	before := uids(t, e, namespace)
	second.Stop(t, syscall.SIGTERM)
	e.WaitLeader(t, env.FirstMetrics)
	e.Kubectl(t, "local", "scale", "deployment/web", "-n", namespace, "--replicas=22")
	e.WaitRolloutWithin(t, 5*time.Minute, namespace, "deployment/web")
	once(t, e, namespace, remote)
	for pod := range strings.FieldsSeq(before) {
		if !strings.Contains(uids(t, e, namespace), pod) {
			t.Errorf("pod %s did not live through the handover", pod)
		}
	}
	for local, remotes := range made() {
		if len(remotes) > 1 {
			t.Errorf("local pod %s had remote pods %v: want one, ever", local, remotes)
		}
	}
}

// takesOverSoon checks what the time of a takeover follows from, which is less
// than 20 s: how long the lease holds after its leader's last sign of life, and
// how often the others look, up to 2.2 times client-go's retry period.
func takesOverSoon(t *testing.T, e *env.Env, node string) {
	t.Helper()
	lease, err := e.Local.CoordinationV1().Leases(contract.SystemNamespace).Get(t.Context(), node, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	const look = 5
	if seconds := *lease.Spec.LeaseDurationSeconds; seconds+look >= 20 {
		t.Errorf("a lease of %d s, looked at every %d s: want a takeover in under 20 s", seconds, look)
	}
}

// remotePodsMade follows a remote namespace from now on. What it returns tells
// the UIDs of all remote pods that were ever there, by local UID.
func remotePodsMade(t *testing.T, e *env.Env, namespace string) func() map[string][]string {
	t.Helper()
	var mu sync.Mutex
	made := map[string][]string{}
	note := func(object any) {
		pod := object.(*corev1.Pod)
		mu.Lock()
		defer mu.Unlock()
		local := pod.Labels[contract.LabelUID]
		if !slices.Contains(made[local], string(pod.UID)) {
			made[local] = append(made[local], string(pod.UID))
		}
	}
	factory := informers.NewSharedInformerFactoryWithOptions(e.Remote, 0, informers.WithNamespace(namespace))
	if _, err := factory.Core().V1().Pods().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: note, UpdateFunc: func(_, next any) { note(next) },
	}); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	t.Cleanup(func() { stop(); factory.Shutdown() })
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	return func() map[string][]string {
		mu.Lock()
		defer mu.Unlock()
		return maps.Clone(made)
	}
}

// The remote token lives for ten minutes, and pods come and go for longer: no
// reconcile fails for want of a right, no pod restarts, and a session that was
// open all the time still is.
func TestShortLivedCredential(t *testing.T) {
	env.SkipUnlessSlow(t)
	e := shared
	in := e.InstallNode(t, manifests.Values{Node: "short-lived"}, 10*time.Minute)
	d := e.StartAKD(t, in.Name, in.Args()...)
	namespace := e.Namespace(t, "short-lived")
	e.Apply(t, namespace, env.Web(in.Name, 3))
	e.WaitRollout(t, namespace, "deployment/web")
	still := e.Namespace(t, "long-lived") // a scale-down may take any pod of the other one
	e.Apply(t, still, env.Web(in.Name, 1))
	e.WaitRollout(t, still, "deployment/web")
	session := e.OpenSession(t, still, "deployment/web")
	const most = 30 * time.Minute
	for end := time.Now().Add(most); time.Now().Before(end); {
		for _, replicas := range []string{"6", "3"} {
			e.Kubectl(t, "local", "scale", "deployment/web", "-n", namespace, "--replicas="+replicas)
			e.WaitRollout(t, namespace, "deployment/web")
		}
		select {
		case <-t.Context().Done():
			return
		case <-time.After(15 * time.Second):
		}
	}
	session.MustAnswer(t)
	log, err := os.ReadFile(d.Log)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"Unauthorized", "not renewed"} {
		if bytes.Contains(log, []byte(bad)) {
			t.Errorf("akd's log says %q", bad)
		}
	}
	for metric, want := range map[string]string{`akd_reconcile_total{result="error"}`: "0", "akd_credential_renewal_failing": "0", `akd_token_renewals_total{result="error"}`: "0"} {
		if got := e.Metric(t, metric); got != want {
			t.Errorf("%s is %q, want %s", metric, got, want)
		}
	}
	if renewed := bytes.Count(log, []byte("a changed credential is used")); renewed < 3 {
		t.Errorf("the credential was renewed %d times in %s, want 3 or more", renewed, most)
	}
	for _, pod := range append(e.Pods(t, namespace), e.Pods(t, still)...) {
		for i := range pod.Status.ContainerStatuses {
			if restarts := pod.Status.ContainerStatuses[i].RestartCount; restarts > 0 {
				t.Errorf("pod %s restarted %d times", pod.Name, restarts)
			}
		}
	}
}

// akd's own local credential may do what the lists say, and nothing else.
func TestAuditLocal(t *testing.T) {
	const lists = "testdata/rights/"
	cases := map[string]struct {
		values manifests.Values
		lists  []string
	}{
		"as installed":            {manifests.Values{Node: "audited-here"}, []string{lists + "local.txt", lists + "local-here.txt"}},
		"akd runs in the remote":  {manifests.Values{Node: "audited-away", RunIn: manifests.RunInRemote}, []string{lists + "local.txt", lists + "local-away.txt"}},
		"with copies of Services": {shared.MirroringValues("audited-services"), []string{lists + "local.txt", lists + "local-here.txt", lists + "local-services.txt"}},
	}
	e := shared
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			in := e.InstallNode(t, tc.values, time.Hour)
			namespace := e.Namespace(t, "audited")
			audit.Run(t, audit.Credential{
				Config: in.Config,
				Admin:  e.Local,
				Listed: audit.Read(t, in.Name, tc.lists...),
				Places: map[string][]string{contract.SystemNamespace: {"system"}, metav1.NamespaceSystem: {"kube-system"}, namespace: nil},
			})
		})
	}
}

// Whoever has stolen akd's local credential has what a kubelet has: the pods of
// this node and what they refer to.
func TestLocalAttacker(t *testing.T) {
	e := shared
	in := e.InstallNode(t, manifests.Values{Node: "stolen"}, time.Hour)
	namespace := e.Namespace(t, "attacked")
	e.Apply(t, namespace, "{apiVersion: v1, kind: Secret, metadata: {name: unreferenced}}")
	e.Apply(t, namespace, env.LocalServer)
	e.WaitReady(t, namespace, "real")
	own := kubernetes.NewForConfigOrDie(in.Config)
	as := func(user string, groups ...string) *kubernetes.Clientset {
		config := rest.CopyConfig(in.Config)
		config.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: groups}
		return kubernetes.NewForConfigOrDie(config)
	}
	node := as("system:node:"+in.Name, "system:nodes")
	token := func(client *kubernetes.Clientset) error {
		_, err := client.CoreV1().ServiceAccounts(namespace).CreateToken(t.Context(), "default", &authenticationv1.TokenRequest{
			Spec: authenticationv1.TokenRequestSpec{BoundObjectRef: &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: "real"}},
		}, metav1.CreateOptions{})
		return err
	}
	for name, attack := range map[string]struct {
		try  func() error
		want string
	}{
		"a Secret that no pod of the node refers to": {func() error {
			_, err := node.CoreV1().Secrets(namespace).Get(t.Context(), "unreferenced", metav1.GetOptions{})
			return err
		}, "no relationship found between node 'stolen' and this object"},
		"all Secrets": {func() error {
			_, err := node.CoreV1().Secrets(namespace).List(t.Context(), metav1.ListOptions{})
			return err
		}, "No Object name found"},
		"pods of another node": {func() error {
			_, err := node.CoreV1().Pods("").List(t.Context(), metav1.ListOptions{FieldSelector: "spec.nodeName=local-1"})
			return err
		}, "can only list/watch pods with spec.nodeName field selector"},
		"deleting a pod of another node": {func() error {
			return node.CoreV1().Pods(namespace).Delete(t.Context(), "real", metav1.DeleteOptions{})
		}, "can only delete pods with spec.nodeName set to itself"},
		"a token for a pod that is elsewhere": {func() error { return token(node) }, "no relationship found between node 'stolen' and this object"},
		"another node": {func() error {
			_, err := as("system:node:local-1", "system:nodes").CoreV1().Nodes().Get(t.Context(), "local-1", metav1.GetOptions{})
			return err
		}, `cannot impersonate resource "users"`},
		"an administrator": {func() error {
			_, err := as("system:node:"+in.Name, "system:masters").CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
			return err
		}, `cannot impersonate resource "groups"`},
		"the Secret of another akd": {func() error {
			_, err := own.CoreV1().Secrets(contract.SystemNamespace).Get(t.Context(), "other", metav1.GetOptions{})
			return err
		}, `cannot get resource "secrets"`},
		"a token of its own": {func() error {
			_, err := own.CoreV1().ServiceAccounts(contract.SystemNamespace).CreateToken(t.Context(), in.Name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
			return err
		}, `cannot create resource "serviceaccounts/token"`},
		"approving its certificate": {func() error {
			patch, err := json.Marshal(map[string]any{"status": map[string]any{}})
			if err != nil {
				return err
			}
			_, err = node.CertificatesV1().CertificateSigningRequests().Patch(t.Context(), "any", "application/merge-patch+json", patch, metav1.PatchOptions{}, "approval")
			return err
		}, `cannot patch resource "certificatesigningrequests/approval"`},
	} {
		t.Run(name, func(t *testing.T) {
			err := attack.try()
			if !apierrors.IsForbidden(err) || !strings.Contains(fmt.Sprint(err), attack.want) {
				t.Errorf("got %v, want it forbidden: %s", err, attack.want)
			}
		})
	}
}
