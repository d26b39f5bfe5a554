package plugin

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
)

const (
	redacted = "REDACTED"
	// shortestSecret is what is looked for wherever it occurs. Shorter values,
	// such as "true" or "80", occur anywhere.
	shortestSecret = 6
)

// redactor takes secrets out. Every value that it once learned to be secret is
// taken out of all text, wherever it came from.
type redactor struct {
	secrets  map[string]bool
	patterns []pattern
}

// pattern is how something secret looks, and what is left of it.
type pattern struct {
	like *regexp.Regexp
	left string
}

func newRedactor() *redactor {
	r := &redactor{secrets: map[string]bool{}}
	for like, left := range map[string]string{
		// JSON Web Tokens, as service accounts and OIDC have them.
		`eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(\.[A-Za-z0-9_-]*)?`:                redacted,
		`(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----`: redacted,
		`(?i)\b(bearer|basic) +[A-Za-z0-9._~+/=-]{8,}`:                              "${1} " + redacted,
		`\b(ghp|gho|ghs|github_pat|glpat|xox[abp])[-_][A-Za-z0-9_-]{10,}`:           redacted,
		`\bAKIA[A-Z0-9]{16}\b`: redacted,
		// A name that says so, and its value: in YAML, JSON, flags and URLs.
		`(?i)(["']?[\w.-]*(?:password|passwd|secret[_-]?key|api[_-]?key|access[_-]?key|auth[_-]?token|client-key-data)["']?\s*[:=]\s*["']?)[^\s"',}&]{3,}`: "${1}" + redacted,
		`(?i)(--[\w-]*(?:token|password|secret)["']?[=\s]+["']?(?:-\s+)?)[^\s"',-][^\s"',]{2,}`:                                                            "${1}" + redacted,
		`([a-z][a-z0-9+.-]*://[^/\s:@]*:)[^/\s@]+@`: "${1}" + redacted + "@",
	} {
		r.patterns = append(r.patterns, pattern{regexp.MustCompile(like), left})
	}
	return r
}

// learn takes a user's own credentials for secret.
func (r *redactor) learn(config *rest.Config) {
	for _, secret := range []string{config.BearerToken, config.Password, string(config.KeyData)} {
		r.add(secret)
	}
}

// add takes a value for secret, as it is and in base64.
func (r *redactor) add(secret string) {
	secret = strings.TrimSpace(secret)
	if len(secret) < shortestSecret {
		return
	}
	r.secrets[secret], r.secrets[base64.StdEncoding.EncodeToString([]byte(secret))] = true, true
	for line := range strings.Lines(secret) {
		if line = strings.TrimSpace(line); strings.Contains(secret, "\n") && len(line) >= 4*shortestSecret {
			r.secrets[line] = true // a file whose lines YAML indents
		}
	}
	if stored, err := clientcmd.Load([]byte(secret)); err == nil {
		for _, user := range stored.AuthInfos {
			for _, one := range []string{user.Token, user.Password, string(user.ClientKeyData)} {
				if one != secret {
					r.add(one)
				}
			}
		}
	}
}

// text takes secrets out of any text, the longest first.
func (r *redactor) text(text string) string {
	known := slices.SortedFunc(maps.Keys(r.secrets), func(a, b string) int { return len(b) - len(a) })
	for _, secret := range known {
		text = strings.ReplaceAll(text, secret, redacted)
	}
	for _, p := range r.patterns {
		text = p.like.ReplaceAllString(text, p.left)
	}
	return text
}

// objects writes objects as YAML, without what is secret in them.
func (r *redactor) objects(objects []unstructured.Unstructured) (string, error) {
	var out strings.Builder
	for i := range objects {
		object := objects[i].DeepCopy()
		object.SetManagedFields(nil)
		annotations := object.GetAnnotations()
		delete(annotations, "kubectl.kubernetes.io/last-applied-configuration")
		object.SetAnnotations(annotations)
		if object.GetKind() == "Secret" {
			r.secret(object)
		}
		environment(object.Object)
		configuration(object)
		content, err := yaml.Marshal(object.Object)
		if err != nil {
			return "", fmt.Errorf("write %s: %w", title(object), err)
		}
		printf(&out, "---\n%s", content)
	}
	return out.String(), nil
}

// secret leaves a Secret's keys, and how long their values are.
func (r *redactor) secret(object *unstructured.Unstructured) {
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

// environment takes out the values of environment variables, wherever
// containers are; where they come from stays.
func environment(value any) {
	switch at := value.(type) {
	case map[string]any:
		for key, child := range at {
			if variables, ok := child.([]any); ok && key == "env" {
				hide(variables)
			}
			environment(child)
		}
	case []any:
		for _, child := range at {
			environment(child)
		}
	}
}

// configuration does the same in akd's, which is a text in a ConfigMap, and
// adds variables to pods.
func configuration(object *unstructured.Unstructured) {
	text, found, err := unstructured.NestedString(object.Object, "data", "akd.yaml")
	if err != nil || !found || object.GetKind() != "ConfigMap" {
		return
	}
	left := redacted // what cannot be read cannot be looked through
	var content map[string]any
	if err := yaml.Unmarshal([]byte(text), &content); err == nil {
		environment(content)
		if encoded, err := yaml.Marshal(content); err == nil {
			left = string(encoded)
		}
	}
	if err := unstructured.SetNestedField(object.Object, left, "data", "akd.yaml"); err != nil {
		delete(object.Object, "data")
	}
}

func hide(variables []any) {
	for _, one := range variables {
		if variable, ok := one.(map[string]any); ok && variable["value"] != nil {
			variable["value"] = redacted
		}
	}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
