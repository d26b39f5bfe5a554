package translate

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// Each golden is one decision about Services, as in TestGoldens: service.yaml
// and slice.yaml are local, want/… the remote copies, "none" where there is none.
func TestServiceGoldens(t *testing.T) {
	files, err := filepath.Glob("testdata/services/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no goldens: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			want := &txtar.Archive{Comment: archive.Comment}
			mapper, service, slice := testMapper(), &corev1.Service{}, &discoveryv1.EndpointSlice{}
			into := map[string]any{"mapper.yaml": mapper, "service.yaml": service, "slice.yaml": slice}
			for _, part := range archive.Files {
				if !strings.HasPrefix(part.Name, "want/") {
					want.Files = append(want.Files, part)
					decode(t, part.Data, into[part.Name])
				}
			}
			serviceBefore, sliceBefore := service.DeepCopy(), slice.DeepCopy()
			copied, slices := siteOf(mapper, service.Namespace).Service(service), siteOf(mapper, slice.Namespace).EndpointSlice(slice, service)
			want.Files = append(want.Files, copyFile(t, "want/service.yaml", copied), copyFile(t, "want/slice.yaml", slices))
			if diff := cmp.Diff(serviceBefore, service) + cmp.Diff(sliceBefore, slice); diff != "" {
				t.Errorf("an argument was changed (-before +after):\n%s", diff)
			}
			if copied != nil && !SameService(copied, siteOf(mapper, service.Namespace).Service(service)) ||
				slices != nil && !SameEndpointSlice(slices, siteOf(mapper, slice.Namespace).EndpointSlice(slice, service)) {
				t.Error("a copy is not the same as itself: it would be written for ever")
			}
			golden(t, file, string(txtar.Format(want)))
		})
	}
}

func copyFile[T any](t *testing.T, name string, object *T) txtar.File {
	t.Helper()
	if object == nil {
		return txtar.File{Name: name, Data: []byte("none\n")}
	}
	return txtar.File{Name: name, Data: encodeYAML(t, object)}
}

// An address of a Service never changes: the copy has to be made anew.
func TestFixedService(t *testing.T) {
	t.Parallel()
	have := &corev1.Service{Spec: corev1.ServiceSpec{ClusterIP: "10.96.0.7", ClusterIPs: []string{"10.96.0.7"}}}
	tests := map[string]struct {
		reason string
		change func(*corev1.Service)
		want   bool
	}{
		"same":     {"the same addresses need no new Service", func(*corev1.Service) {}, false},
		"port":     {"ports can be updated", func(s *corev1.Service) { s.Spec.Ports = []corev1.ServicePort{{Port: 80}} }, false},
		"address":  {"another address needs a new Service", func(s *corev1.Service) { s.Spec.ClusterIP = "10.96.0.8" }, true},
		"families": {"so does a second one", func(s *corev1.Service) { s.Spec.ClusterIPs = []string{"10.96.0.7", "fd00::7"} }, true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := have.DeepCopy()
			tc.change(want)
			if got := FixedService(have, want); got != tc.want {
				t.Errorf("%s: got %v", tc.reason, got)
			}
		})
	}
}

func TestClusterDNS(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		reason  string
		service *corev1.Service
		want    []string
	}{
		"none":     {"a cluster may have no DNS", nil, nil},
		"headless": {"without an address nobody can ask", &corev1.Service{Spec: corev1.ServiceSpec{ClusterIP: corev1.ClusterIPNone}}, nil},
		"one":      {"one address", &corev1.Service{Spec: corev1.ServiceSpec{ClusterIP: "10.96.0.10"}}, []string{"10.96.0.10"}},
		"dual stack": {"one of each family",
			&corev1.Service{Spec: corev1.ServiceSpec{ClusterIP: "10.96.0.10", ClusterIPs: []string{"10.96.0.10", "fd00::10"}}},
			[]string{"10.96.0.10", "fd00::10"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.want, ClusterDNS(tc.service)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}
