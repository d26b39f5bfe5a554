// Package cgroup keeps the control groups of a run, in version 1 and version 2
// hierarchies.
//
// It owns one folder per hierarchy, named after the run, and everything below
// it: making it, listing and killing the processes inside, removing it. It must
// not touch a folder of any other name.
//
//	/sys/fs/cgroup/HIERARCHY/ak-1a2b3c4d/
//	    system/           control planes, kube-proxy, link
//	    exec/             what `clusters exec` started
//	    remote-1/         the kubelet's cgroup root: kubepods/…
//	    remote-1-system/  the node's containerd, shims and kubelet
package cgroup
