// Package podsecret keeps one remote Secret per pod, with the data that the
// local cluster gives to that pod alone: service account tokens, trust anchors,
// and certificates that signers issue to it.
//
// It decides when each is requested, renewed and removed. It must not copy
// objects that pods share: mirror does. translate decides the content of the
// Secret.
//
//	TokenRequest, ClusterTrustBundle, ──▶ Manager ──▶ Secret actual-vk-token-UID
//	PodCertificateRequest
package podsecret
