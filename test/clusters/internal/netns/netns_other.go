//go:build !linux

package netns

import (
	"errors"
	"net/netip"
)

// Side is one end of the cable; see the Linux version.
type Side struct {
	Name           string
	Addresses      []netip.Prefix
	Pods, Services netip.Prefix
}

// Path returns nothing: other systems have no network namespaces.
func Path(string) string { return "" }

// Exists says no.
func Exists(string) bool { return false }

// Create refuses: network namespaces are Linux's.
func Create(Side, Side) error { return errors.New("network namespaces need Linux") }

// Delete has nothing to do.
func Delete(string) error { return nil }

// Do refuses: network namespaces are Linux's.
func Do(string, func() error) error { return errors.New("network namespaces need Linux") }
