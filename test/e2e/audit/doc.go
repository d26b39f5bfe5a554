// Package audit compares the rights of a credential with a commented list.
//
// It owns the format of the lists, which are in test/e2e/testdata/rights, and the
// requests that find out the rights. It contains no rights itself, and must not
// change anything: its requests are dry runs, for objects that do not exist, with
// a body of which none can be made.
//
//	testdata/rights/*.txt ── Read ──► Rights ──┐
//	                                           ├── Run ──► differences, as test failures
//	SelfSubjectRulesReview ────────────────────┤
//	every verb on every resource: 403 or not ──┘
package audit
