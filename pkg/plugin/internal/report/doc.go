// Package report writes a zip for a bug report: kubectl actual report.
//
// It reads objects, events and logs of both clusters and makes the checks, but
// runs no probe. It must never write a secret: everything goes through a redactor,
// and nothing is written before every Secret has been read.
//
//	both clusters ─→ gatherer ─→ entries ─→ redactor.text ─→ zip
//	                    └─ Secrets, credentials ──┘
package report
