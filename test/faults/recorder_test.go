//go:build e2e

package faults

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// recorder reports each state of each object of one kind in one cluster. It goes on
// where it was after its API server or etcd was away, so that it misses none.
type recorder struct {
	source

	version string // seen so far; empty if unknown
	alive   map[types.UID]metav1.Object
}

// source is where the objects of one kind come from, and who hears of them.
type source struct {
	options metav1.ListOptions // which objects
	list    func(context.Context, metav1.ListOptions) (runtime.Object, error)
	watch   func(context.Context, metav1.ListOptions) (watch.Interface, error)
	// saw hears of a state of an object; gone with the last one, which is unseen if the
	// API server has forgotten what happened since the one before.
	saw func(object metav1.Object, gone, unseen bool)
}

// record starts the recorders of both clusters, until the test ends.
func (f *field) record(t *testing.T) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var recording sync.WaitGroup
	t.Cleanup(func() { stop(); recording.Wait() })
	sources := []source{f.podsOf(local), f.podsOf(remote)}
	if f.hasStorage() {
		sources = append(sources, f.localClaims(), f.localVolumes(), f.remoteClaims())
	}
	for _, source := range sources {
		r := &recorder{source: source, alive: map[types.UID]metav1.Object{}}
		recording.Go(func() { r.run(ctx) })
	}
}

// podsOf are the node's pods on one side.
func (f *field) podsOf(side side) source {
	pods := f.client(side).CoreV1().Pods(metav1.NamespaceAll)
	return source{
		options: f.selected(side),
		list:    listing(pods.List),
		watch:   pods.Watch,
		saw: func(object metav1.Object, gone, unseen bool) {
			pod, is := object.(*corev1.Pod)
			switch {
			case !is:
				return
			case unseen:
				f.history.missed(side, pod)
			default:
				f.history.saw(side, pod, gone)
			}
			f.stored.sawPod(side, pod)
		},
	}
}

// listing is a List of client-go.
func listing[T runtime.Object](
	list func(context.Context, metav1.ListOptions) (T, error),
) func(context.Context, metav1.ListOptions) (runtime.Object, error) {
	return func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		return list(ctx, options)
	}
}

func (f *field) client(side side) kubernetes.Interface {
	if side == local {
		return f.Local
	}
	return f.Remote
}

// selected are the node's pods.
func (f *field) selected(side side) metav1.ListOptions {
	if side == local {
		return metav1.ListOptions{FieldSelector: "spec.nodeName=" + node}
	}
	return metav1.ListOptions{LabelSelector: contract.LabelNodeName + "=" + node}
}

func (r *recorder) run(ctx context.Context) {
	for ctx.Err() == nil {
		err := r.follow(ctx)
		if apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
			r.version = ""
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second): // the API server is away
		}
	}
}

// follow reports what happens until the watch ends.
func (r *recorder) follow(ctx context.Context) error {
	if r.version == "" {
		if err := r.begin(ctx); err != nil {
			return err
		}
	}
	options := r.options
	options.ResourceVersion, options.AllowWatchBookmarks, options.TimeoutSeconds = r.version, true, new(int64(60))
	watcher, err := r.watch(ctx, options)
	if err != nil {
		return err
	}
	defer watcher.Stop()
	for event := range watcher.ResultChan() {
		if event.Type == watch.Error {
			return apierrors.FromObject(event.Object)
		}
		if object, ok := event.Object.(metav1.Object); ok {
			r.take(event.Type, object)
		}
	}
	return nil
}

func (r *recorder) take(what watch.EventType, object metav1.Object) {
	r.version = object.GetResourceVersion()
	object.SetManagedFields(nil)
	switch what {
	case watch.Added, watch.Modified:
		r.alive[object.GetUID()] = object
		r.saw(object, false, false)
	case watch.Deleted:
		delete(r.alive, object.GetUID())
		r.saw(object, true, false)
	}
}

// begin begins anew, with the deletions of those that are there no more.
func (r *recorder) begin(ctx context.Context) error {
	list, err := r.list(ctx, r.options)
	if err != nil {
		return err
	}
	there := map[types.UID]bool{}
	err = meta.EachListItem(list, func(item runtime.Object) error {
		object, err := meta.Accessor(item)
		if err == nil {
			there[object.GetUID()] = true
			r.take(watch.Added, object)
		}
		return err
	})
	if err != nil {
		return err
	}
	for uid, object := range r.alive {
		if !there[uid] {
			delete(r.alive, uid)
			r.saw(object, true, true)
		}
	}
	listed, err := meta.ListAccessor(list)
	if err == nil {
		r.version = listed.GetResourceVersion()
	}
	return err
}

