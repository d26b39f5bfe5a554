//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

// tenant is what a node is in the remote cluster: rights, and a credential.
type tenant struct {
	node       string
	kubeconfig string       // for akd
	config     *rest.Config // for the test
	client     *kubernetes.Clientset
}

// args makes akd use the credential. It may not list nodes, so that it has to
// be told what the node holds.
func (tn *tenant) args(more ...string) []string {
	return append([]string{"--remote-kubeconfig", tn.kubeconfig, "--node-capacity", "cpu=8,memory=8Gi,pods=50"}, more...)
}

// tenant installs a node's rights in the remote cluster as the manifests have
// them, and takes them away when the test ends, with the node's namespaces.
func (b *bed) tenant(t *testing.T, values manifests.Values) *tenant {
	t.Helper()
	b.install(t, values)
	t.Cleanup(func() {
		selector := translate.LabelNodeName + "=" + values.Node
		kinds := "clusterrolebindings,clusterroles,validatingadmissionpolicybindings,validatingadmissionpolicies,namespaces"
		for _, args := range [][]string{
			{"delete", kinds, "-l", selector},
			{"delete", "serviceaccounts,configmaps,roles,rolebindings", "-n", translate.SystemNamespace, "-l", selector},
		} {
			if out, stderr, err := b.tryKubectl("remote", nil, append(args, "--timeout=3m")...); err != nil {
				t.Errorf("kubectl %v: %v\n%s%s", args, err, out, stderr)
			}
		}
	})
	tn := b.credential(t, values.Node)
	eventually(t, "the policies of node "+values.Node+" are in force", func(ctx context.Context) error {
		foreign := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "nobodys"}}
		_, err := tn.client.CoreV1().Namespaces().Create(ctx, foreign, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err == nil || !strings.Contains(err.Error(), "ValidatingAdmissionPolicy") {
			return fmt.Errorf("a foreign namespace: %w", err)
		}
		return nil
	})
	return tn
}

// mirroring are the values of a node that mirrors the local cluster's Services.
func (b *bed) mirroring(node string) manifests.Values {
	return manifests.Values{
		Node: node, MirrorServices: true, ServiceCIDRs: []string{localServices},
		EndpointCIDRs: []string{"10.244.0.0/16", "10.245.0.0/16", b.server + "/32"},
	}
}

// install applies the remote side's manifests as an administrator.
func (b *bed) install(t *testing.T, values manifests.Values) {
	t.Helper()
	objects, err := manifests.Remote(values)
	if err != nil {
		t.Fatal(err)
	}
	var stream bytes.Buffer
	for _, object := range objects {
		if kind := object.GetKind(); kind == "Deployment" || kind == "ServiceCIDR" {
			continue // the test runs akd by itself, and serviceRange has the range
		}
		content, err := object.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		stream.WriteString("---\n")
		stream.Write(content)
	}
	if out, stderr, err := b.tryKubectl("remote", &stream, "apply", "--server-side", "--field-manager=kubectl-actual", "-f", "-"); err != nil {
		t.Fatalf("kubectl apply: %v\n%s%s", err, out, stderr)
	}
}

