//go:build !linux

package csi

import "errors"

var errLinux = errors.New("mounts and loop devices need Linux")

func bind(string, string, bool) error { return errLinux }

func unmount(string) error { return errLinux }

func mountsOf(string) ([]string, error) { return nil, errLinux }

func attach(string) (string, error) { return "", errLinux }

func detach(string) error { return errLinux }

func resize(string) error { return errLinux }

// Release does nothing: there are no loop devices.
func Release(string) error { return nil }
