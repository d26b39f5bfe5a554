// Package podsecret keeps one remote Secret per pod, with what the local cluster
// gives to that pod alone: service account tokens, trust anchors, and the
// certificates that signers issue to it.
//
// It owns when each is requested, renewed and removed. It must not touch what
// pods share: mirror copies that. What is in the Secret is translate's to say.
//
//	TokenRequest, ClusterTrustBundle, ──▶ Manager ──▶ Secret actual-vk-token-UID
//	PodCertificateRequest
package podsecret
