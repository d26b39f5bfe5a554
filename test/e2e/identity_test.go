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
	"path/filepath"
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
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

// installed is a node as it is installed: an identity in each cluster, and the
// credential for the remote one in a Secret of the local one.
type installed struct {
	*bed
	node       string
	kubeconfig string       // of the local identity, for akd
	config     *rest.Config // of the local identity, for the test
}

// installNode installs a node's rights on both sides. Its remote credential
// lives for that long.
func (b *bed) installNode(t *testing.T, values manifests.Values, life time.Duration) *installed {
	t.Helper()
	node := values.Node
	tn := b.tenant(t, values)
	b.applyLocal(t, values)
	t.Cleanup(func() {
		selector := translate.LabelNodeName + "=" + node
		for _, args := range [][]string{
			{"delete", "clusterrolebindings,clusterroles", "-l", selector},
			{"delete", "rolebindings", "-n", "kube-system", "-l", selector},
			{"delete", "serviceaccounts,roles,rolebindings,leases,secrets", "-n", translate.SystemNamespace, "-l", selector},
		} {
			if out, stderr, err := b.tryKubectl("local", nil, append(args, "--timeout=3m")...); err != nil {
				t.Errorf("kubectl %v: %v\n%s%s", args, err, out, stderr)
			}
		}
	})
	b.storeCredential(t, tn, life)
	in := &installed{bed: b, node: node, kubeconfig: filepath.Join(t.TempDir(), "local.kubeconfig")}
	token := tokenOf(t, b.local, node, time.Hour)
	config := loadKubeconfig(t, filepath.Join(b.dir, "akd-local.kubeconfig"))
	if err := clientcmd.WriteToFile(*withUser(config, token), in.kubeconfig); err != nil {
		t.Fatal(err)
	}
	administrator, err := clientcmd.BuildConfigFromFlags("", filepath.Join(b.dir, "local.kubeconfig"))
	if err != nil {
		t.Fatal(err)
	}
	in.config = rest.AnonymousClientConfig(administrator)
	in.config.BearerToken, in.config.QPS, in.config.WarningHandler = token, -1, rest.NoWarnings{}
	return in
}

func (b *bed) applyLocal(t *testing.T, values manifests.Values) {
	t.Helper()
	objects, err := manifests.Local(values)
	if err != nil {
		t.Fatal(err)
	}
	var stream bytes.Buffer
	for _, object := range objects {
		content, err := object.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		stream.WriteString("---\n")
		stream.Write(content)
	}
	if out, stderr, err := b.tryKubectl("local", &stream, "apply", "--server-side", "--field-manager=kubectl-actual", "-f", "-"); err != nil {
		t.Fatalf("kubectl apply: %v\n%s%s", err, out, stderr)
	}
}

