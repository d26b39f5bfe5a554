// Package volume knows the shape of the local PersistentVolumes whose data is in the
// remote cluster. akd makes them for new claims, and kubectl actual for remote claims that
// no volume leads to any more; both read them. It only computes.
package volume
