//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin"
	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

// Kubeconfigs of people are not those of tests. Some verify no server: install refuses
// them at once, because akd would hand its token to anybody.
func TestInstallUnverified(t *testing.T) {
	e, node := shared, "unverified"
	kubeconfig := kubeconfigWith(t, e, func(config *clientcmdapi.Config) {
		remote := config.Clusters[config.Contexts["remote"].Cluster]
		remote.CertificateAuthority, remote.CertificateAuthorityData, remote.InsecureSkipTLSVerify = "", nil, true
	})
	before, begin := takeSnapshot(t, e), time.Now()
	out, err := e.ActualCommand(t, "install", node, "--kubeconfig", kubeconfig, "--context=local", "--remote-context=remote").CombinedOutput()
	for _, want := range []string{
		"✗ akd's route", "is not verified: akd would hand its token to anybody", "hint: replace insecure-skip-tls-verify",
	} {
		if env.ExitCode(err) != plugin.ExitUsage || !strings.Contains(string(out), want) {
			t.Errorf("exit code %d after %s, want %d and %q\n%s", env.ExitCode(err), time.Since(begin), plugin.ExitUsage, want, out)
		}
	}
	before.compare(t, e, "a refused install")
}

// Others have no CA, but the machine has it; and their user may do nothing but act as
// an administrator. Install took the rights of the one for those of the other, and
// could never finish; and its akd could never connect.
func TestInstallAsAnother(t *testing.T) {
	e, node := shared, "another"
	tokens := map[string]string{}
	for _, side := range []string{"local", "remote"} {
		e.Kubectl(t, side, "create", "serviceaccount", "sudo", "-n", "default")
		e.Kubectl(t, side, "create", "clusterrole", "e2e-sudo", "--verb=impersonate", "--resource=users", "--resource-name=boss")
		e.Kubectl(t, side, "create", "clusterrolebinding", "e2e-sudo", "--clusterrole=e2e-sudo", "--serviceaccount=default:sudo")
		e.Kubectl(t, side, "create", "clusterrolebinding", "e2e-boss", "--clusterrole=cluster-admin", "--user=boss")
		tokens[side] = strings.TrimSpace(e.Kubectl(t, side, "create", "token", "sudo", "-n", "default"))
		t.Cleanup(func() {
			e.Kubectl(t, side, "delete", "clusterrolebinding/e2e-boss", "clusterrolebinding/e2e-sudo", "clusterrole/e2e-sudo")
			e.Kubectl(t, side, "delete", "serviceaccount", "sudo", "-n", "default")
		})
	}
	var authorities []byte
	kubeconfig := kubeconfigWith(t, e, func(config *clientcmdapi.Config) {
		for side, token := range tokens {
			cluster := config.Clusters[config.Contexts[side].Cluster]
			authorities = append(authorities, cluster.CertificateAuthorityData...)
			cluster.CertificateAuthorityData = nil
			config.AuthInfos["sudo-"+side] = &clientcmdapi.AuthInfo{Token: token}
			config.Contexts[side].AuthInfo = "sudo-" + side
		}
		config.AuthInfos["sudo-remote"].Impersonate = "boss"
	})
	machine := filepath.Join(t.TempDir(), "machine.crt")
	if err := os.WriteFile(machine, authorities, 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) {
		t.Helper()
		cmd := e.ActualCommand(t, append(args, "--kubeconfig", kubeconfig, "--context=local", "--as=boss", "--remote-context=remote")...)
		cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+machine)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("kubectl actual %v: %v\n%s", args, err, out)
		}
	}
	run("install", node, "--services=none", "--image="+e.AKDImage(t)) // waits until a probe pod has run
	secret, err := e.Local.CoreV1().Secrets(contract.SystemNamespace).Get(t.Context(), node, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	stored, err := clientcmd.Load(secret.Data["kubeconfig"])
	if err != nil {
		t.Fatal(err)
	}
	user, ca := stored.AuthInfos["remote"], stored.Clusters["remote"].CertificateAuthorityData
	if user.Impersonate != "" || len(ca) == 0 {
		t.Errorf("akd's credential impersonates %q and has a CA of %d bytes", user.Impersonate, len(ca))
	}
	run("uninstall", node)
}

// kubeconfigWith returns the user's kubeconfig, changed and with everything in it.
func kubeconfigWith(t *testing.T, e *env.Env, change func(*clientcmdapi.Config)) string {
	t.Helper()
	config, err := clientcmd.LoadFromFile(e.UserKubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	if err := clientcmdapi.FlattenConfig(config); err != nil {
		t.Fatal(err)
	}
	change(config)
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		t.Fatal(err)
	}
	return file
}
