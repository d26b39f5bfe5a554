// Package images makes the container images that the clusters' nodes start
// with, without a registry and without Docker.
//
// It owns the images' content and names. It must not build programs (package
// build does) or talk to a container runtime.
//
//	programs, Debian's busybox, bash, curl ─► Spec, Spec … ─► CACHE/images/node-HASH.tar
//	names: ours, and those in Kubernetes' own list of test images
//
// Archive makes an image of any other program, and Layout one for several
// platforms and for registries.
package images
