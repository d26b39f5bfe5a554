// Package ranges finds the IP addresses of two clusters that matter to mirrored
// Services: which ones Services have, where pods are, and what collides.
//
// It only reads. What follows from its findings is decided by install and check.
//
//	both clusters: ServiceCIDRs, nodes, pods, kubeadm's record ─→ Find ─→ Found
package ranges
