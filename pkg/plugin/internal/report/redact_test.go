package report

import (
	"encoding/base64"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
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
		"Scheme":   {reason: "any scheme", text: `"Authorization": "Token abc"`, want: `"Authorization": "Token REDACTED"`},
		"JWT":      {reason: "they are all alike", text: "t=eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJrOHMifQ.c2ln", want: "t=REDACTED"},
		"Flag":     {reason: "in command lines", text: "--db-password=topsecret -v", want: "--db-password=REDACTED -v"},
		"Space":    {reason: "a flag and its value", text: "psql --password topsecret", want: "psql --password REDACTED"},
		"List":     {reason: "a flag and its value in JSON", text: `["--password","topsecret"]`, want: `["--password","REDACTED"]`},
		"Short -p": {reason: "as MySQL has it", text: "mysqldump -h db -phunter2 all", want: "mysqldump -h db -pREDACTED all"},
		"Short -u": {reason: "as curl has it", text: "curl -u me:topsecret http://db", want: "curl -u me:REDACTED http://db"},
		"URL":      {reason: "the user stays", text: "https://me:topsecret@example.com/", want: "https://me:REDACTED@example.com/"},
		"URLToken": {reason: "a token as the user", text: "https://topsecret@example.com/", want: "https://REDACTED@example.com/"},
		"Query":    {reason: "in URLs", text: "GET /a?access_token=topsecret&b=1", want: "GET /a?access_token=REDACTED&b=1"},
		"Kubeconf": {reason: "a kubeconfig", text: "token: topsecret\nclient-key-data: c2Vj", want: "token: REDACTED\nclient-key-data: REDACTED"},
		"Key":      {reason: "over several lines", text: "-----BEGIN RSA PRIVATE KEY-----\nx\n-----END RSA PRIVATE KEY-----", want: "REDACTED"},
		"OneLine":  {reason: "as in a log", text: `k="-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\n"`, want: `k="REDACTED\n"`},
		"CutKey":   {reason: "without its end", text: "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE\nIDx", want: "REDACTED"},
		"GitHub":   {reason: "tokens of code hosts", text: "ghp_0123456789abcdef", want: "REDACTED"},
		"Vault":    {reason: "tokens of Vault", text: "token hvs.CAESIJ0123456789 s.0123456789abcdefghijklmn", want: "token REDACTED REDACTED"},
		"AWS":      {reason: "access keys", text: "AKIAIOSFODNN7EXAMPLE ASIAIOSFODNN7EXAMPLE", want: "REDACTED REDACTED"},
		"AWSKey":   {reason: "and their secrets", text: "aws_secret_access_key = wJalrXUtnFEMI/K7", want: "aws_secret_access_key = REDACTED"},
		"OfAKD":    {reason: "names of Secrets are none", text: "secret=shop/db token-expires", want: "secret=shop/db token-expires"},
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

// decode reads objects in YAML, one for each text.
func decode(t *testing.T, manifests ...string) (objects []unstructured.Unstructured) {
	t.Helper()
	for _, manifest := range manifests {
		var object map[string]any
		if err := yaml.Unmarshal([]byte(manifest), &object); err != nil {
			t.Fatal(err)
		}
		objects = append(objects, unstructured.Unstructured{Object: object})
	}
	return objects
}

// A Secret keeps its keys and sizes, a container the names of its variables, and
// what was in either is secret everywhere else.
func TestRedactObjects(t *testing.T) {
	t.Parallel()
	objects := decode(t,
		`{apiVersion: v1, kind: Secret, metadata: {name: a}, data: {key: bWFya2VyLXNlY3JldA==}, stringData: {plain: marker-plain}}`,
		`{apiVersion: v1, kind: Pod, metadata: {name: b, annotations: {actual.vk/remote-node: worker-1,
		  kubectl.kubernetes.io/last-applied-configuration: marker-applied, example.com/note: marker-note}}, spec: {containers: [{name: c,
		  env: [{name: A, value: marker-env}, {name: B, valueFrom: {}}], command: [sh, -c, marker-command],
		  args: [-pmarker-arg, -u, me:marker-user],
		  livenessProbe: {httpGet: {port: web, path: /marker, httpHeaders: [{name: Authorization, value: marker-header}]}}}],
		  volumes: [{name: d, csi: {driver: csi.example.com, volumeAttributes: {password: marker-csi}}}]},
		  status: {message: 'it said marker-env',
		  containerStatuses: [{name: c, lastState: {terminated: {reason: Error, message: marker-end}}}]}}`,
		`{apiVersion: v1, kind: ConfigMap, metadata: {name: d}, data: {akd.yaml:
		  "pods: {env: [{name: A, value: marker-config}]}\nnodeName: vk\nunknown: marker-unknown"}}`,
		`{apiVersion: v1, kind: ConfigMap, metadata: {name: e}, data: {akd.yaml: "marker-broken: [", other: marker-foreign}}`,
		`{apiVersion: v1, kind: ConfigMap, metadata: {name: f, namespace: actual-system, labels: {app.kubernetes.io/managed-by: kubectl-actual}},
		  data: {vk-1: shop}}`,
		`{apiVersion: v1, kind: Event, metadata: {name: g}, reason: Unhealthy, message: marker-probe}`,
		`{apiVersion: v1, kind: Event, metadata: {name: h}, reason: Failed, message: 'no program marker-command in the image'}`,
		`{apiVersion: v1, kind: Node, metadata: {name: i, annotations: {example.com/join: marker-node}},
		  spec: {taints: [{key: a, effect: NoSchedule}]}}`,
		`{apiVersion: example.com/v1, kind: Unknown, metadata: {name: j}, spec: {password: marker-kind}}`,
	)
	r := newRedactor()
	r.addCredentials(&rest.Config{BearerToken: "marker-token"})
	r.learn(objects)
	text, err := r.objects(objects)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(text, "marker") {
		t.Errorf("a secret is left:\n%s", text)
	}
	for _, want := range []string{
		"key: REDACTED (13 bytes)", "plain: REDACTED (12 bytes)", "name: A", "valueFrom: {}", "actual.vk/remote-node: worker-1",
		"message: it said REDACTED", "port: web", "driver: csi.example.com", "vk-1: shop", "nodeName: vk", "effect: NoSchedule",
		"message: no program REDACTED in the image", "reason: Unhealthy", "name: j",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing:\n%s", want, text)
		}
	}
	later := "marker-secret marker-token marker-env marker-header marker-arg marker-user"
	if diff := cmp.Diff("REDACTED REDACTED REDACTED REDACTED marker-arg REDACTED", r.text(later)); diff != "" {
		t.Errorf("later text (-want +got):\n%s", diff)
	}
}