// look is what both clusters contain now.
func (f *field) look(ctx context.Context) (*view, error) {
	v := &view{pods: map[side][]corev1.Pod{}, settings: map[side]map[string]string{}}
	var err error
	if v.node, err = f.Local.CoreV1().Nodes().Get(ctx, node, metav1.GetOptions{}); err != nil {
		return nil, err
	}
	for _, side := range []side{local, remote} {
		pods, err := f.client(side).CoreV1().Pods("").List(ctx, f.selected(side))
		if err != nil {
			return nil, err
		}
		v.pods[side] = pods.Items
	}
	for _, namespace := range namespaces() {
		if err := f.addWorkloads(ctx, v, namespace); err != nil {
			return nil, err
		}
	}
	for _, side := range []side{local, remote} {
		if v.settings[side], err = f.settings(ctx, side); err != nil {
			return nil, err
		}
	}
	if f.hasStorage() {
		v.stored, err = f.lookAtStored(ctx)
	}
	return v, err
}

// addWorkloads adds the controllers of a namespace, without the Jobs of a CronJob:
// one of them may be at work at any time.
func (f *field) addWorkloads(ctx context.Context, v *view, namespace string) error {
	deployments, err := f.Local.AppsV1().Deployments(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	sets, err := f.Local.AppsV1().StatefulSets(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	jobs, err := f.Local.BatchV1().Jobs(namespace).List(ctx, metav1.ListOptions{LabelSelector: jobLabel})
	if err != nil {
		return err
	}
	v.deployments = append(v.deployments, deployments.Items...)
	v.statefulSets = append(v.statefulSets, sets.Items...)
	v.jobs = append(v.jobs, jobs.Items...)
	return nil
}

// settings are what the ConfigMaps and Services that the churn changes say on one side.
func (f *field) settings(ctx context.Context, side side) (map[string]string, error) {
	found := map[string]string{}
	for _, namespace := range churned() {
		there := namespace
		if side == remote {
			there = contract.RemoteNamespace(node, namespace)
		}
		config, err := f.client(side).CoreV1().ConfigMaps(there).Get(ctx, "config", metav1.GetOptions{})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", side, err)
		}
		service, err := f.client(side).CoreV1().Services(there).Get(ctx, "web", metav1.GetOptions{})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", side, err)
		}
		found["ConfigMap "+namespace+"/config"] = fmt.Sprint(config.Data)
		found["Service "+namespace+"/web"] = fmt.Sprint(service.Spec.Ports[0].Port)
	}
	return found, nil
}

// agree returns what is missing until both clusters agree, and both akds are ready.
func (f *field) agree(ctx context.Context) error {
	v, err := f.look(ctx)
	if err == nil {
		err = v.disagreement()
	}
	if err != nil {
		return err
	}
	for _, port := range ports() {
		if _, err := f.MetricsPage(ctx, port, "/readyz"); err != nil {
			return fmt.Errorf("the akd with metrics on port %s is not ready: %w", port, err)
		}
	}
	return nil
}

// recorded returns an error while the history lacks something that an API server
// lists.
func (f *field) recorded(ctx context.Context) error {
	v, err := f.look(ctx)
	if err != nil {
		return err
	}
	return errors.Join(
		f.history.behind(local, v.pods[local]), f.history.behind(remote, v.pods[remote]),
		f.stored.behind(local, v.stored.locals()), f.stored.behind(remote, objects(v.stored.remotes)),
	)
}

// within waits until a condition returns nil, and returns its last error after that
// time. Each try of the condition may take 20 s, since an API server may not answer.
func within(ctx context.Context, limit time.Duration, condition func(context.Context) error) error {
	const most = 20 * time.Second
	over := time.Now().Add(limit)
	for {
		try, cancel := context.WithTimeout(ctx, most)
		err := condition(try)
		cancel()
		if err == nil || ctx.Err() != nil || time.Now().After(over) {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(300 * time.Millisecond):
		}
	}
}
