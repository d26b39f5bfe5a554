// Package certs makes the keys, certificates and kubeconfigs of a run.
//
// It owns the format of what it writes (PEM, mode 0600) and the profile of each
// certificate. It must not know which component uses which file.
//
//	Authority ──Issue(Leaf)──► Pair ──Write──► NAME.crt, NAME.key
//	                             └──Kubeconfig──► NAME.kubeconfig
package certs
