package store

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
)

// ListWatch lists and watches one selection of one kind in one cluster.
type ListWatch struct {
	// Name identifies the watch in logs.
	Name  string
	List  func(context.Context, metav1.ListOptions) (runtime.Object, error)
	Watch func(context.Context, metav1.ListOptions) (watch.Interface, error)
	Server
}

// Server is the API server that a ListWatch reads.
type Server struct {
	// Client lets the reflector detect whether streamed lists work: client-go's
	// fake clientsets do not support them.
	Client any
	// Timeline is that of the server's cluster.
	Timeline *Timeline
}

// resource is one kind in one namespace, as a typed client provides it.
type resource[L runtime.Object] interface {
	List(context.Context, metav1.ListOptions) (L, error)
	Watch(context.Context, metav1.ListOptions) (watch.Interface, error)
}

// NewListWatch returns the source of the objects of a resource that pick selects.
func NewListWatch[L runtime.Object](name string, server Server, r resource[L], pick func(*metav1.ListOptions)) ListWatch {
	return ListWatch{
		Name:   name,
		Server: server,
		List: func(ctx context.Context, opts metav1.ListOptions) (runtime.Object, error) {
			pick(&opts)
			return r.List(ctx, opts)
		},
		Watch: func(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error) {
			pick(&opts)
			return r.Watch(ctx, opts)
		},
	}
}

// Everything selects all objects of a resource.
func Everything(*metav1.ListOptions) {}

// ByField selects the objects whose field has the given value.
func ByField(field, value string) func(*metav1.ListOptions) {
	return func(opts *metav1.ListOptions) {
		opts.FieldSelector = fields.OneTermEqualSelector(field, value).String()
	}
}
