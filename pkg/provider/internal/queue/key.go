package queue

import (
	"time"
)

// Kind says what a key of the queue names.
type Kind string

// The kinds of keys.
const (
	Pod           Kind = "pod"
	ConfigMap     Kind = "configmap"
	Secret        Kind = "secret"
	Service       Kind = "service"
	EndpointSlice Kind = "endpointslice"
)

// Key returns the key of an object of that kind, in local terms.
func (k Kind) Key(namespace, name string) Key {
	return Key{Kind: k, Namespace: namespace, Name: name}
}

// Key names, in local terms, what is to be reconciled.
type Key struct {
	Kind      Kind
	Namespace string
	Name      string
}

// Adder is what those who see changes need of the work queue.
type Adder interface {
	Add(Key)
	AddAfter(Key, time.Duration)
}

// QuietAttempts is how many attempts in a row fail before the pod's owner hears
// of it: about half a second, so that a race between two writers, or an
// authorizer that lags, stays out of sight.
const QuietAttempts = 5
