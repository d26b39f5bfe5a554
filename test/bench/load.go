package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

const (
	namespaces = 10 // over which a load is spread by default
	// writers is the number of pods that are created or deleted at the same time.
	writers = 32
	// timeout is when a load that makes no progress is given up. It says nothing
	// about speed.
	timeout  = 10 * time.Minute
	runLabel = "bench.actual.vk/run"
)

// place is where a load's pods go.
type place struct {
	client   kubernetes.Interface
	selector map[string]string
	tokens   bool // pods mount a service account token
	// tokenLife is the life of a second token that pods mount; 0 for none.
	tokenLife time.Duration
	// requestTokens lets the load request those tokens itself: kubelets do, but
	// kwok does not.
	requestTokens bool
	spread        int // number of namespaces that the pods are in
	// class of the claim that each pod has, of the pod's name; empty for no claims.
	class string
	// annotations of each pod; akd sets its own on the pods that it runs.
	annotations map[string]string
}

// onKwok is a place on the simulated nodes of one side.
func (env *environment) onKwok(s side) place {
	return place{client: env.clients[s], selector: map[string]string{"type": "kwok"}, tokens: true, spread: namespaces}
}

// onAK is the place on AK's node.
func (env *environment) onAK() place {
	node := map[string]string{corev1.LabelHostname: benchNode}
	return place{client: env.clients[localSide], selector: node, tokens: true, spread: namespaces}
}

// onReal is the place on the remote cluster's real nodes.
func (env *environment) onReal() place {
	return place{client: env.clients[remoteSide], tokens: true, spread: namespaces}
}

// prepareNamespaces creates a load's namespaces, with the objects to which its
// pods refer.
func prepareNamespaces(ctx context.Context, client kubernetes.Interface, count int) error {
	for i := range count {
		if err := prepareNamespace(ctx, client, fmt.Sprintf("bench-%d", i)); err != nil {
			return err
		}
	}
	return nil
}

func prepareNamespace(ctx context.Context, client kubernetes.Interface, name string) error {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	_, err := client.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create namespace %s: %w", name, err)
	}
	for _, key := range []string{"settings", "files"} {
		configMap := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: key}, Data: map[string]string{"key": "value of " + key}}
		_, err := client.CoreV1().ConfigMaps(name).Create(ctx, configMap, metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("create configmap %s/%s: %w", name, key, err)
		}
	}
	return poll(ctx, "default service account of "+name, func(ctx context.Context) error {
		_, err := client.CoreV1().ServiceAccounts(name).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
}

// pod has what is measured: an automounted token and two ConfigMaps.
func (p place) pod(run string, i int) *corev1.Pod {
	grace := int64(1)
	command := []string{"sh", "-c", "trap exit TERM; while :; do sleep 1 & wait; done"}
	settings := &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "settings"}}
	files := &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "files"}}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: fmt.Sprintf("bench-%d", i%p.spread), Name: fmt.Sprintf("%s-%d", run, i),
			Labels: map[string]string{runLabel: run}, Annotations: p.annotations,
		},
		Spec: corev1.PodSpec{
			NodeSelector:                  p.selector,
			Tolerations:                   []corev1.Toleration{{Key: "actual.vk/infra", Operator: corev1.TolerationOpExists}},
			TerminationGracePeriodSeconds: &grace,
			AutomountServiceAccountToken:  &p.tokens,
			Containers: []corev1.Container{{
				Name:            "main",
				Image:           "busybox:1.36",
				ImagePullPolicy: corev1.PullNever,
				Command:         command,
				EnvFrom:         []corev1.EnvFromSource{{ConfigMapRef: settings}},
				VolumeMounts:    []corev1.VolumeMount{{Name: "files", MountPath: "/files"}},
			}},
			Volumes: []corev1.Volume{{Name: "files", VolumeSource: corev1.VolumeSource{ConfigMap: files}}},
		},
	}
	if p.tokenLife > 0 {
		token := &corev1.ServiceAccountTokenProjection{Path: "token", ExpirationSeconds: new(int64(p.tokenLife.Seconds()))}
		pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: "token", VolumeSource: corev1.VolumeSource{
			Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{{ServiceAccountToken: token}}},
		}})
	}
	if p.class != "" {
		claim := &corev1.PersistentVolumeClaimVolumeSource{ClaimName: pod.Name}
		pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{
			Name: "data", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: claim},
		})
		main := &pod.Spec.Containers[0]
		main.VolumeMounts = append(main.VolumeMounts, corev1.VolumeMount{Name: "data", MountPath: "/data"})
	}
	return pod
}

