// Package kubeletapi is the HTTPS server of akd on :10250: what kube-apiserver,
// metrics-server and Prometheus expect of a kubelet, for the right callers only.
//
// It owns the streams to remote pods and the question who may open them, the
// serving certificate, and the usage figures. It must not touch informers,
// write pods, or decide a pod field: pods come through the Pods interface,
// usage through the Usage interface, and nothing here is kept in a cluster
// but a CertificateSigningRequest.
//
//	kubectl ── local kube-apiserver                     remote kube-apiserver ── kubelet ── container
//	                │  TLS, client certificate or token            ▲
//	                ▼                                              │ akd's own credentials,
//	        ┌─ Server ─────────────────────────────────────────┐   │ HTTP/1.1, nothing else of
//	        │ limits → who? (x509, TokenReview)                │   │ the caller's request but
//	        │        → may they? (SubjectAccessReview, nodes/…)│   │ an allow-list of headers
//	        │        → route ─┬ exec, attach, portForward, ────┼───┘
//	        │                 │ containerLogs, run               bytes untouched both ways, but
//	        │                 │                                  for SPDY pings (pingHolder);
//	        │                 ├ pods, healthz, configz           errors become Status objects
//	        │                 │                                  in local names
//	        │                 └ metrics, stats ◀─ Usage ─────────── remote metrics.k8s.io
//	        └──────────────────────────────────────────────────┘
//
// Paths, verbs and subresources follow the kubelet's own server:
// https://github.com/kubernetes/kubernetes/blob/v1.37.1/pkg/kubelet/server/server.go
package kubeletapi
