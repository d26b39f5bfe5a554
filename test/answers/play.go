package answers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
)

// Namespace is the one in which Play makes its requests. It must not exist.
const Namespace = "ak-answers"

// Node is the node of its pods, which nobody serves.
const Node = "ak-answers"

// quiet is for how long a watch reports nothing once it has reported everything.
const quiet = time.Second

// Play makes the requests of a script, one per line, and returns the answers. A line is
// one of
//
//	create pods|secrets|namespaces|claims|volumes NAME [finalizer]
//	get pods|secrets|claims|volumes NAME
//	delete pods|secrets|namespaces|claims|volumes NAME [grace=SECONDS] [uid=UID] [version=VERSION]
//	patch pods|claims|volumes NAME PATCH [status]
//	update secrets NAME VALUE [uid=UID] [version=VERSION]
//	list pods [version=VERSION]
//	token ACCOUNT pod=NAME [uid=UID]
//	watch
//	events
//
// in which @uid and @version are those that the object had when it was last answered,
// @old is the version before, and # begins a comment. A watch is one of pods, from the
// line on. prepared is called once the namespace has been created. Play returns an error
// if the script is wrong.
func Play(ctx context.Context, client kubernetes.Interface, script string, prepared func() error) (string, error) {
	p := &player{client: client, prepared: prepared, known: map[string]*known{}, uids: map[types.UID]int{}}
	defer func() {
		if p.watch != nil {
			p.watch.Stop()
		}
	}()
	for number, line := range strings.Split(script, "\n") {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		fmt.Fprintf(&p.out, "%s\n", strings.Join(words, " "))
		answer, err := p.play(ctx, p.filled(words))
		if refused, ok := errors.AsType[*apierrors.StatusError](err); ok {
			answer = refusal(refused.ErrStatus)
		} else if err != nil {
			return "", fmt.Errorf("line %d: %s: %w", number+1, line, err)
		}
		for said := range strings.SplitSeq(strings.TrimSuffix(answer, "\n"), "\n") {
			fmt.Fprintf(&p.out, "  %s\n", said)
		}
	}
	return p.out.String(), nil
}

// player is the state of a script.
type player struct {
	client   kubernetes.Interface
	prepared func() error
	out      strings.Builder
	known    map[string]*known // by kind and name
	uids     map[types.UID]int // in the order of their appearance
	watch    watch.Interface
}

// known is what was last answered about an object.
type known struct {
	uid          types.UID
	version, old string
}

// filled replaces what stands for a known value in a request.
func (p *player) filled(words []string) []string {
	if len(words) < 3 {
		return words
	}
	name := words[1] + " " + words[2]
	if words[0] == "token" {
		name = "pods " + strings.TrimPrefix(words[2], "pod=")
	}
	object := p.known[name]
	if object == nil {
		return words
	}
	filled := slices.Clone(words)
	for i := range filled {
		filled[i] = strings.NewReplacer("@uid", string(object.uid), "@version", object.version, "@old", object.old).Replace(filled[i])
	}
	return filled
}

func (p *player) play(ctx context.Context, words []string) (string, error) {
	switch words[0] {
	case "watch":
		return p.begin(ctx)
	case "events":
		return p.events(), nil
	case "list":
		return p.list(ctx, parse(words[2:]))
	case "token":
		return p.token(ctx, words[1], parse(words[2:]))
	case "delete":
		return p.delete(ctx, words[1], words[2], parse(words[3:]))
	}
	switch words[1] {
	case "claims":
		return p.writeClaim(ctx, words[0], words[2], words[3:])
	case "volumes":
		return p.writeVolume(ctx, words[0], words[2], words[3:])
	}
	return p.write(ctx, words[0]+" "+words[1], words[2], words[3:])
}

// options are the words of a request that set something.
type options map[string]string

func parse(words []string) options {
	parsed := options{}
	for _, word := range words {
		key, value, _ := strings.Cut(word, "=")
		parsed[key] = value
	}
	return parsed
}

// write makes a request that is answered with an object.
func (p *player) write(ctx context.Context, request, name string, rest []string) (string, error) {
	pods, secrets := p.client.CoreV1().Pods(Namespace), p.client.CoreV1().Secrets(Namespace)
	switch request {
	case "create namespaces":
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
		created, err := p.client.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{})
		if err == nil {
			err = p.prepared()
		}
		return p.describe("namespaces", created, err)
	case "create pods":
		created, err := pods.Create(ctx, pod(name, slices.Contains(rest, "finalizer")), metav1.CreateOptions{})
		return p.describe("pods", created, err)
	case "create secrets":
		created, err := secrets.Create(ctx, secret(name, "one"), metav1.CreateOptions{})
		return p.describe("secrets", created, err)
	case "get pods":
		found, err := pods.Get(ctx, name, metav1.GetOptions{})
		return p.describe("pods", found, err)
	case "get secrets":
		found, err := secrets.Get(ctx, name, metav1.GetOptions{})
		return p.describe("secrets", found, err)
	case "patch pods":
		patched, err := pods.Patch(ctx, name, types.StrategicMergePatchType, []byte(rest[0]), metav1.PatchOptions{}, rest[1:]...)
		return p.describe("pods", patched, err)
	case "update secrets":
		update := secret(name, rest[0])
		set := parse(rest[1:])
		update.UID, update.ResourceVersion = types.UID(set["uid"]), set["version"]
		updated, err := secrets.Update(ctx, update, metav1.UpdateOptions{})
		return p.describe("secrets", updated, err)
	}
	return "", fmt.Errorf("unknown request %q", request)
}