// watched is when a load, or its watch, has seen one pod change.
type watched struct {
	requested, running, ready, deleted, gone time.Time

	bound   bool // to a node
	granted bool // its token, if the load requests tokens
}

// load creates and deletes pods in one place, and watches them from there.
type load struct {
	place
	run   string
	count int

	bound   chan *corev1.Pod // pods whose tokens are to be requested
	mu      sync.Mutex
	pods    map[string]*watched
	failed  error         // why a token was not granted
	changed chan struct{} // something was seen
}

func newLoad(p place, run string, count int) *load {
	return &load{
		place:   p,
		run:     run,
		count:   count,
		bound:   make(chan *corev1.Pod, count),
		pods:    map[string]*watched{},
		changed: make(chan struct{}, 1),
	}
}

// populate creates pods that stay, and waits until they are Running.
func populate(ctx context.Context, there place, run string, count int) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	l := newLoad(there, run, count)
	if err := l.watch(ctx); err != nil {
		return err
	}
	return createRunning(ctx, l)
}

func createRunning(ctx context.Context, l *load) error { return l.create(ctx, isRunning) }

func deleteGone(ctx context.Context, l *load) error { return l.delete(ctx) }

// watch starts the watch, which ends with ctx.
func (l *load) watch(ctx context.Context) error {
	factory := informers.NewSharedInformerFactoryWithOptions(l.client, 0, informers.WithTweakListOptions(func(o *metav1.ListOptions) {
		o.LabelSelector = runLabel + "=" + l.run
	}))
	informer := factory.Core().V1().Pods().Informer()
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { l.observe(object, false) },
		UpdateFunc: func(_, object any) { l.observe(object, false) },
		DeleteFunc: func(object any) { l.observe(object, true) },
	})
	if err != nil {
		return fmt.Errorf("watch pods: %w", err)
	}
	factory.StartWithContext(ctx)
	if l.requestTokens {
		for range writers {
			go l.grantTokens(ctx)
		}
	}
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		return ctx.Err()
	}
	return nil
}

// grantTokens requests the tokens of pods that were bound, until ctx ends.
func (l *load) grantTokens(ctx context.Context) {
	for {
		var pod *corev1.Pod
		select {
		case <-ctx.Done():
			return
		case pod = <-l.bound:
		}
		request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
			BoundObjectRef: &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID},
		}}
		// The API server's own cache may lag behind the watch: kubelets try again.
		err := poll(ctx, "token of pod "+pod.Name, func(ctx context.Context) error {
			_, err := l.client.CoreV1().ServiceAccounts(pod.Namespace).CreateToken(ctx, "default", request, metav1.CreateOptions{})
			return err
		})
		l.mu.Lock()
		if err != nil && l.failed == nil {
			l.failed = err
		}
		l.pods[pod.Name].granted = true
		l.mu.Unlock()
		l.wake()
	}
}

func (l *load) wake() {
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

func (l *load) observe(object any, gone bool) {
	if tombstone, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = tombstone.Obj
	}
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return
	}
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.pods[pod.Name]
	if w == nil {
		return
	}
	if w.running.IsZero() && pod.Status.Phase == corev1.PodRunning {
		w.running = now
	}
	if w.ready.IsZero() && isReady(pod) {
		w.ready = now
	}
	if gone && w.gone.IsZero() {
		w.gone = now
	}
	if l.requestTokens && !w.bound && pod.Spec.NodeName != "" {
		w.bound = true
		l.bound <- pod // never blocks: it has room for all pods
	}
	l.wake()
}

