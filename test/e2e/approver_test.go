//go:build e2e

package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	nodeutil "k8s.io/component-helpers/node/util"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/test/e2e/audit"
	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

// After akd had moved to another address, its certificate waited for a person.
func TestApprover(t *testing.T) {
	e := shared
	const node, other = "approved", "approved-b"
	install := func(node string, more ...string) []string {
		return append([]string{"install", node, "--remote-context=remote", "--services=none", "--image=" + e.AKDImage(t)}, more...)
	}
	before := takeSnapshot(t, e)
	t.Cleanup(func() { e.Actual(t, "uninstall", node, "--remote-context=remote", "--force") })
	with := install(node, "--approve-certificates")
	e.MustActual(t, with...)
	if got := e.MustActual(t, with...); !strings.Contains(got, " 0 created, 0 changed,") {
		t.Errorf("install again: %s", got)
	}
	verifying := e.StartVerifyingServer(t)

	t.Run("AKDMoves", func(t *testing.T) {
		address := moveAKD(t, e, node)
		env.Eventually(t, "akd at "+address+" has a signed certificate", func(ctx context.Context) error {
			return signedFor(ctx, e, node, address)
		})
		env.Eventually(t, "an API server that verifies kubelets reaches akd", func(context.Context) error {
			out, err := verifying("get", "--raw", "/api/v1/nodes/"+node+"/proxy/healthz")
			if err != nil || out != "ok" {
				return fmt.Errorf("%w: %s", err, out)
			}
			return nil
		})
	})
	t.Run("ForeignAddress", func(t *testing.T) { testForeignAddress(t, e, node) })
	t.Run("StolenFromTheApprover", func(t *testing.T) { testApproversCredential(t, e, node, other) })
	t.Run("Looks", func(t *testing.T) {
		out, stderr, _ := e.Actual(t, "check", node, "--remote-context=remote", "--no-probe")
		for _, want := range []string{"the approver of akd's certificates works: 1 of 1 replicas are ready"} {
			if !strings.Contains(out, want) {
				t.Errorf("check does not show %q:\n%s%s", want, out, stderr)
			}
		}
	})
	t.Run("Without", func(t *testing.T) {
		e.MustActual(t, install(node)...)
		for object := range e.Objects(t, "local") {
			if strings.Contains(object, contract.ApproverName(node)) || strings.Contains(object, manifests.ApproverPolicy(node)) {
				if !strings.HasPrefix(object, "pods") && !strings.HasPrefix(object, "replicasets") { // they end in a moment
					t.Errorf("%s is left of the approver", object)
				}
			}
		}
	})
	e.MustActual(t, with...)
	e.MustActual(t, "uninstall", node, "--remote-context=remote")
	before.compare(t, e, "uninstall")
}

// moveAKD deletes akd's pod, and returns the address of the next one.
func moveAKD(t *testing.T, e *env.Env, node string) (address string) {
	t.Helper()
	pods := e.Local.CoreV1().Pods(contract.SystemNamespace)
	akds := metav1.ListOptions{LabelSelector: contract.AKDSelector(node)}
	old, err := pods.List(t.Context(), akds)
	if err != nil || len(old.Items) != 1 {
		t.Fatalf("%d pods of akd, %v", len(old.Items), err)
	}
	e.Kubectl(t, "local", "delete", "pod", old.Items[0].Name, "-n", contract.SystemNamespace, "--timeout=3m")
	env.Eventually(t, "the next akd has an address", func(ctx context.Context) error {
		found, err := pods.List(ctx, akds)
		if err != nil {
			return err
		}
		for i := range found.Items {
			if ip := found.Items[i].Status.PodIP; ip != "" && found.Items[i].UID != old.Items[0].UID {
				address = ip
				return nil
			}
		}
		return errors.New("it has none")
	})
	if address == old.Items[0].Status.PodIP {
		t.Fatalf("akd has not moved from %s", address)
	}
	return address
}

// signedFor reports whether the node serves, at an address, a certificate that is
// signed.
func signedFor(ctx context.Context, e *env.Env, node, address string) error {
	found, err := e.Local.CoreV1().Nodes().Get(ctx, node, metav1.GetOptions{})
	if err != nil {
		return err
	}
	_, signed := nodeutil.GetNodeCondition(&found.Status, contract.ConditionServingCertificateSigned)
	reported := false
	for _, one := range found.Status.Addresses {
		reported = reported || one.Address == address
	}
	if !reported || signed == nil || signed.Status != corev1.ConditionTrue {
		return fmt.Errorf("addresses %v, condition %v", found.Status.Addresses, signed)
	}
	return nil
}

