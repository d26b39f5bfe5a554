// Package kubeletapi is the HTTPS server of akd on :10250. It provides what
// kube-apiserver, metrics-server and Prometheus expect of a kubelet, to authorized
// callers only.
//
// It owns the streams to remote pods, authentication and authorization, the serving
// certificate, and the usage figures. It must not use informers, write pods, or
// decide on fields of pods: pods come from the Pods interface, usage from a Usage.
// The only object that it creates is a CertificateSigningRequest, besides reviews.
//
//	kubectl ── local kube-apiserver                     remote kube-apiserver ── kubelet ── container
//	                │  TLS, client certificate or token            ▲
//	                ▼                                              │ akd's own credentials,
//	        ┌─ Server ─────────────────────────────────────────┐   │ HTTP/1.1, nothing else of
//	        │ limits → who? (x509, TokenReview)                │   │ the caller's request but
//	        │        → may they? (SubjectAccessReview, nodes/…)│   │ an allow-list of headers
//	        │        → route ─┬ exec, attach, portForward, ────┼───┘
//	        │                 │ containerLogs, run               bytes pass unchanged, except
//	        │                 │                                  SPDY pings (pingHolder);
//	        │                 ├ pods, healthz, configz           errors become Status objects
//	        │                 │                                  with local names
//	        │                 └ metrics, stats ◀─ Usage ─────────── remote metrics.k8s.io
//	        └──────────────────────────────────────────────────┘
//
// Paths, verbs and subresources are those of the kubelet:
// https://github.com/kubernetes/kubernetes/blob/v1.37.1/pkg/kubelet/server/server.go
package kubeletapi
