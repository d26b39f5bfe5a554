// Package config is akd's configuration: one YAML file, and the flags that
// override it.
//
// It owns the file's format (apiVersion actual.vk/v1alpha1, kind
// AKDConfiguration), the defaults, what is allowed, and the sentences that
// tell what is wrong and where. It must not touch a network, a cluster or the
// environment, and it opens no file but the configuration itself: that a
// kubeconfig works is for those who use it to find out.
//
//	akd.yaml ─→ read ─→ YAML nodes ─→ decode ─┐        every value remembers
//	           (size, UTF-8)  (lines)         ├─→ Configuration ─→ Validate
//	flags ────────────────────────────────────┘        its line or flag     │
//	Default() is what decode writes into                                    ▼
//	                                             *Error: all problems, each with
//	                                             file:line or flag, field, found, want
//
// The Go doc comments of the types are the documentation: go generate makes
// docs/configuration.md and the usage of the flags from them.
package config

//go:generate go test -run ^TestDocComments$ -update .
//go:generate go test -run ^TestReference$ -update .
