// Package credential gives akd access to the cluster that it does not run in.
//
// It owns the Secret that holds the credential. It renews the token in it and
// adopts a token that someone else stores there, without reconnecting. It must
// not access anything else in either cluster. Of this module, it imports only
// contract.
//
//	Secret (home cluster) ──read──▶ Credential ──bearer token──▶ requests to the other cluster
//	        ▲                          │
//	        └──────── renewed ─────────┘ TokenRequest
package credential