// A thief of the node's identity gets no certificate for an address that is not
// akd's, and learns nothing of it by writing the address into the Node.
func testForeignAddress(t *testing.T, e *env.Env, node string) {
	thief := as(t, e, "system:node:"+node, "system:nodes")
	foreign := ask(t, thief, node, "192.0.2.1")
	t.Cleanup(func() { e.Kubectl(t, "local", "delete", "certificatesigningrequest", foreign) })
	env.Eventually(t, "the approver has looked at it", func(context.Context) error {
		log := e.Kubectl(t, "local", "logs", "deployment/"+contract.ApproverName(node), "-n", contract.SystemNamespace)
		if !strings.Contains(log, "request="+foreign) || !strings.Contains(log, "it requests 192.0.2.1, but akd's pods have ") {
			return fmt.Errorf("its log is:\n%s", log)
		}
		return nil
	})
	address := moveAKD(t, e, node)
	env.Eventually(t, "the approver looks again, and approves akd's", func(ctx context.Context) error {
		return signedFor(ctx, e, node, address)
	})
	isUndecided(t, e, foreign)
}

// Whoever has the approver's credential can approve what its own node asks for, and
// decide nothing else.
func testApproversCredential(t *testing.T, e *env.Env, node, other string) {
	thief := as(t, e, "system:serviceaccount:actual-system:"+contract.ApproverName(node), "system:serviceaccounts", "system:authenticated")
	others := ask(t, as(t, e, "system:node:"+other, "system:nodes"), other, "192.0.2.1")
	own := ask(t, as(t, e, "system:node:"+node, "system:nodes"), node, "192.0.2.1")
	t.Cleanup(func() { e.Kubectl(t, "local", "delete", "certificatesigningrequest", others, own) })
	decide := func(name string, as certificatesv1.RequestConditionType) error {
		requests := e.Local.CertificatesV1().CertificateSigningRequests()
		request, err := requests.Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		request.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{
			{Type: as, Status: corev1.ConditionTrue, Reason: "Thief", Message: "stolen"},
		}
		_, err = thief.CertificatesV1().CertificateSigningRequests().UpdateApproval(t.Context(), name, request, metav1.UpdateOptions{})
		return err
	}
	for name, attack := range map[string]struct {
		err  error
		want string
	}{
		"another node's": {decide(others, certificatesv1.CertificateApproved), "certificate requests of its own node only"},
		"a denial":       {decide(own, certificatesv1.CertificateDenied), "that nobody has decided on, and deny none"},
		"a deletion": {
			thief.CertificatesV1().CertificateSigningRequests().Delete(t.Context(), own, metav1.DeleteOptions{}), "cannot delete resource",
		},
	} {
		if attack.err == nil || !strings.Contains(attack.err.Error(), attack.want) {
			t.Errorf("%s: %v, want %q", name, attack.err, attack.want)
		}
	}
	isUndecided(t, e, others)
	isUndecided(t, e, own)
	if err := decide(own, certificatesv1.CertificateApproved); err != nil {
		t.Errorf("its own node's: %v", err) // the other refusals were not by mistake
	}
}

func isUndecided(t *testing.T, e *env.Env, name string) {
	t.Helper()
	request, err := e.Local.CertificatesV1().CertificateSigningRequests().Get(t.Context(), name, metav1.GetOptions{})
	if err != nil || len(request.Status.Conditions) > 0 {
		t.Errorf("%s: %v, %v", name, request.Status.Conditions, err)
	}
}

// as is a client of the local cluster that acts as somebody.
func as(t *testing.T, e *env.Env, user string, groups ...string) *kubernetes.Clientset {
	t.Helper()
	config := rest.CopyConfig(e.RESTConfig(t, "local"))
	config.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: groups}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// ask requests a serving certificate of a node for an address, as kubelets do.
func ask(t *testing.T, as *kubernetes.Clientset, node, address string) (name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	content, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject:     pkix.Name{CommonName: "system:node:" + node, Organization: []string{"system:nodes"}},
		DNSNames:    []string{node},
		IPAddresses: []net.IP{net.ParseIP(address)},
	}, key)
	if err != nil {
		t.Fatal(err)
	}
	request, err := as.CertificatesV1().CertificateSigningRequests().Create(t.Context(), &certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "stolen-"},
		Spec: certificatesv1.CertificateSigningRequestSpec{
			Request:    pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: content}),
			SignerName: certificatesv1.KubeletServingSignerName,
			Usages:     []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageServerAuth},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return request.Name
}

// The approver's credential has the rights that the list contains, and no others.
func TestAuditApprover(t *testing.T) {
	e := shared
	const node = "audited-approver"
	audit.Run(t, audit.Credential{
		Config: e.InstallApprover(t, node),
		Admin:  e.Local,
		Listed: audit.Read(t, node, lists+"approver.txt"),
		Places: map[string][]string{
			contract.SystemNamespace:     {"system"},
			metav1.NamespaceSystem:       nil,
			e.Namespace(t, "unapproved"): nil,
		},
	})
}
