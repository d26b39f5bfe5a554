package plugin_test

import (
	"archive/zip"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/yaml"

	"github.com/actual-kubelets/actual-kubelets/pkg/plugin"
)

// kubectl-actual runs as a command of the scripts.
func TestMain(m *testing.M) {
	run := func() {
		streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
		os.Exit(plugin.Main(context.Background(), streams, plugin.Build{Version: "v1.2.3", Getenv: os.Getenv}, plugin.Arguments(os.Args)))
	}
	testscript.Main(m, map[string]func(){"kubectl-actual": run, "kubectl_complete-actual": run})
}

// TestScripts runs testdata/script against an API server that answers with what
// a script's files under api/ say: GET /api/v1/pods is api/api/v1/pods.yaml,
// and what its query selects is not its matter; nor is the method. A Status has
// its own code. The context remote leads to what is under api/remote/. Every
// server also knows the answers in testdata/api, which are who it is and what
// it offers.
//
// Fakes answer what they are told: test/e2e has the same commands on real
// clusters.
func TestScripts(t *testing.T) {
	common, err := filepath.Abs("testdata/api")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			server := httptest.NewServer(api{filepath.Join(env.WorkDir, "api"), common})
			env.Defer(server.Close)
			env.Setenv("SERVER", server.URL)
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("KUBECONFIG", filepath.Join(env.WorkDir, "kubeconfig"))
			return os.WriteFile(filepath.Join(env.WorkDir, "kubeconfig"), []byte(kubeconfig(server.URL)), 0o600)
		},
		Cmds:          map[string]func(*testscript.TestScript, bool, []string){"unzip": unzip, "exits": exits},
		UpdateScripts: os.Getenv("UPDATE_SCRIPTS") != "",
	})
}

// exits CODE COMMAND ARGS... runs a command that must end with that code. What
// it prints is for stdout and stderr.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	if exit, failed := errors.AsType[*exec.ExitError](err); failed {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if want, err := strconv.Atoi(args[0]); err != nil || code != want {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

// unzip FILE puts a zip's entries into the folder of its name.
func unzip(ts *testscript.TestScript, _ bool, args []string) {
	file := ts.MkAbs(args[0])
	archive, err := zip.OpenReader(file)
	ts.Check(err)
	defer func() { ts.Check(archive.Close()) }()
	ts.Check(os.CopyFS(strings.TrimSuffix(file, ".zip"), archive))
}

func kubeconfig(server string) string {
	return `apiVersion: v1
kind: Config
current-context: local
clusters:
- {name: local, cluster: {server: "` + server + `"}}
- {name: nowhere, cluster: {server: "http://127.0.0.1:1"}}
- {name: remote, cluster: {server: "` + server + `/remote"}}
contexts:
- {name: local, context: {cluster: local, user: me, namespace: shop}}
- {name: again, context: {cluster: local, user: me}}
- {name: 'my "local" $one', context: {cluster: local, user: me}}
- {name: nowhere, context: {cluster: nowhere, user: me}}
- {name: remote, context: {cluster: remote, user: me}}
users: [{name: me, user: {token: secret}}]
`
}

// api answers from two folders: the script's, and the one that all have.
type api [2]string

// ServeHTTP implements http.Handler.
func (a api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimSuffix(r.URL.Path, "/")
	files := []string{filepath.Join(a[0], name), filepath.Join(a[1], strings.TrimPrefix(name, "/remote"))}
	for _, file := range files {
		content, err := os.ReadFile(filepath.FromSlash(file) + ".yaml")
		if err != nil {
			continue
		}
		body, err := yaml.YAMLToJSON(content)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		var status metav1.Status
		if err := json.Unmarshal(body, &status); err == nil && status.Kind == "Status" {
			w.WriteHeader(int(status.Code))
		}
		_, _ = w.Write(body) //nolint:gosec // a fake API server: nobody browses it
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusNotFound)
	kind, object := "resources", filepath.Base(name)
	if parts := strings.Split(name, "/"); len(parts) > 1 {
		kind = parts[len(parts)-2]
	}
	err := json.NewEncoder(w).Encode(&metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
		Status:   metav1.StatusFailure,
		Reason:   metav1.StatusReasonNotFound,
		Code:     http.StatusNotFound,
		Message:  kind + " \"" + object + "\" not found",
		Details:  &metav1.StatusDetails{Name: object, Kind: kind},
	})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}
