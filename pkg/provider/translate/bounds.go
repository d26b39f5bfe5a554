package translate

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
)

// Bounds limit what one pod may take of akd and of the local API server: each
// reference is a watch, each token and each certificate a request. 0 means no
// limit.
type Bounds struct {
	// References is the number of ConfigMaps and Secrets, each counted once.
	References int
	// Tokens, Bundles and Certificates are the numbers of projected sources.
	Tokens, Bundles, Certificates int
}

// exceeded returns a *Refusal if a pod needs more than it may, or nil.
func (b Bounds) exceeded(c *collector) *Refusal {
	for _, bound := range []struct {
		reason, what string
		have, most   int
	}{
		{ReasonTooManyReferences, "ConfigMaps and Secrets", c.references(), b.References},
		{ReasonTooManyTokens, "service account tokens", len(c.tokens), b.Tokens},
		{ReasonTooManyBundles, "trust bundles", len(c.bundles), b.Bundles},
		{ReasonTooManyCertificates, "certificates of its own", len(c.certificates), b.Certificates},
	} {
		if bound.most > 0 && bound.have > bound.most {
			return &Refusal{bound.reason, fmt.Sprintf("The pod uses %d %s, and the node allows %d per pod: use fewer, or several pods.",
				bound.have, bound.what, bound.most)}
		}
	}
	return nil
}

// refusedEphemeral returns why akd leaves out ephemeral containers, by their
// names. They are added after the pod was accepted, and cannot be removed again,
// so they are refused one by one, and their statuses report it.
func (b Bounds) refusedEphemeral(local *corev1.Pod) map[string]*Refusal {
	if len(local.Spec.EphemeralContainers) == 0 {
		return nil
	}
	_, refused := b.collectAll(local)
	return refused
}

// collectAll collects what a pod and those ephemeral containers refer to that are
// not refused.
func (b Bounds) collectAll(local *corev1.Pod) (all *collector, refused map[string]*Refusal) {
	all, refused = collect(local), map[string]*Refusal{}
	for i := range local.Spec.EphemeralContainers {
		container := &local.Spec.EphemeralContainers[i]
		own := newCollector()
		own.visitor().env(container.Env, container.EnvFrom)
		if why := own.reserved(); why != nil {
			refused[container.Name] = why
			continue
		}
		own.merge(all)
		if why := b.exceeded(own); why != nil && own.references() > all.references() {
			refused[container.Name] = why
			continue
		}
		all = own
	}
	return all, refused
}
