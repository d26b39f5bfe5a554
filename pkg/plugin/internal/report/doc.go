// Package report writes a zip for a bug report: kubectl actual report.
//
// It reads objects, events and logs of both clusters and makes the checks, but
// runs no probe. It must never write a secret: of objects, only the fields that
// shown.txt lists keep their text, everything goes through a redactor, and nothing
// is written before everything has been read.
//
//	both clusters ─→ gatherer ─┬→ objects ─→ redactor.objects ─┬→ redactor.text ─→ zip
//	                    │      └→ logs, checks ────────────────┘
//	                    └─ Secrets, credentials, what containers are given ─→ redactor.learn
package report
