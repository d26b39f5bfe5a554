package provider

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// keeper makes remote objects of one kind as they should be: it compares before
// it writes, and writes the difference only.
type keeper[T object] struct {
	kind   kind
	writer writer[T]
	copied func(*space) *objects[T]
	same   func(have, want T) bool
	fixed  func(have, want T) bool // no update leads from have to want
}

// keep makes the remote object of that name like want, or removes it where want
// is nil. It is settled when nothing is left to do; otherwise the watch tells
// when there is, or that there is not.
func (k *keeper[T]) keep(ctx context.Context, space *space, name string, want T) (settled bool, err error) {
	var none T
	have := k.copied(space).get(space.remote, name)
	switch {
	case want == none && have == none:
		return true, nil
	case want == none:
		return false, k.remove(ctx, have)
	case have == none:
		err := k.create(ctx, space, want)
		return err == nil, err
	case k.same(have, want):
		return true, nil
	default:
		return false, k.update(ctx, space, have, want)
	}
}

func (k *keeper[T]) create(ctx context.Context, space *space, want T) error {
	created, err := k.writer.create(ctx, want)
	if apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create remote %s %s/%s: one that akd did not make is in the way: delete or rename it: %w",
			k.kind, want.GetNamespace(), want.GetName(), err)
	}
	if err != nil {
		return fmt.Errorf("create remote %s %s/%s: %w", k.kind, want.GetNamespace(), want.GetName(), err)
	}
	k.copied(space).put(created)
	return nil
}

// update replaces what the API server would refuse to update in two steps: the
// copy is deleted, and created anew when the deletion is seen.
func (k *keeper[T]) update(ctx context.Context, space *space, have, want T) error {
	if k.fixed(have, want) {
		return k.remove(ctx, have)
	}
	want.SetResourceVersion(have.GetResourceVersion())
	updated, err := k.writer.update(ctx, want)
	if err != nil {
		return fmt.Errorf("update remote %s %s/%s: %w", k.kind, want.GetNamespace(), want.GetName(), err)
	}
	k.copied(space).put(updated)
	return nil
}

func (k *keeper[T]) remove(ctx context.Context, have T) error {
	err := k.writer.remove(ctx, have.GetNamespace(), have.GetName(), deleteExactly(have.GetUID()))
	if err != nil && !gone(err) {
		return fmt.Errorf("delete remote %s %s/%s: %w", k.kind, have.GetNamespace(), have.GetName(), err)
	}
	return nil
}
