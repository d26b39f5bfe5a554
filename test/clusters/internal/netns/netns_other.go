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

// Exists returns false.
func Exists(string) bool { return false }

// Create fails: only Linux has network namespaces.
func Create(Side, Side) error { return errors.New("network namespaces need Linux") }

// Delete does nothing.
func Delete(string) error { return nil }

// Do fails: only Linux has network namespaces.
func Do(string, func() error) error { return errors.New("network namespaces need Linux") }
