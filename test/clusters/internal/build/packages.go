package build

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// debianPackages are needed by real nodes and not available as Go modules: to
// build programs, to run beside them, and for images.
func debianPackages() []string {
	return []string{
		"gcc", "libc6-dev", "libseccomp-dev", "pkg-config", // runc and pause
		"conntrack", "iproute2", "iptables", "kmod", "mount", "util-linux", // kubelet, kube-proxy, CNI
		"bash-static", "busybox-static", "curl", "libc-bin", // images; libc-bin has ldd
	}
}

// Packages installs the missing Debian packages that real nodes need. If it may
// not or cannot, the error is an *Error that names them.
func (b *Builder) Packages(ctx context.Context) error {
	missing := b.missingPackages(ctx)
	if len(missing) == 0 {
		return nil
	}
	names := strings.Join(missing, " ")
	if _, err := exec.LookPath("apt-get"); err != nil {
		return &Error{What: "real nodes need packages that are not installed, and apt-get does not exist here: " +
			"install the equivalents of Debian's " + names}
	}
	if os.Geteuid() != 0 {
		return &Error{What: "real nodes need Debian packages that are not installed: as root, apt-get install " + names}
	}
	defer b.report(Progress{Name: "packages " + names, I: 1, N: 1}, "")()
	install := append([]string{"install", "-y", "--no-install-recommends"}, missing...)
	if b.apt(ctx, install) == nil {
		return nil
	}
	// A fresh machine has no package lists, an old one stale ones.
	if err := b.apt(ctx, []string{"update"}); err != nil {
		return &Error{"update Debian's package lists, to install " + names + ": connect this machine, or fix /etc/apt/sources.list", err}
	}
	if err := b.apt(ctx, install); err != nil {
		return &Error{"install Debian packages: run apt-get install " + names + " and fix what it reports", err}
	}
	return nil
}

// missingPackages queries dpkg; without dpkg, all are missing.
func (b *Builder) missingPackages(ctx context.Context) []string {
	wanted := debianPackages()
	cmd := exec.CommandContext(ctx, "dpkg-query", append([]string{"-W", "-f", "${Package} ${db:Status-Status}\n"}, wanted...)...)
	cmd.Env = b.environ()
	// It fails if it does not know one of them.
	out, _ := cmd.Output()
	installed := strings.Split(string(out), "\n")
	return slices.DeleteFunc(wanted, func(name string) bool { return slices.Contains(installed, name+" installed") })
}

// apt runs apt-get, again while another one holds its locks, for some minutes.
func (b *Builder) apt(ctx context.Context, args []string) error {
	const timeout = 5 * time.Minute
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for {
		// An interrupted dpkg leaves a half-configured package: only apt-get is
		// interrupted, and it waits for dpkg.
		cmd := exec.CommandContext(ctx, "apt-get", slices.Concat([]string{"-q", "-o", "DPkg::Lock::Timeout=300"}, args)...)
		cmd.Env = append(slices.Clone(b.environ()), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C")
		cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
		var output bytes.Buffer
		cmd.Stdout, cmd.Stderr = &output, &output
		err := cmd.Run()
		if err == nil {
			return nil
		}
		if !strings.Contains(output.String(), "Could not get lock") {
			return fmt.Errorf("%w: %s", err, lastLines(output.String(), 4))
		}
		// The lists have a lock of their own, and no option waits for it.
		select {
		case <-ctx.Done():
			return fmt.Errorf("another apt-get does not end: wait for it or stop it: %s", lastLines(output.String(), 1))
		case <-time.After(time.Second):
		}
	}
}