// storeCredential puts a tenant's kubeconfig where akd looks for it.
func (b *bed) storeCredential(t *testing.T, tn *tenant, life time.Duration) {
	t.Helper()
	config := withUser(loadKubeconfig(t, tn.kubeconfig), tokenOf(t, b.remote, tn.node, life))
	if err := clientcmdapi.FlattenConfig(config); err != nil {
		t.Fatal(err)
	}
	content, err := clientcmd.Write(*config)
	if err != nil {
		t.Fatal(err)
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: translate.SystemNamespace, Name: tn.node, Labels: map[string]string{
			translate.LabelNodeName: tn.node, "app.kubernetes.io/managed-by": "kubectl-actual",
		}},
		Data: map[string][]byte{"kubeconfig": content},
	}
	if _, err := b.local.CoreV1().Secrets(secret.Namespace).Create(t.Context(), secret, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func tokenOf(t *testing.T, client *kubernetes.Clientset, node string, life time.Duration) string {
	t.Helper()
	seconds := int64(life / time.Second)
	token, err := client.CoreV1().ServiceAccounts(translate.SystemNamespace).CreateToken(t.Context(), node,
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return token.Status.Token
}

func loadKubeconfig(t *testing.T, path string) *clientcmdapi.Config {
	t.Helper()
	config, err := clientcmd.LoadFromFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// withUser returns the kubeconfig for the bearer of a token.
func withUser(config *clientcmdapi.Config, token string) *clientcmdapi.Config {
	config = config.DeepCopy()
	user := config.Contexts[config.CurrentContext].AuthInfo
	config.AuthInfos = map[string]*clientcmdapi.AuthInfo{user: {Token: token}}
	return config
}

// args make akd use nothing but what was installed.
func (in *installed) args(more ...string) []string {
	object := translate.SystemNamespace + "/" + in.node
	return append([]string{
		"--local-kubeconfig", in.kubeconfig, "--remote-kubeconfig=", "--remote-secret", object, "--leader-election-lease", object,
		"--node-capacity", "cpu=8,memory=8Gi,pods=100",
	}, more...)
}

// Two akds serve one node with the rights that are installed, and no other.
// The one at work is killed in the middle of a scale-up: the other one takes
// over, and every pod runs, and runs once. The next handover is a clean one.
func TestTwoReplicas(t *testing.T) {
	b := shared
	in := b.installNode(t, manifests.Values{Node: "replicated"}, time.Hour)
	first := b.startAKD(t, in.node, in.args()...)
	second := b.launch(t, in.node, in.args("--kubelet-api-port", "10251", "--metrics-address", "127.0.0.1:"+secondAKD)...)
	eventually(t, "the second akd waits", func(ctx context.Context) error {
		_, err := b.ask(ctx, secondAKD, "/readyz")
		return err
	})
	namespace := b.namespace(t, "replicas")
	b.apply(t, namespace, web(in.node, 0))
	b.kubectl(t, "local", "scale", "deployment/web", "-n", namespace, "--replicas=20")
	remote := translate.RemoteNamespace(in.node, namespace)
	made := b.remotePodsMade(t, remote)
	eventually(t, "some remote pods exist", func(ctx context.Context) error {
		created, err := b.remote.CoreV1().Pods(remote).List(ctx, metav1.ListOptions{})
		if err == nil && len(created.Items) == 0 {
			err = errors.New("none yet")
		}
		return err
	})
	killed := time.Now()
	first.stop(t, syscall.SIGKILL)
	in.leads(t, secondAKD)
	t.Logf("the second akd led %s after the first was killed", time.Since(killed).Round(time.Second))
	in.takesOverSoon(t)
	b.kubectl(t, "local", "rollout", "status", "deployment/web", "-n", namespace, "--timeout=5m")
	b.once(t, namespace, remote)

	first.start(t)
	b.ready(t) // it waits
	before := uids(t, b, namespace)
	second.stop(t, syscall.SIGTERM)
	in.leads(t, firstAKD)
	b.kubectl(t, "local", "scale", "deployment/web", "-n", namespace, "--replicas=22")
	b.kubectl(t, "local", "rollout", "status", "deployment/web", "-n", namespace, "--timeout=5m")
	b.once(t, namespace, remote)
	for pod := range strings.FieldsSeq(before) {
		if !strings.Contains(uids(t, b, namespace), pod) {
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
func (in *installed) takesOverSoon(t *testing.T) {
	t.Helper()
	lease, err := in.local.CoordinationV1().Leases(translate.SystemNamespace).Get(t.Context(), in.node, metav1.GetOptions{})
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
func (b *bed) remotePodsMade(t *testing.T, namespace string) func() map[string][]string {
	t.Helper()
	var mu sync.Mutex
	made := map[string][]string{}
	note := func(object any) {
		pod := object.(*corev1.Pod)
		mu.Lock()
		defer mu.Unlock()
		local := pod.Labels[translate.LabelUID]
		if !slices.Contains(made[local], string(pod.UID)) {
			made[local] = append(made[local], string(pod.UID))
		}
	}
	factory := informers.NewSharedInformerFactoryWithOptions(b.remote, 0, informers.WithNamespace(namespace))
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

// leads waits until the akd with its metrics at that port leads.
func (in *installed) leads(t *testing.T, port string) {
	t.Helper()
	eventually(t, "the other akd leads", func(ctx context.Context) error {
		page, err := in.ask(ctx, port, "/metrics")
		if err != nil {
			return err
		}
		if !strings.Contains(page, "\nakd_leader 1\n") {
			return errors.New("it waits")
		}
		return nil
	})
}

// metric returns the value that akd's /metrics has for a series, as it is
// written there.
func (b *bed) metric(t *testing.T, series string) string {
	t.Helper()
	page, err := b.ask(t.Context(), firstAKD, "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(page) {
		if value, found := strings.CutPrefix(line, series+" "); found {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// The remote token lives for ten minutes, and pods come and go for longer: no
// reconcile fails for want of a right, no pod restarts, and a session that was
// open all the time still is.
func TestShortLivedCredential(t *testing.T) {
	slow(t)
	b := shared
	in := b.installNode(t, manifests.Values{Node: "short-lived"}, 10*time.Minute)
	d := b.startAKD(t, in.node, in.args()...)
	namespace := b.namespace(t, "short-lived")
	b.apply(t, namespace, web(in.node, 3))
	b.kubectl(t, "local", "rollout", "status", "deployment/web", "-n", namespace, "--timeout=3m")
	still := b.namespace(t, "long-lived") // a scale-down may take any pod of the other one
	b.apply(t, still, web(in.node, 1))
	b.kubectl(t, "local", "rollout", "status", "deployment/web", "-n", still, "--timeout=3m")
	session := b.converse(t, still, "deployment/web")
	const most = 30 * time.Minute
	for end := time.Now().Add(most); time.Now().Before(end); {
		for _, replicas := range []string{"6", "3"} {
			b.kubectl(t, "local", "scale", "deployment/web", "-n", namespace, "--replicas="+replicas)
			b.kubectl(t, "local", "rollout", "status", "deployment/web", "-n", namespace, "--timeout=3m")
		}
		select {
		case <-t.Context().Done():
			return
		case <-time.After(15 * time.Second):
		}
	}
	session.isOpen(t)
	log, err := os.ReadFile(d.log)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"Unauthorized", "not renewed"} {
		if bytes.Contains(log, []byte(bad)) {
			t.Errorf("akd's log says %q", bad)
		}
	}
	for metric, want := range map[string]string{`akd_reconcile_total{result="error"}`: "0", "akd_credential_renewal_failing": "0", `akd_token_renewals_total{result="error"}`: "0"} {
		if got := b.metric(t, metric); got != want {
			t.Errorf("%s is %q, want %s", metric, got, want)
		}
	}
	if renewed := bytes.Count(log, []byte("a changed credential is used")); renewed < 3 {
		t.Errorf("the credential was renewed %d times in %s, want 3 or more", renewed, most)
	}
	for _, pod := range append(b.pods(t, namespace), b.pods(t, still)...) {
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
		"with copies of Services": {shared.mirroring("audited-services"), []string{lists + "local.txt", lists + "local-here.txt", lists + "local-services.txt"}},
	}
	b := shared
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			in := b.installNode(t, tc.values, time.Hour)
			namespace := b.namespace(t, "audited")
			(&audit{
				config: in.config, admin: b.local, listed: readRights(t, in.node, tc.lists...),
				places: map[string][]string{translate.SystemNamespace: {"system"}, metav1.NamespaceSystem: {"kube-system"}, namespace: nil},
			}).run(t)
		})
	}
}

// Whoever has stolen akd's local credential has what a kubelet has: the pods of
// this node and what they refer to.
func TestLocalAttacker(t *testing.T) {
	b := shared
	in := b.installNode(t, manifests.Values{Node: "stolen"}, time.Hour)
	namespace := b.namespace(t, "attacked")
	b.apply(t, namespace, "{apiVersion: v1, kind: Secret, metadata: {name: unreferenced}}")
	b.apply(t, namespace, onRealNode)
	b.kubectl(t, "local", "wait", "--for=condition=Ready", "pod/real", "-n", namespace, "--timeout=3m")
	own := kubernetes.NewForConfigOrDie(in.config)
	as := func(user string, groups ...string) *kubernetes.Clientset {
		config := rest.CopyConfig(in.config)
		config.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: groups}
		return kubernetes.NewForConfigOrDie(config)
	}
	node := as("system:node:"+in.node, "system:nodes")
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
			_, err := as("system:node:"+in.node, "system:masters").CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
			return err
		}, `cannot impersonate resource "groups"`},
		"the Secret of another akd": {func() error {
			_, err := own.CoreV1().Secrets(translate.SystemNamespace).Get(t.Context(), "other", metav1.GetOptions{})
			return err
		}, `cannot get resource "secrets"`},
		"a token of its own": {func() error {
			_, err := own.CoreV1().ServiceAccounts(translate.SystemNamespace).CreateToken(t.Context(), in.node, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
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
