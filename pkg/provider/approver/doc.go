// Package approver approves a node's own requests for a serving certificate, so that
// nobody has to do it after akd has moved to another address.
//
// It owns when a request is judged, and the proof that it works. It must not decide
// what is right: servingrequest does, for install as well. It must never run with akd's
// credential, which makes the requests.
//
//	watch of CertificateSigningRequests ─┐
//	watch of akd's pods ─────────────────┴→ round: list akd's pods ─→ servingrequest.Check ─┬→ UpdateApproval
//	                                                                                       └→ log why not, once
//
// The watches only say when to look. The addresses come from a list that is made for
// each round: a cache can lag, and an address that was akd's may be another pod's.
package approver
