// Package credential is akd's way into the cluster that it does not run in.
//
// It owns the Secret that holds the credential: it renews the token in it, and
// adopts what others store there, without a new connection. It must not touch
// anything else in either cluster, and imports nothing of ours but contract.
//
//	Secret (home cluster) ──read──▶ Credential ──bearer token──▶ requests to the other cluster
//	        ▲                          │
//	        └──────── renewed ─────────┘ TokenRequest
package credential
