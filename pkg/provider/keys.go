package provider

import (
	"time"
)

// kind says what a key of the queue names.
type kind string

// The kinds of keys.
const (
	kindPod           kind = "pod"
	kindConfigMap     kind = "configmap"
	kindSecret        kind = "secret"
	kindService       kind = "service"
	kindEndpointSlice kind = "endpointslice"
)

// Key returns the key of an object of that kind, in local terms.
func (k kind) Key(namespace, name string) key {
	return key{Kind: k, Namespace: namespace, Name: name}
}

// key names, in local terms, what is to be reconciled.
type key struct {
	Kind      kind
	Namespace string
	Name      string
}

// queue is what those who see changes need of the work queue.
type queue interface {
	Add(key)
	AddAfter(key, time.Duration)
}

// quietAttempts is how many attempts in a row fail before the pod's owner hears
// of it: about half a second, so that a race between two writers, or an
// authorizer that lags, stays out of sight.
const quietAttempts = 5
