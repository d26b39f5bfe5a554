// Package images makes the container images that the clusters' nodes start
// with, without a registry and without Docker.
//
// It owns what is in those images and under which names they are known. It
// must not build programs (package build does) or talk to a container runtime.
//
//	programs, Debian's busybox and curl ──► one layer ──► cache/images/NAME-HASH.tar
package images
