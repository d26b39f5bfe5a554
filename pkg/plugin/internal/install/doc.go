// Package install has the commands that change clusters: install, uninstall,
// token and manifests.
//
// It owns what is done in which order, and nothing of how a cluster is reached.
// What is decided is pure: options and facts in, steps out.
//
//	flags ─→ options ─→ Complete ─→ Validate ─→ Run
//	                                             │ reads both clusters: facts, discovered
//	                                             ├→ nodeOptions.values  what the manifests are rendered with   pure
//	                                             ├→ planInstall, planUninstall ─→ []step                       pure
//	                                             └→ installer, uninstaller: do one step after the other
//
// What is installed carries the node's label. Which kinds that are is recorded
// in an annotation of the node's ServiceAccount, for an uninstall by a program
// of another version; see inventory.go.
package install