// The value of a variable is often a name, without which a log explains nothing.
func TestNamesAreNoSecrets(t *testing.T) {
	t.Parallel()
	objects := decode(t, `{apiVersion: v1, kind: Pod, metadata: {name: checkout-production-0, namespace: shop}, spec: {containers: [{name: a,
	  env: [{name: STAGE, value: production}, {name: SELF, value: checkout-production-0}, {name: KEY, value: unguessable}]}]}}`)
	r := newRedactor()
	r.learn(objects)
	if got, want := r.text("pod checkout-production-0: unguessable"), "pod checkout-production-0: REDACTED"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// planter fills every text of a value with a different mark, and remembers where.
type planter struct {
	paths []string
}

func (p *planter) mark(path string) string {
	p.paths = append(p.paths, path)
	return fmt.Sprintf("planted-%04d-secret", len(p.paths)-1)
}

func (p *planter) plant(value reflect.Value, path string) {
	switch value.Kind() {
	case reflect.String:
		value.SetString(p.mark(path))
	case reflect.Pointer:
		value.Set(reflect.New(value.Type().Elem()))
		p.plant(value.Elem(), path)
	case reflect.Slice:
		if value.Type().Elem().Kind() == reflect.Uint8 {
			value.SetBytes([]byte(base64.StdEncoding.EncodeToString([]byte(p.mark(path)))))
			return
		}
		value.Set(reflect.MakeSlice(value.Type(), 1, 1))
		p.plant(value.Index(0), path)
	case reflect.Map:
		key, element := reflect.New(value.Type().Key()).Elem(), reflect.New(value.Type().Elem()).Elem()
		key.SetString("key")
		p.plant(element, path+".*")
		value.Set(reflect.MakeMap(value.Type()))
		value.SetMapIndex(key, element)
	case reflect.Struct:
		p.plantFields(value, path)
	}
}

func (p *planter) plantFields(value reflect.Value, path string) {
	for i := range value.NumField() {
		field := value.Type().Field(i)
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		switch {
		case !field.IsExported() || name == "managedFields": // quantities, times
		case options == "inline" || field.Anonymous && name == "":
			p.plant(value.Field(i), path)
		default:
			p.plant(value.Field(i), strings.TrimPrefix(path+"."+name, "."))
		}
	}
}

// Whatever field of a pod has a secret in it, the report shows it only if the field
// is listed, and the list is documented.
func TestEveryFieldOfAPodIsHiddenUnlessListed(t *testing.T) {
	t.Parallel()
	var (
		pod corev1.Pod
		p   planter
	)
	p.plant(reflect.ValueOf(&pod).Elem(), "")
	pod.Kind, pod.APIVersion = "Pod", "v1"
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&pod)
	if err != nil {
		t.Fatal(err)
	}
	objects := []unstructured.Unstructured{{Object: object}}
	text, err := newRedactor().objects(objects) // what is learned would hide a mark in a second place
	if err != nil {
		t.Fatal(err)
	}
	var shown []string
	for i, path := range p.paths {
		if strings.Contains(text, fmt.Sprintf("planted-%04d-secret", i)) {
			shown = append(shown, path)
		}
	}
	if len(p.paths) < 300 || len(shown) < 100 || len(shown) > len(p.paths)/2 {
		t.Errorf("%d of %d fields are shown", len(shown), len(p.paths))
	}
	pattern := shapes()["Pod"]
	for _, path := range shown {
		at := pattern
		for name := range strings.SplitSeq(path, ".") {
			at = at.child(name)
		}
		if !at.shows() {
			t.Errorf("%s is shown, but not listed", path)
		}
	}
	for _, path := range []string{
		"metadata.annotations.*", "spec.containers.args", "spec.containers.command", "spec.containers.env.value",
		"spec.initContainers.livenessProbe.httpGet.httpHeaders.value", "spec.containers.lifecycle.preStop.exec.command",
		"spec.volumes.csi.volumeAttributes.*", "spec.volumes.flexVolume.options.*", "status.containerStatuses.state.terminated.message",
		"spec.containers.securityContext.windowsOptions.gmsaCredentialSpec", "spec.securityContext.sysctls.value",
	} {
		if !slices.Contains(p.paths, path) || slices.Contains(shown, path) {
			t.Errorf("%s is not planted, or shown", path)
		}
	}
	doc, err := os.ReadFile("../../../../docs/report.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(doc), "\n"+strings.TrimSpace(shownFields)+"\n") {
		t.Error("docs/report.md does not quote shown.txt")
	}
}

