// Package plugin is kubectl actual: the root command, the flags that all commands
// have, and the exit codes.
//
// Each command is in a package below internal/. None of them imports the
// provider: what the plugin knows of akd is its contract, its configuration and
// its manifests.
//
//	Main ─→ New ─→ command.Env ──┬→ install     (install, uninstall, token, manifests)
//	                             ├→ check       (check)
//	                             ├→ inspect     (where, status, nodes, logs, version)
//	                             ├→ storage     (volumes, and what where, status and check say of them)
//	                             ├→ report      (report)
//	                             └→ completion  (completion)
//	                                  ├→ rights      what an installation needs and grants
//	                                  ├→ ranges      which addresses collide
//	                                  ├→ kubeclient  both clusters: access, apply, credentials
//	                                  ├→ output      tables, steps, colors
//	                                  └→ failure     exit codes and hints
//
// Results go to standard output, progress and errors to standard error. Exit
// codes: 0 done, 1 failed, 2 wrong usage, 3 unhealthy, 130 interrupted.
package plugin
