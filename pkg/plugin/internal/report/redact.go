package report

import (
	"encoding/base64"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/output"
)

const (
	// redacted stands where a secret was.
	redacted = "REDACTED"
	// shortestSecret is the shortest value that is redacted wherever it occurs.
	// Shorter ones, such as "true" or "80", occur everywhere.
	shortestSecret = 6
	// shortestLine is the shortest line of a secret file that is.
	shortestLine = 4 * shortestSecret
)

// redactor replaces secrets. What it once learned to be secret, it replaces in
// all text, wherever that came from.
type redactor struct {
	secrets  map[string]bool
	patterns []pattern
}

// pattern is what a secret looks like, and what replaces it.
type pattern struct {
	secret      *regexp.Regexp
	replacement string
}

// secretNames are names, or parts of names, whose values are secret.
const secretNames = `password|passwd|secret[_-]?key|api[_-]?key|access[_-]?key|auth[_-]?token|client-key-data`

func newRedactor() *redactor {
	return &redactor{secrets: map[string]bool{}, patterns: []pattern{
		// JSON Web Tokens, as ServiceAccounts and OIDC have them.
		{regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(\.[A-Za-z0-9_-]*)?`), redacted},
		{regexp.MustCompile(`(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----`), redacted},
		{regexp.MustCompile(`(?i)\b(bearer|basic) +[A-Za-z0-9._~+/=-]{8,}`), "${1} " + redacted},
		{regexp.MustCompile(`\b(ghp|gho|ghs|github_pat|glpat|xox[abp])[-_][A-Za-z0-9_-]{10,}`), redacted},
		{regexp.MustCompile(`\bAKIA[A-Z0-9]{16}\b`), redacted},
		// A telling name, and its value: in YAML, JSON, flags and URLs.
		{regexp.MustCompile(`(?i)(["']?[\w.-]*(?:` + secretNames + `)["']?\s*[:=]\s*["']?)[^\s"',}&]{3,}`), "${1}" + redacted},
		{regexp.MustCompile(`(?i)(--[\w-]*(?:token|password|secret)["']?[=\s]+["']?(?:-\s+)?)[^\s"',-][^\s"',]{2,}`), "${1}" + redacted},
		{regexp.MustCompile(`([a-z][a-z0-9+.-]*://[^/\s:@]*:)[^/\s@]+@`), "${1}" + redacted + "@"},
	}}
}

// addCredentials makes the user's own credentials secret.
func (r *redactor) addCredentials(config *rest.Config) {
	for _, secret := range []string{config.BearerToken, config.Password, string(config.KeyData)} {
		r.add(secret)
	}
}

// add makes a value secret, in plain text and in base64, and the credentials in it
// if it is a kubeconfig.
func (r *redactor) add(secret string) {
	secret = strings.TrimSpace(secret)
	if len(secret) < shortestSecret {
		return
	}
	r.secrets[secret], r.secrets[base64.StdEncoding.EncodeToString([]byte(secret))] = true, true
	for line := range strings.Lines(secret) {
		if line = strings.TrimSpace(line); strings.Contains(secret, "\n") && len(line) >= shortestLine {
			r.secrets[line] = true // a file whose lines YAML indents
		}
	}
	stored, err := clientcmd.Load([]byte(secret))
	if err != nil {
		return
	}
	for _, user := range stored.AuthInfos {
		for _, credential := range []string{user.Token, user.Password, string(user.ClientKeyData)} {
			if credential != secret {
				r.add(credential)
			}
		}
	}
}

// text replaces secrets in a text, the longest first.
func (r *redactor) text(text string) string {
	secrets := slices.SortedFunc(maps.Keys(r.secrets), func(a, b string) int { return len(b) - len(a) })
	for _, secret := range secrets {
		text = strings.ReplaceAll(text, secret, redacted)
	}
	for _, p := range r.patterns {
		text = p.secret.ReplaceAllString(text, p.replacement)
	}
	return text
}

// objects returns objects as YAML, with their secrets replaced.
func (r *redactor) objects(objects []unstructured.Unstructured) (string, error) {
	var out strings.Builder
	for i := range objects {
		object := objects[i].DeepCopy()
		object.SetManagedFields(nil)
		annotations := object.GetAnnotations()
		delete(annotations, "kubectl.kubernetes.io/last-applied-configuration")
		object.SetAnnotations(annotations)
		if object.GetKind() == "Secret" {
			r.hideSecret(object)
		}
		hideEnvironment(object.Object)
		hideConfiguration(object)
		content, err := output.YAML(object.Object)
		if err != nil {
			return "", fmt.Errorf("encode %s: %w", kubeclient.Title(object), err)
		}
		out.WriteString("---\n")
		out.Write(content)
	}
	return out.String(), nil
}

// hideSecret keeps a Secret's keys and the sizes of its values.
func (r *redactor) hideSecret(object *unstructured.Unstructured) {
	sizes := map[string]any{}
	for _, field := range []string{"data", "stringData"} {
		values, _, err := unstructured.NestedMap(object.Object, field)
		if err != nil {
			values = nil
		}
		for key, value := range values {
			text := fmt.Sprint(value)
			if raw, err := base64.StdEncoding.DecodeString(text); field == "data" && err == nil {
				text = string(raw)
			}
			r.add(text)
			sizes[key] = fmt.Sprintf("%s (%d bytes)", redacted, len(text))
		}
		delete(object.Object, field)
	}
	object.Object["data"] = sizes
}

// hideEnvironment replaces the values of environment variables, wherever there are
// containers. It keeps references.
func hideEnvironment(value any) {
	switch at := value.(type) {
	case map[string]any:
		for key, child := range at {
			if variables, ok := child.([]any); ok && key == "env" {
				hideVariables(variables)
			}
			hideEnvironment(child)
		}
	case []any:
		for _, child := range at {
			hideEnvironment(child)
		}
	}
}

func hideVariables(variables []any) {
	for _, one := range variables {
		if variable, ok := one.(map[string]any); ok && variable["value"] != nil {
			variable["value"] = redacted
		}
	}
}

// hideConfiguration does the same in akd's configuration, a text in a ConfigMap,
// which can set environment variables of pods.
func hideConfiguration(object *unstructured.Unstructured) {
	text, found, err := unstructured.NestedString(object.Object, "data", "akd.yaml")
	if err != nil || !found || object.GetKind() != "ConfigMap" {
		return
	}
	shown := redacted // what cannot be decoded cannot be searched
	var content map[string]any
	if err := yaml.Unmarshal([]byte(text), &content); err == nil {
		hideEnvironment(content)
		if encoded, err := output.YAML(content); err == nil {
			shown = string(encoded)
		}
	}
	if err := unstructured.SetNestedField(object.Object, shown, "data", "akd.yaml"); err != nil {
		delete(object.Object, "data")
	}
}
