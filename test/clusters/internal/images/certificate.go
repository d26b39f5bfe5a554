package images

import (
	"fmt"
	"iter"
	"maps"
	"slices"

	"k8s.io/client-go/util/cert"
)

// localhostCertificate is for the https servers of agnhost, whose clients do
// not verify it.
func localhostCertificate() (certificate, key []byte, err error) {
	certificate, key, err = cert.GenerateSelfSignedCertKey("localhost", nil, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("make a certificate for localhost: %w", err)
	}
	return certificate, key, nil
}

// sorted yields the entries of a map in the order of their keys.
func sorted[V any](m map[string]V) iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		for _, key := range slices.Sorted(maps.Keys(m)) {
			if !yield(key, m[key]) {
				return
			}
		}
	}
}
