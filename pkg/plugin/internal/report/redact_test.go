package report

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"
)

func TestRedactText(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason  string
		secrets []string
		text    string
		want    string
	}{
		"Nothing":  {reason: "what explains stays", text: "pod web-0 on 192.0.2.1", want: "pod web-0 on 192.0.2.1"},
		"Learned":  {reason: "wherever it occurs", secrets: []string{"hunter22"}, text: "a hunter22 b", want: "a REDACTED b"},
		"Base64":   {reason: "in both forms", secrets: []string{"hunter22"}, text: "aHVudGVyMjI=", want: "REDACTED"},
		"Short":    {reason: "these occur anywhere", secrets: []string{"true"}, text: "it is true", want: "it is true"},
		"Overlap":  {reason: "the longest first", secrets: []string{"secret", "secret-and-more"}, text: "secret-and-more", want: "REDACTED"},
		"Bearer":   {reason: "the scheme stays", text: "Authorization: Bearer abcdefgh1234", want: "Authorization: Bearer REDACTED"},
		"JWT":      {reason: "they are all alike", text: "t=eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJrOHMifQ.c2ln", want: "t=REDACTED"},
		"Flag":     {reason: "in command lines", text: "--db-password=topsecret -v", want: "--db-password=REDACTED -v"},
		"URL":      {reason: "the user stays", text: "https://me:topsecret@example.com/", want: "https://me:REDACTED@example.com/"},
		"Key":      {reason: "over several lines", text: "-----BEGIN RSA PRIVATE KEY-----\nx\n-----END RSA PRIVATE KEY-----", want: "REDACTED"},
		"Provider": {reason: "tokens of code hosts", text: "ghp_0123456789abcdef", want: "REDACTED"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRedactor()
			for _, secret := range tc.secrets {
				r.add(secret)
			}
			if got := r.text(tc.text); got != tc.want {
				t.Errorf("%s: got %q, want %q", tc.reason, got, tc.want)
			}
		})
	}
}

// A Secret keeps its keys and sizes, a container the names of its variables, and
// what was in either is secret everywhere else.
func TestRedactObjects(t *testing.T) {
	t.Parallel()
	var objects []unstructured.Unstructured
	for _, manifest := range []string{
		`{apiVersion: v1, kind: Secret, metadata: {name: a}, data: {key: bWFya2VyLXNlY3JldA==}, stringData: {plain: marker-plain}}`,
		`{apiVersion: v1, kind: Pod, metadata: {name: b}, spec: {containers: [{name: c, env: [{name: A, value: marker-env},
		  {name: B, valueFrom: {}}]}]}}`,
		`{apiVersion: v1, kind: ConfigMap, metadata: {name: d}, data: {akd.yaml: "pods: {env: [{name: A, value: marker-config}]}"}}`,
		`{apiVersion: v1, kind: ConfigMap, metadata: {name: e}, data: {akd.yaml: "marker-broken: ["}}`,
	} {
		var object map[string]any
		if err := yaml.Unmarshal([]byte(manifest), &object); err != nil {
			t.Fatal(err)
		}
		objects = append(objects, unstructured.Unstructured{Object: object})
	}
	r := newRedactor()
	r.addCredentials(&rest.Config{BearerToken: "marker-token"})
	text, err := r.objects(objects)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(text, "marker") {
		t.Errorf("a secret is left:\n%s", text)
	}
	for _, want := range []string{"key: REDACTED (13 bytes)", "plain: REDACTED (12 bytes)", "name: A", "valueFrom: {}"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing:\n%s", want, text)
		}
	}
	if diff := cmp.Diff("REDACTED REDACTED", r.text("marker-secret marker-token")); diff != "" {
		t.Errorf("later text (-want +got):\n%s", diff)
	}
}
