// Package audit compares what a credential may do with a commented list.
//
// It owns the format of the lists in testdata/rights and the requests by which
// it finds out. It must not know which rights are right, and must not change
// anything: what it asks for does not exist, has an empty body, and is a dry
// run.
//
//	testdata/rights/*.txt ── Read ──► Rights ──┐
//	                                           ├── Run ──► differences, as test failures
//	SelfSubjectRulesReview ────────────────────┤
//	every verb on every resource: 403 or not ──┘
package audit
