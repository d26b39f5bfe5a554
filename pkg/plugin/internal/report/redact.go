package report

import (
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/output"
)

const (
	// redacted stands where a secret was.
	redacted = "REDACTED"
	// shortestSecret is the shortest value that is redacted wherever it occurs.
	// Shorter ones, such as "true" or "80", occur everywhere.
	shortestSecret = 6
	// shortestHidden is the same for what containers are given, which is rarely a
	// secret.
	shortestHidden = 8
	// shortestLine is the shortest line of a secret file that is.
	shortestLine = 4 * shortestSecret
)

// redactor replaces secrets. Everything is learned first, then written: what is a
// secret in one place is replaced wherever it occurs.
type redactor struct {
	shapes   map[string]*shape
	config   *shape
	patterns []pattern

	secrets  map[string]bool
	hidden   map[string]bool   // values that containers are given: secret unless they are names
	names    map[string]bool   // that are shown
	replacer *strings.Replacer // of all these, once it is needed
}

func newRedactor() *redactor {
	return &redactor{
		shapes:   shapes(),
		config:   shapeOfConfiguration(),
		patterns: patterns(),
		secrets:  map[string]bool{},
		hidden:   map[string]bool{},
		names:    map[string]bool{},
	}
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
	if r.replacer == nil {
		secrets := maps.Clone(r.secrets)
		for value := range r.hidden {
			if !r.names[value] {
				secrets[value] = true
			}
		}
		var pairs []string
		for _, secret := range slices.SortedFunc(maps.Keys(secrets), func(a, b string) int { return len(b) - len(a) }) {
			pairs = append(pairs, secret, redacted)
		}
		r.replacer = strings.NewReplacer(pairs...)
	}
	text = r.replacer.Replace(text)
	for _, p := range r.patterns {
		text = p.secret.ReplaceAllString(text, p.replacement)
	}
	return text
}

// learn learns what is secret in objects, and which names are none.
func (r *redactor) learn(objects []unstructured.Unstructured) {
	r.replacer = nil
	for i := range objects {
		object := &objects[i]
		if object.GetKind() == "Secret" {
			for _, value := range secretData(object) {
				r.add(value)
			}
			continue
		}
		walk(object.Object, r.shapeOf(object), "", func(field, text string, shown bool) string {
			if shown && field != "message" {
				r.addName(text)
			}
			if !shown && (field == "env.value" || field == "args" || field == "command" || field == "httpHeaders.value") {
				r.addHidden(text)
			}
			return text
		})
	}
}

// addName adds a name that is shown, and its words: they are no secrets.
func (r *redactor) addName(name string) {
	r.names[name] = true
	for word := range strings.FieldsFuncSeq(name, func(c rune) bool { return !unicode.IsLetter(c) && !unicode.IsDigit(c) }) {
		r.names[word] = true
	}
}

// addHidden adds what a container is given, and what follows = or : in it. It leaves
// out paths and sentences.
func (r *redactor) addHidden(value string) {
	_, assigned, _ := strings.Cut(value, "=")
	_, password, _ := strings.Cut(value, ":")
	for _, part := range []string{value, assigned, password} {
		if len(part) >= shortestHidden && !strings.HasPrefix(part, "/") && !strings.ContainsFunc(part, unicode.IsSpace) {
			r.hidden[part] = true
		}
	}
}

// objects returns objects as YAML, with the text of all fields replaced that are not
// listed in shown.txt, and the secrets in the others.
func (r *redactor) objects(objects []unstructured.Unstructured) (string, error) {
	var out strings.Builder
	for i := range objects {
		object := objects[i].DeepCopy()
		object.SetManagedFields(nil)
		sizes := map[string]any{}
		for key, value := range secretData(object) {
			sizes[key] = fmt.Sprintf("%s (%d bytes)", redacted, len(value))
		}
		shown := walk(object.Object, r.shapeOf(object), "", func(_, text string, shown bool) string {
			if shown {
				return r.text(text)
			}
			return redacted
		})
		fields, _ := shown.(map[string]any)
		if object.GetKind() == "Secret" {
			delete(fields, "stringData")
			fields["data"] = sizes
		}
		r.showConfiguration(object, fields)
		content, err := output.YAML(fields)
		if err != nil {
			return "", fmt.Errorf("encode %s: %w", kubeclient.Title(object), err)
		}
		out.WriteString("---\n")
		out.Write(content)
	}
	return out.String(), nil
}

// shapeOf returns what is shown of an object.
func (r *redactor) shapeOf(object *unstructured.Unstructured) *shape {
	at := r.shapes[object.GetKind()]
	if at == nil {
		at = r.shapes[""]
	}
	reason, _, _ := unstructured.NestedString(object.Object, "reason")
	ours := object.GetNamespace() == contract.SystemNamespace &&
		object.GetLabels()[kubeclient.LabelManagedBy] == kubeclient.FieldManager
	switch {
	case object.GetKind() == "Event" && slices.Contains(quotes(), reason):
		at = at.clone()
		delete(at.fields, "message")
	case object.GetKind() == "ConfigMap" && ours:
		at = at.clone()
		at.fields["data"] = &shape{fields: map[string]*shape{"*": {}, configKey: nil}}
	}
	return at
}

// quotes are the reasons of events whose messages quote the output of a probe, or the
// command of a hook.
func quotes() []string {
	return []string{"Unhealthy", "ProbeWarning", "FailedPostStartHook", "FailedPreStopHook"}
}

// walk returns a copy of a value with its texts replaced. visit gets the name of the
// field, in a list of named objects with that of the list, the text, and whether it
// is shown.
func walk(value any, at *shape, field string, visit func(field, text string, shown bool) string) any {
	switch v := value.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, child := range v {
			below := name
			if name == "value" {
				below = field + "." + name
			}
			out[name] = walk(child, at.child(name), below, visit)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, element := range v {
			out[i] = walk(element, at, field, visit)
		}
		return out
	case string:
		if v == "" {
			return v
		}
		return visit(field, v, at.shows())
	default:
		return value
	}
}

// secretData returns the values of a Secret by key.
func secretData(object *unstructured.Unstructured) map[string]string {
	content := map[string]string{}
	if object.GetKind() != "Secret" {
		return content
	}
	for _, field := range []string{"data", "stringData"} {
		values, _, err := unstructured.NestedMap(object.Object, field)
		if err != nil {
			continue
		}
		for key, value := range values {
			content[key] = fmt.Sprint(value)
			if raw, err := base64.StdEncoding.DecodeString(content[key]); field == "data" && err == nil {
				content[key] = string(raw)
			}
		}
	}
	return content
}

// configKey is the key of akd's configuration in its ConfigMap.
const configKey = "akd.yaml"

// showConfiguration shows akd's configuration, a text in a ConfigMap, without what is
// no field of it and without the values of environment variables.
func (r *redactor) showConfiguration(object *unstructured.Unstructured, fields map[string]any) {
	text, found, err := unstructured.NestedString(object.Object, "data", configKey)
	if err != nil || !found || object.GetKind() != "ConfigMap" {
		return
	}
	data, _ := fields["data"].(map[string]any)
	data[configKey] = redacted // what cannot be decoded cannot be searched
	var content map[string]any
	if yaml.Unmarshal([]byte(text), &content) != nil {
		return
	}
	shown := walk(content, r.config, "", func(_, text string, shown bool) string {
		if shown {
			return r.text(text)
		}
		return redacted
	})
	if encoded, err := output.YAML(shown); err == nil {
		data[configKey] = string(encoded)
	}
}
