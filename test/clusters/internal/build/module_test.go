package build

import (
	"archive/zip"
	"bytes"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A module like Kubernetes' own: it requires a staging module at a version that
// only a replacement gives, and has a program and a file that we want.
func kubernetesLike(version, staging string) recipe {
	return recipe{
		name:     "like",
		files:    []string{"server", "client", "names"},
		links:    []string{"kube-server"},
		module:   "k8s.io/kubernetes@v" + version,
		staging:  "v" + staging,
		main:     map[string]string{"main.go": "package main\n\nimport \"k8s.io/api\"\n\nfunc main() { println(\"server\", api.Version) }\n"},
		packages: []string{"k8s.io/kubernetes/cmd/client"},
		copies:   map[string]string{"names": "test/names.txt"},
	}
}

func TestEnsureModule(t *testing.T) {
	proxy := moduleProxy(t, map[string]map[string]string{
		"k8s.io/kubernetes@v1.37.1": {
			"go.mod": "module k8s.io/kubernetes\n\ngo 1.26.0\n\nrequire k8s.io/api v0.0.0\n\n" +
				"replace k8s.io/api => ./staging/src/k8s.io/api\n",
			"cmd/client/main.go": "package main\n\nimport \"k8s.io/api\"\n\nfunc main() { println(\"client\", api.Version) }\n",
			"test/names.txt":     "some names",
		},
		"k8s.io/api@v0.37.1": {"go.mod": "module k8s.io/api\n", "api.go": "package api\n\nconst Version = \"0.37.1\"\n"},
		// The next release, whose staging module the proxy lacks.
		"k8s.io/kubernetes@v1.37.3": {
			"go.mod":             "module k8s.io/kubernetes\n\ngo 1.26.0\n\nrequire (\n\tk8s.io/api v0.0.0\n\tk8s.io/unused v0.0.0\n)\n",
			"cmd/client/main.go": "package main\n\nfunc main() {}\n",
			"test/names.txt":     "some names",
		},
	})
	b := &Builder{Cache: t.TempDir(), Env: moduleEnv(t, proxy)}
	files, err := b.ensure(t.Context(), []recipe{kubernetesLike("1.37.1", "0.37.1")})
	if err != nil {
		t.Fatal(err)
	}
	for name, says := range map[string]string{"server": "server 0.37.1", "kube-server": "server 0.37.1", "client": "client 0.37.1"} {
		if diff := cmp.Diff(says, say(t, files[name])); diff != "" {
			t.Errorf("program %s: -want, +got:\n%s", name, diff)
		}
	}
	content, err := os.ReadFile(files["names"])
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("some names", string(content)); diff != "" {
		t.Errorf("copied file: -want, +got:\n%s", diff)
	}

	files, err = b.ensure(t.Context(), []recipe{kubernetesLike("1.37.3", "0.37.3")})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("server 0.37.1", say(t, files["server"])); diff != "" {
		t.Errorf("without staging modules of its own: -want, +got:\n%s", diff)
	}

	_, err = b.ensure(t.Context(), []recipe{kubernetesLike("1.37.99", "0.37.99")})
	var version *VersionError
	if !errors.As(err, &version) || version.Version != "1.37.99" {
		t.Errorf("a release that the proxy does not have: got %v, want a *VersionError of 1.37.99", err)
	}
	wantOnly(t, b, 2)
}

// A module is built from what its authors build it from, which its replacements
// say too.
func TestEnsureReplacements(t *testing.T) {
	api := func(version string) map[string]string {
		return map[string]string{"go.mod": "module k8s.io/api\n", "api.go": "package api\n\nconst Version = \"" + version + "\"\n"}
	}
	proxy := moduleProxy(t, map[string]map[string]string{
		"example.org/sidecar@v1.0.0": {
			"go.mod": "module example.org/sidecar\n\ngo 1.26.0\n\nrequire k8s.io/api v0.1.0\n\n" +
				"replace k8s.io/api => k8s.io/api v0.2.0\n\nreplace example.org/unused => ../unused\n",
			"cmd/sidecar/main.go": "package main\n\nimport \"k8s.io/api\"\n\nfunc main() { println(api.Version) }\n",
		},
		"k8s.io/api@v0.1.0": api("0.1.0"),
		"k8s.io/api@v0.2.0": api("0.2.0"),
	})
	b := &Builder{Cache: t.TempDir(), Env: moduleEnv(t, proxy)}
	files, err := b.ensure(t.Context(), []recipe{{
		name: "sidecar", files: []string{"sidecar"}, packages: []string{"example.org/sidecar/cmd/sidecar"}, module: "example.org/sidecar@v1.0.0",
	}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("0.2.0", say(t, files["sidecar"])); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}
}

// moduleEnv is an environment whose go command knows only the proxy's modules.
func moduleEnv(t *testing.T, proxy string) []string {
	t.Helper()
	cache := t.TempDir()
	env := append(os.Environ(), "GOPROXY="+proxy, "GOSUMDB=off", "GOPRIVATE=", "GOMODCACHE="+cache)
	t.Cleanup(func() {
		// The go command makes the folders of modules read-only.
		err := filepath.WalkDir(cache, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && entry.IsDir() {
				err = os.Chmod(path, 0o700) //nolint:gosec // a folder must be searchable
			}
			return err
		})
		if err != nil {
			t.Errorf("make the module cache removable: %v", err)
		}
	})
	return env
}

// moduleProxy serves modules, given by module@version and file, as the go
// command asks for them: https://go.dev/ref/mod#goproxy-protocol
func moduleProxy(t *testing.T, modules map[string]map[string]string) string {
	t.Helper()
	answers := map[string][]byte{}
	for module, files := range modules {
		path, version, _ := strings.Cut(module, "@")
		var packed bytes.Buffer
		archive := zip.NewWriter(&packed)
		for name, content := range files {
			file, err := archive.Create(module + "/" + name)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := file.Write([]byte(content)); err != nil {
				t.Fatal(err)
			}
		}
		if err := archive.Close(); err != nil {
			t.Fatal(err)
		}
		at := "/" + filepath.Join(path, "@v", version)
		answers[at+".info"] = []byte(`{"Version":"` + version + `"}`)
		answers[at+".mod"] = []byte(files["go.mod"])
		answers[at+".zip"] = packed.Bytes()
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, ok := answers[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		if _, err := w.Write(answer); err != nil {
			t.Errorf("answer %s: %v", r.URL.Path, err)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}