// credential asks for a token of the node's service account.
func (b *bed) credential(t *testing.T, node string) *tenant {
	t.Helper()
	token, err := b.remote.CoreV1().ServiceAccounts(translate.SystemNamespace).CreateToken(t.Context(), node, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	tn := &tenant{node: node, kubeconfig: filepath.Join(t.TempDir(), node+".kubeconfig")}
	config, err := clientcmd.LoadFromFile(filepath.Join(b.dir, "akd-remote.kubeconfig"))
	if err != nil {
		t.Fatal(err)
	}
	user := config.Contexts[config.CurrentContext].AuthInfo
	config.AuthInfos = map[string]*clientcmdapi.AuthInfo{user: {Token: token.Status.Token}}
	if err := clientcmd.WriteToFile(*config, tn.kubeconfig); err != nil {
		t.Fatal(err)
	}
	administrator, err := clientcmd.BuildConfigFromFlags("", filepath.Join(b.dir, "remote.kubeconfig"))
	if err != nil {
		t.Fatal(err)
	}
	tn.config = rest.AnonymousClientConfig(administrator)
	tn.config.BearerToken, tn.config.QPS, tn.config.WarningHandler = token.Status.Token, -1, rest.NoWarnings{}
	if tn.client, err = kubernetes.NewForConfig(tn.config); err != nil {
		t.Fatal(err)
	}
	return tn
}

// deployment is one whose pods say where they are, and have a token and a Secret.
func deployment(node string) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: Secret
metadata: {name: password}
stringData: {password: secret of %[1]s}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      nodeSelector: {kubernetes.io/hostname: %[1]s}
      tolerations: [{operator: Exists}]
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        image: busybox:1.36
        imagePullPolicy: Never
        command: [sh, -c, 'echo up on %[1]s; trap exit TERM; while :; do sleep 1 & wait; done']
        volumeMounts: [{name: password, mountPath: /password}]
      volumes: [{name: password, secret: {secretName: password}}]
`, node)
}

// Two nodes share one remote cluster, each as a tenant, and one's name begins
// with the other's: real controllers, logs and exec work as they do for an
// administrator, and a restart finds by the record what became superfluous.
func TestTenants(t *testing.T) {
	b := shared
	nodes := []string{"ten", "ten-ant"}
	tenants, daemons := map[string]*tenant{}, map[string]*daemon{}
	for _, node := range nodes {
		tenants[node] = b.tenant(t, manifests.Values{Node: node})
	}
	daemons["ten"] = b.startAKD(t, "ten", tenants["ten"].args("--unused-namespace-ttl", "10s")...)
	daemons["ten-ant"] = b.startAKD(t, "ten-ant", tenants["ten-ant"].args("--kubelet-api-port", "10251", "--metrics-address", "")...)
	for _, node := range nodes {
		namespace := b.namespace(t, "deployed-on-"+node)
		b.apply(t, namespace, deployment(node))
	}
	for _, node := range nodes {
		namespace := "deployed-on-" + node
		b.kubectl(t, "local", "rollout", "status", "deployment/web", "-n", namespace, "--timeout=3m")
		pod := b.pods(t, namespace)[0].Name
		if log := b.kubectl(t, "local", "logs", pod, "-n", namespace); log != "up on "+node+"\n" {
			t.Errorf("a pod of node %s logs %q", node, log)
		}
		if out := b.kubectl(t, "local", "exec", pod, "-n", namespace, "--", "cat", "/password/password"); out != "secret of "+node {
			t.Errorf("in a pod of node %s: %q", node, out)
		}
		b.isRecorded(t, node, namespace)
	}
	testOrphanByRecord(t, daemons["ten"])
	testRecordLost(t, "ten")
	testNamespaceRetired(t, "ten")
}

// isRecorded waits until the record of the node names exactly the namespaces.
func (b *bed) isRecorded(t *testing.T, node string, namespaces ...string) {
	t.Helper()
	want := map[string]string{}
	for _, namespace := range namespaces {
		want[translate.RemoteNamespace(node, namespace)] = namespace
	}
	within(t, 2*patience, fmt.Sprintf("the record of node %s is %v", node, want), func(ctx context.Context) error {
		record, err := b.remote.CoreV1().ConfigMaps(translate.SystemNamespace).Get(ctx, translate.RecordName(node), metav1.GetOptions{})
		if err != nil {
			return err
		}
		if fmt.Sprint(record.Data) != fmt.Sprint(want) {
			return fmt.Errorf("it is %v", record.Data)
		}
		return nil
	})
}

// A pod whose record is forced away while akd is dead leaves its containers.
func testOrphanByRecord(t *testing.T, d *daemon) {
	b, namespace := d.bed, "deployed-on-"+d.node
	d.stop(t, syscall.SIGKILL)
	b.kubectl(t, "local", "delete", "deployment", "web", "-n", namespace)
	b.kubectl(t, "local", "delete", "pods", "--all", "-n", namespace, "--force", "--grace-period=0")
	d.start(t)
	eventually(t, "the remote pods without local ones go", func(ctx context.Context) error {
		left, err := b.remote.CoreV1().Pods(translate.RemoteNamespace(d.node, namespace)).List(ctx, metav1.ListOptions{})
		if err == nil && len(left.Items) > 0 {
			return fmt.Errorf("%d are left", len(left.Items))
		}
		return err
	})
	d.waitReady(t)
}

// Somebody deletes the record while pods run: akd writes it anew.
func testRecordLost(t *testing.T, node string) {
	b, namespace := shared, "deployed-on-"+node
	b.apply(t, namespace, deployment(node))
	b.kubectl(t, "local", "rollout", "status", "deployment/web", "-n", namespace, "--timeout=3m")
	b.kubectl(t, "remote", "delete", "configmap", translate.RecordName(node), "-n", translate.SystemNamespace)
	b.isRecorded(t, node, namespace)
}

// What no pod uses any more goes: the namespace first, then its entry.
func testNamespaceRetired(t *testing.T, node string) {
	b, namespace := shared, "deployed-on-"+node
	b.kubectl(t, "local", "delete", "deployment", "web", "-n", namespace)
	eventually(t, "the remote namespace goes", func(ctx context.Context) error {
		_, err := b.remote.CoreV1().Namespaces().Get(ctx, translate.RemoteNamespace(node, namespace), metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(errors.New("it is there"), err)
	})
	b.isRecorded(t, node)
}

// Without a capacity, a tenant that may not list nodes is told what to do.
func TestTenantWithoutCapacity(t *testing.T) {
	b := shared
	tn := b.tenant(t, manifests.Values{Node: "unmeasured"})
	d := b.launch(t, "unmeasured", "--remote-kubeconfig", tn.kubeconfig)
	d.ends(t, 2, "--node-capacity")
}

// With the right to list nodes, it learns its capacity as an administrator does.
func TestTenantReadsNodes(t *testing.T) {
	b := shared
	tn := b.tenant(t, manifests.Values{Node: "measured", ReadNodes: true})
	b.startAKD(t, "measured", "--remote-kubeconfig", tn.kubeconfig)
	node, err := b.local.CoreV1().Nodes().Get(t.Context(), "measured", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if node.Status.Capacity.Cpu().IsZero() {
		t.Errorf("its capacity is %v", node.Status.Capacity)
	}
}

// Each limit that the configuration asks for is in the namespace before the
// first pod, and the pod that it refuses says so. Without the right to make
// it, pods wait rather than run without it.
func TestTenantLimits(t *testing.T) {
	b := shared
	file := filepath.Join(t.TempDir(), "akd.yaml")
	content := `
apiVersion: actual.vk/v1alpha1
kind: AKDConfiguration
nodeName: limited
namespaces:
  resourceQuota: {pods: 1}
  limitRange: [{type: Container, defaultRequest: {cpu: 10m}}]
  networkPolicy: {enabled: true, allowFrom: [10.244.0.0/16]}
`
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	without := b.tenant(t, manifests.Values{Node: "limited"})
	d := b.startAKD(t, "limited", without.args("--config", file)...)
	namespace := b.namespace(t, "limited")
	remote := translate.RemoteNamespace("limited", namespace)
	b.apply(t, namespace, deployment("limited"))
	b.pendsBecause(t, namespace, `cannot create resource "resourcequotas"`)

	b.install(t, manifests.Values{Node: "limited", Limits: manifests.Limits{ResourceQuota: true, LimitRange: true, NetworkPolicy: true}})
	b.pendsBecause(t, namespace, "exceeded quota: actual-vk") // the second of two
	b.kubectl(t, "remote", "get", "resourcequota/actual-vk", "limitrange/actual-vk", "networkpolicy/actual-vk", "-n", remote)
	if cpu := b.kubectl(t, "remote", "get", "pods", "-n", remote, "-o", "jsonpath={.items[*].spec.containers[*].resources.requests.cpu}"); cpu != "10m" {
		t.Errorf("the pods request %q of cpu", cpu)
	}
	d.stop(t, syscall.SIGTERM)
	d.start(t) // what is there already is no error
	d.waitReady(t)
}

// pendsBecause waits until some pod says, in its conditions, why it does not start.
func (b *bed) pendsBecause(t *testing.T, namespace, why string) {
	t.Helper()
	eventually(t, "a pod pends because "+why, func(ctx context.Context) error {
		list, err := b.local.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		var said []string
		for i := range list.Items {
			for _, condition := range list.Items[i].Status.Conditions {
				if strings.Contains(condition.Message, why) {
					return nil
				}
				said = append(said, condition.Message)
			}
		}
		return fmt.Errorf("%q", said)
	})
}
