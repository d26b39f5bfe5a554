package ranges

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Parse reads ranges of addresses, and says how they are to be written.
func Parse(cidrs []string) ([]netip.Prefix, error) {
	var found []netip.Prefix
	for _, cidr := range cidrs {
		prefix, err := netip.ParsePrefix(strings.TrimSpace(cidr))
		if err != nil {
			return nil, fmt.Errorf("%q: want an address and a length, such as 10.96.0.0/16", cidr)
		}
		if prefix != prefix.Masked() {
			return nil, fmt.Errorf("%q has address bits beyond its length: did you mean %s?", cidr, prefix.Masked())
		}
		found = append(found, prefix)
	}
	return found, nil
}

// Strings returns ranges as text, each once, in order.
func Strings(ranges []netip.Prefix) []string {
	var out []string
	for _, prefix := range ranges {
		out = append(out, prefix.String())
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// merged returns the same addresses in as few ranges as that takes: clusters
// have one per node, and a policy that has to search hundreds of them fails.
func merged(ranges []netip.Prefix) []netip.Prefix {
	ranges = slices.Clone(ranges)
	slices.SortFunc(ranges, netip.Prefix.Compare)
	var out []netip.Prefix
	for _, next := range ranges {
		for len(out) > 0 {
			last := out[len(out)-1]
			if last.Bits() <= next.Bits() && last.Contains(next.Addr()) {
				next = last
			} else if around, err := last.Addr().Prefix(last.Bits() - 1); err == nil && last.Bits() == next.Bits() && around.Contains(next.Addr()) {
				next = around // both halves of it
			} else {
				break
			}
			out = out[:len(out)-1]
		}
		out = append(out, next)
	}
	return out
}

func contains(ranges []netip.Prefix, ip netip.Addr) bool {
	return slices.ContainsFunc(ranges, func(p netip.Prefix) bool { return p.Contains(ip) })
}

func overlaps(prefix netip.Prefix, with []netip.Prefix) bool {
	return slices.ContainsFunc(with, prefix.Overlaps)
}
