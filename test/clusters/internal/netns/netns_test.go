//go:build linux

package netns

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"
)

func TestCreateJoinsTwoNetworks(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	prefix := fmt.Sprintf("ak-test-%d", os.Getpid())
	a := Side{
		Name: prefix + "-a", Addresses: []netip.Prefix{netip.MustParsePrefix("172.18.1.1/24"), netip.MustParsePrefix("172.18.1.5/24")},
		Pods: netip.MustParsePrefix("10.244.0.0/16"), Services: netip.MustParsePrefix("10.96.0.0/16"),
	}
	b := Side{
		Name: prefix + "-b", Addresses: []netip.Prefix{netip.MustParsePrefix("172.18.2.1/24")},
		Pods: netip.MustParsePrefix("10.245.0.0/16"), Services: netip.MustParsePrefix("10.97.0.0/16"),
	}
	before, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := Delete(prefix); err != nil {
			t.Error(err)
		}
		if Exists(a.Name) || Exists(b.Name) {
			t.Error("a deleted namespace exists")
		}
	})
	if err := Create(a, b); err != nil {
		t.Fatal(err)
	}
	if !Exists(a.Name) || !Exists(b.Name) {
		t.Fatal("a created namespace does not exist")
	}

	var listener net.Listener
	err = Do(b.Name, func() error {
		var err error
		listener, err = net.Listen("tcp", "172.18.2.1:0")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	err = Do(a.Name, func() error {
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			return err
		}
		return conn.Close()
	})
	if err != nil {
		t.Errorf("one network does not reach the other: %v", err)
	}
	after, err := net.Interfaces()
	if err != nil || len(after) != len(before) {
		t.Errorf("the machine's own interfaces changed from %d to %d: %v", len(before), len(after), err)
	}
}

func TestExistsWantsANamespace(t *testing.T) {
	if Exists("ak-test-there-is-none") {
		t.Error("a missing namespace exists")
	}
}
