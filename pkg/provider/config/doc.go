// Package config is the configuration of akd: one YAML file, and the flags that
// override it.
//
// It owns the format of the file (apiVersion actual.vk/v1alpha1, kind
// AKDConfiguration), the defaults, the validation, and the messages about
// mistakes. It must not use the network, a cluster or the environment. It reads no
// file except the configuration itself: it does not check, for example, whether a
// kubeconfig works.
//
//	akd.yaml ─→ read ─→ YAML nodes ─→ decode ─┐        every value remembers
//	           (size, UTF-8)  (lines)         ├─→ Configuration ─→ Validate
//	flags ────────────────────────────────────┘        its line or flag     │
//	Default() is what decode writes into                                    ▼
//	                                             *Error: all problems, each with
//	                                             file:line or flag, field, found, want
//
// The doc comments of the types are the documentation: go generate writes
// docs/configuration.md and the usage of the flags from them.
package config

//go:generate go test -run ^TestDocComments$ -update .
//go:generate go test -run ^TestReference$ -update .
