package mirror

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/cluster"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/namespaces"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/queue"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/store"
)

// syncer brings remote objects of one kind to their wanted state: it compares
// before it writes, and writes only the difference.
type syncer[T store.Object] struct {
	kind   queue.Kind
	writer cluster.Writer[T]
	copied func(*namespaces.Namespace) *store.Store[T]
	inSync func(have, want T) bool
	fixed  func(have, want T) bool // no update leads from have to want
}

// sync makes the remote object with that name match want, or deletes it if want
// is nil. done is true if nothing is left to do; otherwise, the watch queues
// the object again.
func (s *syncer[T]) sync(ctx context.Context, namespace *namespaces.Namespace, name string, want T) (done bool, err error) {
	var none T
	have := s.copied(namespace).Get(namespace.Name, name)
	switch {
	case want == none && have == none:
		return true, nil
	case want == none:
		return false, s.writer.Delete(ctx, have)
	case have == none:
		err := s.create(ctx, namespace, want)
		return err == nil, err
	case s.inSync(have, want):
		return true, nil
	default:
		return false, s.update(ctx, namespace, have, want)
	}
}

func (s *syncer[T]) create(ctx context.Context, namespace *namespaces.Namespace, want T) error {
	created, err := s.writer.Create(ctx, want)
	if apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("one that akd did not make is in the way of remote %s %s/%s: delete or rename it: %w",
			s.kind, want.GetNamespace(), want.GetName(), err)
	}
	if err != nil {
		return err
	}
	s.copied(namespace).Put(created)
	return nil
}

// update replaces an object that the API server would refuse to update in two
// steps: it deletes the copy, which is created again once the deletion has been
// observed.
func (s *syncer[T]) update(ctx context.Context, namespace *namespaces.Namespace, have, want T) error {
	if s.fixed(have, want) {
		return s.writer.Delete(ctx, have)
	}
	want.SetResourceVersion(have.GetResourceVersion())
	updated, err := s.writer.Update(ctx, want)
	if err != nil {
		return err
	}
	s.copied(namespace).Put(updated)
	return nil
}
