// Package disclosure turns an error of the remote cluster into what local users may
// read: they must not learn the addresses of remote machines, nor who akd is there.
//
// It owns what is hidden, for conditions, events and the kubelet API alike. It must
// not be used for logs, which have the full text, and it imports nothing from this
// module.
//
//	error of a request to the remote cluster ──▶ Text ──▶ condition, event, response
//	                                         ──────────▶ log of akd
package disclosure