func isReady(pod *corev1.Pod) bool {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

// create creates the pods and returns once done holds for all of them.
func (l *load) create(ctx context.Context, done func(*watched) bool) error {
	err := l.each(ctx, func(ctx context.Context, i int) error {
		pod := l.pod(l.run, i)
		if err := l.createClaim(ctx, pod); err != nil {
			return err
		}
		l.mu.Lock()
		l.pods[pod.Name] = &watched{requested: time.Now()}
		l.mu.Unlock()
		_, err := l.client.CoreV1().Pods(pod.Namespace).Create(ctx, pod, metav1.CreateOptions{})
		if err != nil {
			return fmt.Errorf("create pod %s/%s: %w", pod.Namespace, pod.Name, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return l.await(ctx, "created", done)
}

// delete deletes the pods and returns once all are gone.
func (l *load) delete(ctx context.Context) error {
	err := l.each(ctx, func(ctx context.Context, i int) error {
		pod := l.pod(l.run, i)
		l.mu.Lock()
		l.pods[pod.Name].deleted = time.Now()
		l.mu.Unlock()
		err := l.client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("delete pod %s/%s: %w", pod.Namespace, pod.Name, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return l.await(ctx, "deleted", func(w *watched) bool { return !w.gone.IsZero() })
}

func (l *load) each(ctx context.Context, do func(context.Context, int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(writers)
	for i := range l.count {
		group.Go(func() error { return do(ctx, i) })
	}
	return group.Wait()
}

func (l *load) await(ctx context.Context, what string, done func(*watched) bool) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for {
		l.mu.Lock()
		left, failed := 0, l.failed
		for _, w := range l.pods {
			if !done(w) || l.requestTokens && !w.granted {
				left++
			}
		}
		l.mu.Unlock()
		if left == 0 || failed != nil {
			return failed
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d pods of %s were not %s: %w", left, l.count, l.run, what, ctx.Err())
		case <-l.changed:
		}
	}
}

// spans returns how long each pod took from one moment to another.
func (l *load) spans(from, to func(*watched) time.Time) []time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]time.Duration, 0, len(l.pods))
	for _, w := range l.pods {
		all = append(all, to(w).Sub(from(w)))
	}
	return all
}

func whenRequested(w *watched) time.Time { return w.requested }
func whenRunning(w *watched) time.Time   { return w.running }
func whenReady(w *watched) time.Time     { return w.ready }
func whenDeleted(w *watched) time.Time   { return w.deleted }
func whenGone(w *watched) time.Time      { return w.gone }

func isRunning(w *watched) bool  { return !w.running.IsZero() }
func isReadyNow(w *watched) bool { return !w.ready.IsZero() }

// empty waits until neither side has a pod of a load.
func (env *environment) empty(ctx context.Context) error {
	return poll(ctx, "no pods are left", func(ctx context.Context) error {
		for s, client := range env.clients {
			pods, err := client.CoreV1().Pods(metav1.NamespaceAll).List(ctx, metav1.ListOptions{LabelSelector: runLabel, Limit: 1})
			if err != nil {
				return fmt.Errorf("list %s pods: %w", s, err)
			}
			if len(pods.Items) > 0 {
				return fmt.Errorf("there is still %s pod %s/%s", s, pods.Items[0].Namespace, pods.Items[0].Name)
			}
		}
		return nil
	})
}

func nodeReady(ctx context.Context, client kubernetes.Interface) error {
	node, err := client.CoreV1().Nodes().Get(ctx, benchNode, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("read node %s: %w", benchNode, err)
	}
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue {
			return nil
		}
	}
	return fmt.Errorf("node %s is not Ready", benchNode)
}

// finalError ends a poll, because waiting longer does not help.
type finalError struct{ error }

// Unwrap returns the cause.
func (e *finalError) Unwrap() error { return e.error }

// poll waits for a condition, whose error says what is still missing.
func poll(ctx context.Context, what string, condition func(context.Context) error) error {
	const pause = 50 * time.Millisecond
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for {
		err := condition(ctx)
		if err == nil {
			return nil
		}
		if _, final := errors.AsType[*finalError](err); final {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, err)
		case <-time.After(pause):
		}
	}
}
