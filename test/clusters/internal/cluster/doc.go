// Package cluster describes the parts of one real Kubernetes cluster: its
// programs, with their arguments, files and certificates.
//
// It only computes and writes files in the cluster's folder. It must not start
// a process, make a namespace or talk to an API server; package lab does.
//
//	Cluster ─ WritePKI, WriteFiles ─► DIR/pki, DIR/*.yaml, DIR/nodes/…
//	        ─ Etcd, APIServer, …   ─► process.Spec, in order of starting
//	        └ Manifests            ─► objects that every cluster has
package cluster
