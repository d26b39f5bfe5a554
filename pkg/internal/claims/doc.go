// Package claims reads what a service account token says of itself.
//
// It owns the format. It must not verify anything: the API server does, and whoever
// reads claims uses them for timing and messages only.
//
//	token ──Of──▶ Claims ──Life──▶ how long it was granted for
package claims
