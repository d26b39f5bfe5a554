//go:build !linux

package process

import "errors"

// enter refuses: namespaces and control groups are Linux's.
func enter(e Enter) error {
	if len(e.CgroupProcs) > 0 || e.NetNS != "" || e.MountNS != "" || len(e.Private) > 0 {
		return errors.New("namespaces need Linux")
	}
	return nil
}
