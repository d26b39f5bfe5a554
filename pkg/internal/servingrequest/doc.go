// Package servingrequest knows which requests for a serving certificate are a node's
// own: what is approved is signed, and what is signed is trusted by the local API
// server.
//
// It owns the rules, which pods are a node's akd, and the condition that approves. It
// must not contact a cluster: install and the approver read requests and pods, and
// write the approval.
//
//	CertificateSigningRequest ─┐
//	Server, akd's Addresses ───┴→ Check ─→ why not, or nil ─→ Approve ─→ the request with its condition
package servingrequest