// FuzzRedact holds that a secret is found in whatever usually surrounds it.
func FuzzRedact(f *testing.F) {
	for _, secret := range []string{"hunter22hunter22", "Zm9vYmFyYmF6cXV4", "p4ss.w0rd-_x", "0123456789abcdef"} {
		f.Add(secret, "at the start ", " and after")
	}
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	only := func(text, allowed string) bool {
		return !strings.ContainsFunc(text, func(c rune) bool { return !strings.ContainsRune(allowed, c) })
	}
	f.Fuzz(func(t *testing.T, secret, before, after string) {
		if len(secret) < 10 || !only(secret, letters+"._-") || secret[0] == '-' || !only(before+after, letters+" \n") {
			return
		}
		forms := []string{
			"Authorization: Bearer %s", "password=%s", "--token %s", "curl -u me:%s", "https://me:%s@example.com", "token: %s",
			"mysql -p%s", `{"api_key":"%s"}`, "-----BEGIN PRIVATE KEY-----\n%s\n-----END PRIVATE KEY-----",
		}
		if only(secret, letters+"_-") {
			forms = append(forms, "hvs.%s", "ghp_%s", "glpat-%s", "xoxb-%s")
		}
		r := newRedactor()
		for _, form := range forms {
			line := fmt.Sprintf(form, secret)
			if got := r.text(before + "\n" + line + "\n" + after); strings.Contains(got, line) {
				t.Errorf("%q is left: %q", line, got)
			}
		}
	})
}
