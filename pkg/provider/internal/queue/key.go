package queue

import (
	"time"
)

// Kind is the kind of object that a key refers to.
type Kind string

// The kinds of keys.
const (
	Pod              Kind = "pod"
	ConfigMap        Kind = "configmap"
	Secret           Kind = "secret"
	Service          Kind = "service"
	EndpointSlice    Kind = "endpointslice"
	DisruptionBudget Kind = "poddisruptionbudget"
	// Volume is a local PersistentVolume, or the one that a claim will have, in the
	// namespace of the claim. The remote claim has the same name.
	Volume Kind = "persistentvolume"
)

// Key returns the key of an object of this kind, by its local namespace and name.
func (k Kind) Key(namespace, name string) Key {
	return Key{Kind: k, Namespace: namespace, Name: name}
}

// Key identifies an object to reconcile, by its local namespace and name.
type Key struct {
	Kind      Kind
	Namespace string
	Name      string
}

// Adder is the part of the work queue that handlers of changes use.
type Adder interface {
	Add(Key)
	AddAfter(Key, time.Duration)
}

// QuietAttempts is the number of consecutive failures before akd reports the
// problem to the pod's owner. It amounts to about half a second, which hides
// races between two writers and the lag of an authorizer.
const QuietAttempts = 5
