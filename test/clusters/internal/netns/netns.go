//go:build linux

package netns

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/vishvananda/netlink"
	vnetns "github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Dir is where namespaces are kept by name, as ip-netns(8) does, so that
// `ip netns` shows them.
const Dir = "/run/netns"

const device = "eth0"

// Side is one end of the cable.
type Side struct {
	// Name is the namespace's, in Dir.
	Name string
	// Addresses are those of the cable's end, with the node network's length.
	// The first one is the source of connections and the other side's gateway.
	Addresses []netip.Prefix
	// Pods is the network behind this side, to which the other side needs a route.
	Pods netip.Prefix
	// Services is the range of virtual addresses that this side's kube-proxy
	// answers. It needs a route, or connect fails before iptables sees it.
	Services netip.Prefix
}

// Path returns the file of the namespace called name.
func Path(name string) string { return filepath.Join(Dir, name) }

// Exists reports whether the namespace called name is there.
func Exists(name string) bool {
	handle, err := vnetns.GetFromPath(Path(name))
	if err != nil {
		return false
	}
	defer handle.Close()
	var stat unix.Statfs_t
	return unix.Fstatfs(int(handle), &stat) == nil && stat.Type == unix.NSFS_MAGIC
}

// Create makes both namespaces and the cable between them.
func Create(a, b Side) error {
	for _, side := range []Side{a, b} {
		if err := makeNamespace(side.Name); err != nil {
			return fmt.Errorf("make network namespace %s: %w", side.Name, err)
		}
	}
	if err := layCable(a, b); err != nil {
		return fmt.Errorf("connect network namespaces: %w", err)
	}
	for _, pair := range [][2]Side{{a, b}, {b, a}} {
		if err := configure(pair[0], pair[1]); err != nil {
			return fmt.Errorf("configure network namespace %s: %w", pair[0].Name, err)
		}
	}
	return nil
}

// Delete removes every namespace whose name begins with prefix.
func Delete(prefix string) error {
	entries, err := os.ReadDir(Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), prefix) {
			continue
		}
		path := Path(entry.Name())
		err := unix.Unmount(path, unix.MNT_DETACH)
		if err != nil && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("unmount %s: %w", path, err)
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Do runs f on a thread that is inside the namespace called name.
func Do(name string, f func() error) error {
	result := make(chan error, 1)
	go func() {
		// Never unlocked: the runtime then ends the thread with the goroutine,
		// and no other goroutine wakes up in the wrong namespace.
		runtime.LockOSThread()
		handle, err := vnetns.GetFromPath(Path(name))
		if err != nil {
			result <- fmt.Errorf("open network namespace %s: %w", name, err)
			return
		}
		defer handle.Close()
		if err := vnetns.Set(handle); err != nil {
			result <- fmt.Errorf("join network namespace %s: %w", name, err)
			return
		}
		result <- f()
	}()
	return <-result
}

// makeNamespace keeps a new namespace alive by a mount of its file, as
// ip-netns(8) does.
func makeNamespace(name string) error {
	if err := os.MkdirAll(Dir, 0o755); err != nil {
		return err
	}
	file, err := os.OpenFile(Path(name), os.O_CREATE|os.O_EXCL, 0)
	if err != nil {
		return err
	}
	_ = file.Close()
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			result <- err
			return
		}
		self := fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid())
		result <- unix.Mount(self, Path(name), "", unix.MS_BIND, "")
	}()
	return <-result
}

func layCable(a, b Side) error {
	far, err := vnetns.GetFromPath(Path(b.Name))
	if err != nil {
		return err
	}
	defer far.Close()
	return Do(a.Name, func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = device
		return netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: device, PeerNamespace: netlink.NsFd(far)})
	})
}

func configure(side, other Side) error {
	return Do(side.Name, func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		cable, err := netlink.LinkByName(device)
		if err != nil {
			return err
		}
		for _, prefix := range side.Addresses {
			if err := netlink.AddrAdd(cable, &netlink.Addr{IPNet: ipNet(prefix), Flags: unix.IFA_F_NODAD}); err != nil {
				return fmt.Errorf("add address %s: %w", prefix, err)
			}
		}
		for _, link := range []netlink.Link{lo, cable} {
			if err := netlink.LinkSetUp(link); err != nil {
				return fmt.Errorf("set %s up: %w", link.Attrs().Name, err)
			}
		}
		// The file belongs to the namespace of the thread that opens it.
		if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0); err != nil {
			return err
		}
		return addRoutes(cable, side, other)
	})
}

func addRoutes(cable netlink.Link, side, other Side) error {
	source := side.Addresses[0].Addr().AsSlice()
	gateway := other.Addresses[0]
	routes := []netlink.Route{
		{Dst: ipNet(gateway.Masked()), Scope: netlink.SCOPE_LINK, Src: source},
		{Dst: ipNet(other.Pods), Gw: gateway.Addr().AsSlice(), Src: source},
		{Dst: ipNet(side.Services), Scope: netlink.SCOPE_LINK, Src: source},
	}
	for _, route := range routes {
		route.LinkIndex = cable.Attrs().Index
		if err := netlink.RouteAdd(&route); err != nil {
			return fmt.Errorf("add route %s: %w", route.Dst, err)
		}
	}
	return nil
}

func ipNet(prefix netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: prefix.Addr().AsSlice(), Mask: net.CIDRMask(prefix.Bits(), prefix.Addr().BitLen())}
}
