// Command bench measures what akd costs and how quick it is, on the test
// clusters, next to the same work done without it in the same run.
//
//	bench pods      many pods at once: direct, both, AK     kwok nodes
//	bench latency   one pod after the other: direct, AK     real containers
//	bench restart   akd restarted with its pods running     kwok nodes
//	bench idle      akd with pods that do nothing           kwok nodes
//	bench scale     the same load at several sizes: AK      kwok nodes
//	bench streams   exec, port-forward, logs: direct, AK    real containers
//	bench cli       kubectl-actual next to kubectl          kwok nodes
//
// "direct" is the remote cluster alone. "both" is the local and the remote
// cluster, each creating the same pods by itself at the same time: what two API
// servers cost on one machine, which no proxy between them can undercut. kwok's
// nodes do not ask for the tokens that pods mount, as kubelets do: "both, with
// tokens" is both with one request for each pod in each cluster, made by this
// program. "AK" is a pod that is created in the local cluster and runs in the
// remote one.
//
// It owns the loads, the clocks and the tables. It knows akd as a program:
// flags, metrics and /proc, and nothing of its packages but names.
//
//	load ── client ─→ local API server ─┐
//	  ↑                                 akd ─→ remote API server ─→ kwok, kubelet
//	  └──── watch: Running, gone ───────┘
//
// Figures of different runs are not comparable on a machine that does other
// things as well; ratios within one run are.
package main
