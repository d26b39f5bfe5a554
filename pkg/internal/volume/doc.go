// Package volume knows the shape of the local PersistentVolumes whose data is in the
// remote cluster, and of their claims. akd makes the volumes for new claims, and kubectl
// actual for remote claims that no volume leads to any more; both read them. It only
// computes, and must not decide what becomes of them.
package volume
