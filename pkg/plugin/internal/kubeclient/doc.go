// Package kubeclient is how the plugin reaches the two clusters: with the user's
// own credentials, as kubectl does.
//
// It owns every connection, and what several commands do with one: apply objects,
// store akd's credential, find akd, tell why a request was refused. It must not
// print; what a step waits for is told with output.Progress.
//
//	flags, environment ─→ Access ──┬→ Clients       asks nothing
//	                               ├→ Connect       both clusters answer, and are two
//	                               └→ ConnectLocal  the local one alone
//	                                    └→ Clusters{Local, Remote} ─→ Apply, Credential, Until
package kubeclient
