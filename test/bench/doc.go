// Command bench measures what akd costs and how fast it is. It runs on the test
// clusters, next to the same work done without akd in the same run.
//
//	bench pods      many pods at once: direct, both, AK      kwok nodes
//	bench latency   one pod after the other: direct, AK      real containers; --claims
//	bench restart   a restart of akd while its pods run      kwok nodes
//	bench idle      akd while its pods do nothing            kwok nodes
//	bench scale     the same load at several sizes: AK       kwok nodes
//	bench streams   exec, port-forward, logs: direct, AK     real containers
//	bench cli       kubectl-actual next to kubectl           kwok nodes
//
// "direct" is the remote cluster alone. "both" is the local and the remote
// cluster, each creating the same pods at the same time on its own: the cost of
// two API servers on one machine, which no proxy between them can undercut.
// kwok's nodes do not request the tokens that pods mount, as kubelets do: "both,
// with tokens" is both with one request per pod in each cluster, made by this
// program. "AK" is a pod that is created in the local cluster and runs in the
// remote one.
//
// The package owns the loads, the clocks and the tables. It uses akd as a
// program, through flags, metrics and /proc, and imports nothing of its packages
// but names.
//
//	load ── client ─→ local API server ─┐
//	  ↑                                 akd ─→ remote API server ─→ kwok, kubelet
//	  └──── watch: Running, gone ───────┘
//
// Every command says what it needs; setUp provides it:
//
//	needs ─→ setUp: clusters, namespaces, akd ─→ run ─→ tables ─→ tearDown
//
// On a machine that does other work as well, compare ratios within one run, not
// figures of different runs.
package main
