// Package images makes the container images that the clusters' nodes start
// with, without a registry and without Docker.
//
// It owns what is in those images and under which names they are known. It
// must not build programs (package build does) or talk to a container runtime.
//
//	programs, Debian's busybox, bash, curl ─► Spec, Spec … ─► CACHE/images/node-HASH.tar
//	names: ours, and those in Kubernetes' own list of test images
//
// Any other program becomes an image in the same way, with Archive, or with
// Layout for several platforms and for registries.
package images
