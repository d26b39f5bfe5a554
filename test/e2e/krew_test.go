//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"
)

// The released archive, installed by krew, installs a node and removes it
// again: what is in both clusters afterwards is what was there before.
func TestKrew(t *testing.T) {
	slow(t)
	b := shared
	root := filepath.Dir(filepath.Dir(b.clusters))
	image, release, home := b.akdImage(t), t.TempDir(), t.TempDir()
	making := exec.CommandContext(t.Context(), "make", "-C", root, "release")
	making.Env = append(os.Environ(), "VERSION=v0.0.1", "PLATFORMS="+runtime.GOOS+"/"+runtime.GOARCH, "OUT="+release)
	runs(t, making)
	archive := filepath.Join(release, fmt.Sprintf("kubectl-actual_v0.0.1_%s_%s.tar.gz", runtime.GOOS, runtime.GOARCH))
	env := append(os.Environ(), "KREW_ROOT="+home, "KREW_NO_UPGRADE_CHECK=1", "PATH="+filepath.Join(home, "bin")+":"+os.Getenv("PATH"))
	installing := exec.CommandContext(t.Context(), buildTool(t, "krew", "krew"), "install", "--manifest="+filepath.Join(release, "actual.yaml"), "--archive="+archive)
	installing.Env = env
	runs(t, installing)

	actual := func(args ...string) string {
		t.Helper()
		args = append([]string{"--dir", b.dir, "kubectl", "local", "actual"}, args...)
		cmd := exec.CommandContext(t.Context(), b.clusters, append(args, "--kubeconfig", filepath.Join(b.dir, "kubeconfig"), "--context=local")...)
		cmd.Env = env
		var progress bytes.Buffer
		cmd.Stderr = &progress
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("kubectl actual %v: %v\n%s%s", args, err, out, progress.String())
		}
		return string(out)
	}
	if got := actual("version", "--client"); !strings.Contains(got, "v0.0.1") {
		t.Errorf("kubectl actual version says %s", got)
	}
	before := map[string]map[string]bool{"local": b.dump(t, "local"), "remote": b.dump(t, "remote")}
	install := []string{"install", "krewed", "--remote-context=remote", "--image=" + image}
	actual(install...) // until the node is Ready and a pod has run
	if got := actual(install...); !strings.Contains(got, " 0 created, 0 changed,") {
		t.Errorf("install again: %s", got)
	}
	actual("uninstall", "krewed", "--remote-context=remote")
	for side, was := range before {
		if diff := cmp.Diff(was, b.dump(t, side)); diff != "" {
			t.Errorf("%s objects after uninstall (-before +after):\n%s", side, diff)
		}
	}
}

// What is released can be built by others, byte for byte: who reads the commit
// need not trust the machine that built it.
func TestReproducible(t *testing.T) {
	slow(t)
	root := filepath.Dir(filepath.Dir(shared.clusters))
	runs(t, exec.CommandContext(t.Context(), "make", "-C", root, "reproducible"))
}

// passing are kinds whose objects come and go by themselves, whatever is
// installed.
var passing = map[string]bool{
	"events":                     true, // for an hour
	"leases":                     true, // of components
	"certificatesigningrequests": true, // of kubelets and akd: the controller manager removes signed ones after an hour
	"podcertificaterequests":     true,
}

// dump names every object of a cluster, but for those that come and go.
func (b *bed) dump(t *testing.T, side string) map[string]bool {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", filepath.Join(b.dir, side+".kubeconfig"))
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	found, err := discovery.NewDiscoveryClientForConfigOrDie(config).ServerPreferredResources()
	if err != nil {
		t.Fatal(err)
	}
	client := dynamic.NewForConfigOrDie(config)
	objects := map[string]bool{}
	for _, group := range discovery.FilteredBy(discovery.SupportsAllVerbs{Verbs: []string{"list"}}, found) {
		versions, err := discovery.GroupVersionResources([]*metav1.APIResourceList{group})
		if err != nil {
			t.Fatal(err)
		}
		for resource := range versions {
			if passing[resource.Resource] {
				continue
			}
			list, err := client.Resource(resource).List(t.Context(), metav1.ListOptions{})
			if err != nil {
				t.Fatalf("list %s %s: %v", side, resource.Resource, err)
			}
			for i := range list.Items {
				objects[resource.GroupResource().String()+" "+list.Items[i].GetNamespace()+"/"+list.Items[i].GetName()] = true
			}
		}
	}
	return objects
}
