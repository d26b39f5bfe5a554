// Package answers asks an API server what akd asks of one, and writes down what it
// answers. The fake servers of podsync's histories and a real API server must give the
// same answers: histories prove nothing otherwise.
//
//	requests of a script ──▶ Play ──▶ fake or real API server
//	                          └── answers, without what differs each time
package answers
