//go:build !linux

package process

import "errors"

// enter fails: only Linux has namespaces and control groups.
func enter(e Enter) error {
	if len(e.CgroupProcs) > 0 || e.NetNS != "" || e.MountNS != "" || len(e.Private) > 0 {
		return errors.New("namespaces need Linux")
	}
	return nil
}
