//go:build e2e

package env

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Env is a pair of clusters and the programs that tests run against them.
type Env struct {
	// Root is the folder of the repository.
	Root string
	// Dir is the run folder of the clusters.
	Dir string
	// Address is the IP address in the local cluster's network that is kept for akd.
	Address string
	// Server is the IP address of the local API server in that network.
	Server string
	// Local and Remote are clients with an administrator's rights.
	Local, Remote *kubernetes.Clientset
	// ClusterUID is that of the local cluster, which owns the nodes' names in the
	// remote one.
	ClusterUID string

	clusters string // the clusters command
	akd      string // the akd binary, with the race detector
	network  string // file of the local cluster's network namespace
}

// Up starts the clusters of a run folder, or finds them running. The working
// directory has to be a folder in test/, as in the tests there. Options are those
// of `clusters up`.
func Up(dir string, options ...string) (*Env, error) {
	root, err := filepath.Abs("../..")
	if err != nil {
		return nil, err
	}
	e := &Env{Root: root, clusters: filepath.Join(root, "bin", "clusters"), akd: filepath.Join(root, "bin", "akd-race")}
	if e.Dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	args := append([]string{"up"}, options...)
	for _, side := range []string{"local", "remote"} {
		if version := os.Getenv("E2E_" + strings.ToUpper(side) + "_VERSION"); version != "" {
			args = append(args, "--"+side+"-version", version)
		}
	}
	if err := e.run(args...); err != nil {
		return nil, err
	}
	if err := e.read(); err != nil {
		return nil, err
	}
	if e.Local, err = e.client("local"); err != nil {
		return nil, err
	}
	if e.Remote, err = e.client("remote"); err != nil {
		return nil, err
	}
	return e, e.identify(context.Background())
}

// identify reads the UID of the local cluster.
func (e *Env) identify(ctx context.Context) error {
	system, err := e.Local.CoreV1().Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("identify the local cluster: %w", err)
	}
	e.ClusterUID = string(system.UID)
	return nil
}

// read reads the addresses of clusters that run.
func (e *Env) read() error {
	found, err := e.status()
	if err != nil {
		return err
	}
	if found.Simulated {
		return errors.New("the clusters' nodes are simulated: end-to-end tests need real containers, so root on Linux")
	}
	server, err := url.Parse(found.Clusters.Local.InNetworkServer)
	if err != nil {
		return err
	}
	e.Address, e.Server, e.network = found.AKDAddress, server.Hostname(), found.Clusters.Local.NetworkNamespace
	return nil
}

// Down stops the clusters.
func (e *Env) Down() error { return e.run("down") }

// CutLink cuts the link between akd and the remote API server; packets vanish.
func (e *Env) CutLink() error { return e.run("link", "--cut") }

// HalfOpenLink loses the answers of the remote API server, but no requests.
func (e *Env) HalfOpenLink() error { return e.run("link", "--half-open") }

// ResetLink resets each connection to the remote API server as soon as it is used.
func (e *Env) ResetLink() error { return e.run("link", "--reset") }

// SlowLink adds that time to each round trip to the remote API server.
func (e *Env) SlowLink(latency time.Duration) error {
	return e.run("link", "--latency", latency.String())
}

// RestoreLink undoes each of these.
func (e *Env) RestoreLink() error { return e.run("link", "--restore") }

// status is the part of `clusters status` that tests need.
type status struct {
	AKDAddress string `json:"akdAddress"`
	Simulated  bool   `json:"simulated"`
	Clusters   struct {
		Local struct {
			InNetworkServer  string `json:"inNetworkServer"`
			NetworkNamespace string `json:"networkNamespace"`
		} `json:"local"`
	} `json:"clusters"`
	Components []struct {
		Name  string `json:"name"`
		PID   int    `json:"pid"`
		Alive bool   `json:"alive"`
	} `json:"components"`
}

func (e *Env) status() (found status, err error) {
	out, err := e.command("status", "-o", "json").Output()
	if err == nil {
		err = json.Unmarshal(out, &found)
	}
	if err != nil {
		return found, fmt.Errorf("clusters status: %w", err)
	}
	return found, nil
}

// command returns a clusters command for these clusters. It is not bound to a
// context, because tests run such commands when they clean up, too: their
// context has ended by then.
func (e *Env) command(args ...string) *exec.Cmd {
	return exec.Command(e.clusters, append([]string{"--dir", e.Dir}, args...)...) //nolint:noctx // see above
}

// commandContext is command, killed when the context ends.
func (e *Env) commandContext(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, e.clusters, append([]string{"--dir", e.Dir}, args...)...)
}

// ExecLocal returns a command that runs inside the local cluster's network.
func (e *Env) ExecLocal(ctx context.Context, args ...string) *exec.Cmd {
	return e.commandContext(ctx, append([]string{"exec", "local", "--"}, args...)...)
}

// run runs a clusters command whose output becomes the tests'.
func (e *Env) run(args ...string) error {
	cmd := e.command(args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("clusters %s: %w", args[0], err)
	}
	return nil
}

// Kubeconfig is the file of an administrator of one side.
func (e *Env) Kubeconfig(side string) string { return filepath.Join(e.Dir, side+".kubeconfig") }

// UserKubeconfig is the file of a user of both clusters, with the contexts
// local and remote.
func (e *Env) UserKubeconfig() string { return filepath.Join(e.Dir, "kubeconfig") }

// AKDKubeconfig is the file of an administrator of one side whose server is
// the one that akd reaches from the local cluster's network.
func (e *Env) AKDKubeconfig(side string) string {
	return filepath.Join(e.Dir, "akd-"+side+".kubeconfig")
}

// RESTConfig is an administrator's, with the certificate loaded.
func (e *Env) RESTConfig(t testing.TB, side string) *rest.Config {
	t.Helper()
	config, err := e.restConfig(side)
	if err == nil {
		err = rest.LoadTLSFiles(config)
	}
	if err != nil {
		t.Fatal(err)
	}
	return config
}

func (e *Env) restConfig(side string) (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", e.Kubeconfig(side))
	if err != nil {
		return nil, fmt.Errorf("kubeconfig of the %s cluster: %w", side, err)
	}
	return config, nil
}

// bearer is the configuration of a client that has a token and no other rights.
func (e *Env) bearer(t testing.TB, side, token string) *rest.Config {
	t.Helper()
	administrator, err := e.restConfig(side) // its server is reachable from outside of akd's network
	if err != nil {
		t.Fatal(err)
	}
	config := rest.AnonymousClientConfig(administrator)
	config.BearerToken, config.QPS, config.WarningHandler = token, -1, rest.NoWarnings{}
	return config
}

func (e *Env) client(side string) (*kubernetes.Clientset, error) {
	config, err := e.restConfig(side)
	if err != nil {
		return nil, err
	}
	config.QPS = -1
	return kubernetes.NewForConfig(config)
}