// pod returns one that no kubelet runs.
func pod(name string, finalizer bool) *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: Namespace},
		Spec: corev1.PodSpec{
			NodeName:                     Node,
			AutomountServiceAccountToken: new(false),
			Containers:                   []corev1.Container{{Name: "main", Image: "busybox"}},
		},
	}
	if finalizer {
		pod.Finalizers = []string{"example.org/hold"}
	}
	return pod
}

func secret(name, value string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: Namespace},
		Type:       corev1.SecretTypeOpaque,
		Data:       map[string][]byte{"value": []byte(value)},
	}
}

func (p *player) delete(ctx context.Context, kind, name string, set options) (string, error) {
	var demanded metav1.DeleteOptions
	if text, ok := set["grace"]; ok {
		grace, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return "", err
		}
		demanded.GracePeriodSeconds = &grace
	}
	demanded.Preconditions = &metav1.Preconditions{}
	if uid, ok := set["uid"]; ok {
		demanded.Preconditions.UID = new(types.UID(uid))
	}
	if version, ok := set["version"]; ok {
		demanded.Preconditions.ResourceVersion = &version
	}
	var err error
	switch kind {
	case "pods":
		err = p.client.CoreV1().Pods(Namespace).Delete(ctx, name, demanded)
	case "secrets":
		err = p.client.CoreV1().Secrets(Namespace).Delete(ctx, name, demanded)
	case "namespaces":
		err = p.client.CoreV1().Namespaces().Delete(ctx, name, demanded)
	case "claims":
		err = p.client.CoreV1().PersistentVolumeClaims(Namespace).Delete(ctx, name, demanded)
	case "volumes":
		err = p.client.CoreV1().PersistentVolumes().Delete(ctx, name, demanded)
	default:
		err = fmt.Errorf("unknown kind %q", kind)
	}
	return "ok", err
}

func (p *player) list(ctx context.Context, set options) (string, error) {
	found, err := p.client.CoreV1().Pods(Namespace).List(ctx, metav1.ListOptions{ResourceVersion: set["version"]})
	if err != nil {
		return "", err
	}
	var names []string
	for i := range found.Items {
		names = append(names, found.Items[i].Name)
	}
	return strings.Join(append([]string{strconv.Itoa(len(names))}, names...), " "), nil
}

func (p *player) token(ctx context.Context, account string, set options) (string, error) {
	_, err := p.client.CoreV1().ServiceAccounts(Namespace).CreateToken(ctx, account, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{BoundObjectRef: &authenticationv1.BoundObjectReference{
			APIVersion: "v1", Kind: "Pod", Name: set["pod"], UID: types.UID(set["uid"]),
		}},
	}, metav1.CreateOptions{})
	return "ok", err
}

// begin begins the watch where a list ends.
func (p *player) begin(ctx context.Context) (string, error) {
	pods := p.client.CoreV1().Pods(Namespace)
	list, err := pods.List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", err
	}
	p.watch, err = pods.Watch(ctx, metav1.ListOptions{ResourceVersion: list.ResourceVersion})
	return "ok", err
}

// events describes what the watch has reported.
func (p *player) events() string {
	var described []string
	for {
		select {
		case event := <-p.watch.ResultChan():
			line := string(event.Type)
			if pod, is := event.Object.(*corev1.Pod); is {
				line += " " + p.lines(pod)
			}
			described = append(described, line)
		case <-time.After(quiet):
			return strings.Join(described, "\n")
		}
	}
}

// describe describes the object of an answer, and remembers it.
func (p *player) describe(kind string, object metav1.Object, err error) (string, error) {
	if err != nil {
		return "", err
	}
	key := kind + " " + object.GetName()
	last := p.known[key]
	if last == nil || last.uid != object.GetUID() {
		last = &known{uid: object.GetUID()}
		p.known[key] = last
	}
	if kind == "volumes" || isStored(object) && object.GetDeletionTimestamp() != nil {
		return p.lines(object), nil // a controller writes it as well
	}
	version := "same version"
	if last.version != object.GetResourceVersion() {
		version = "new version"
		last.old, last.version = last.version, object.GetResourceVersion()
	}
	return p.lines(object) + ", " + version, nil
}

// lines describes what akd looks at.
func (p *player) lines(object metav1.Object) string {
	if p.uids[object.GetUID()] == 0 {
		p.uids[object.GetUID()] = len(p.uids) + 1
	}
	text := fmt.Sprintf("%s, uid %d", object.GetName(), p.uids[object.GetUID()])
	if object.GetDeletionTimestamp() != nil {
		text += ", deleted"
		if grace := object.GetDeletionGracePeriodSeconds(); grace != nil {
			text += fmt.Sprintf(" with grace period %d", *grace)
		}
	}
	if finalizers := object.GetFinalizers(); len(finalizers) > 0 && !isStored(object) {
		text += ", finalizers " + strings.Join(finalizers, " ")
	}
	switch object := object.(type) {
	case *corev1.Pod:
		text += ", " + string(object.Status.Phase)
	case *corev1.PersistentVolumeClaim:
		text += describeClaim(object)
	case *corev1.PersistentVolume:
		text += describeVolume(object)
	case *corev1.Secret:
		text += fmt.Sprintf(", %q", object.Data) // sorted by key
	}
	return text
}

// refusal describes an error by what akd can tell it from others.
func refusal(status metav1.Status) string {
	text := fmt.Sprintf("%d %s", status.Code, status.Reason)
	if status.Details == nil {
		return text
	}
	if status.Details.Kind != "" {
		text += " of " + strings.TrimSpace(status.Details.Kind+" "+status.Details.Name)
	}
	for _, cause := range status.Details.Causes {
		text += ", " + string(cause.Type)
	}
	return text
}
