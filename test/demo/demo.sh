#!/usr/bin/env bash
# Tells the story of Actual Kubelets on two real clusters, with real commands and
# their real output. The demo fails at the first step that does not do what it
# claims. It uses the clusters that run already, or brings them up.
#
# Usage: make demo
set -euo pipefail
cd "$(dirname "$0")/../.."

node=vk-ak-example
namespace=crossplane-system
remote_namespace=vk-ak-example-d05fe343c4951ecb
dir=${CLUSTERS_DIR:-.clusters}
image=${IMAGE:?run make demo}

clusters() { bin/clusters --dir "$dir" "$@"; }

say() { printf '\n# %s\n' "$*"; }
fail() {
  printf '\ndemo: %s\n' "$*" >&2
  printf 'demo: the last lines of akd'\''s log:\n' >&2
  clusters kubectl local logs -n actual-system "deployment/$node" --tail=20 >&2 || true
  exit 1
}

# on CLUSTER ARGS... prints a kubectl command, then runs it.
on() {
  printf '$ kubectl --context=%s' "$1"
  printf ' %s' "${@:2}"
  printf '\n'
  clusters kubectl "$@" || fail "the command above failed"
}

# actual ARGS... prints a command of the plugin, then runs it.
actual() {
  printf '$ kubectl actual'
  printf ' %s' "$@"
  printf '\n'
  KUBECONFIG=$dir/kubeconfig bin/kubectl-actual --context=local "$@" || fail "the command above failed"
}

manifest() {
  cat <<EOF
apiVersion: v1
kind: Namespace
metadata:
  name: $namespace
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: hello
  namespace: $namespace
spec:
  replicas: 2
  selector: {matchLabels: {app: hello}}
  template:
    metadata: {labels: {app: hello}}
    spec:
      nodeSelector: {kubernetes.io/hostname: $node}
      terminationGracePeriodSeconds: 1
      containers:
      - name: hello
        image: busybox:1.36
        command: [sh, -c, 'echo "hello from \$HOSTNAME"; trap exit TERM; while :; do sleep 1 & wait; done']
EOF
}

database() {
  cat <<EOF
apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: db
  namespace: $namespace
spec:
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: db
        image: busybox:1.36
        command: [sh, -c, 'trap exit TERM; while :; do sleep 1 & wait; done']
        volumeMounts: [{name: data, mountPath: /data}]
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {storageClassName: standard, accessModes: [ReadWriteOnce], resources: {requests: {storage: 100Mi}}}
EOF
}

say "Two real clusters: a local one for users, and a remote one with the kubelets."
clusters up --local-path
on local get nodes
on remote get nodes

say "akd joins the local cluster as the node $node."
clusters load-image dist/akd-image.tar
actual install "$node" --remote-context=remote --image="$image" --storage=claims
on local get nodes -o wide

say "A Deployment in the local namespace $namespace is scheduled to that node."
manifest
manifest | clusters kubectl local apply -f - || fail "the Deployment was not accepted"
on local rollout status -n "$namespace" deployment/hello --timeout=120s
on local get pods -n "$namespace" -o wide

say "Logs and exec work as on any node."
pod=$(clusters kubectl local get pods -n "$namespace" -l app=hello -o 'jsonpath={.items[0].metadata.name}')
on local logs -n "$namespace" "$pod"
on local exec -n "$namespace" "$pod" -- hostname
[ "$(clusters kubectl local logs -n "$namespace" "$pod")" = "hello from $pod" ] || fail "the log is not that of the container"
[ "$(clusters kubectl local exec -n "$namespace" "$pod" -- hostname)" = "$pod" ] || fail "exec did not reach the container"

say "The containers run in the remote cluster, in a namespace for this node and this local namespace."
selector=actual.vk/node-name=$node,actual.vk/namespace=$namespace
on remote get namespaces -l "$selector" --show-labels
found=$(clusters kubectl remote get namespaces -l "$selector" -o 'jsonpath={.items[*].metadata.name}')
[ "$found" = "$remote_namespace" ] || fail "the remote namespace is '$found', not $remote_namespace"
on remote get pods -n "$remote_namespace" -o wide
names='{range .items[*]}{.metadata.name}{"\n"}{end}'
[ "$(clusters kubectl local get pods -n "$namespace" -l app=hello -o "jsonpath=$names" | sort)" = \
  "$(clusters kubectl remote get pods -n "$remote_namespace" -l app=hello -o "jsonpath=$names" | sort)" ] ||
  fail "the local and the remote pods differ"
nodes=$(clusters kubectl remote get pods -n "$remote_namespace" -o 'jsonpath={.items[*].spec.nodeName}')
case " $nodes " in *" $node "* | "  ") fail "the remote pods are not on real nodes: $nodes" ;; esac

say "A StatefulSet has its data in the remote cluster, and finds it again after its pod was deleted."
database
database | clusters kubectl local apply -f - || fail "the StatefulSet was not accepted"
on local rollout status -n "$namespace" statefulset/db --timeout=120s
on local exec -n "$namespace" db-0 -- sh -c 'echo "written by a former pod" > /data/note'
on local delete pod -n "$namespace" db-0
on local rollout status -n "$namespace" statefulset/db --timeout=120s
on local exec -n "$namespace" db-0 -- cat /data/note
[ "$(clusters kubectl local exec -n "$namespace" db-0 -- cat /data/note)" = "written by a former pod" ] || fail "the data is lost"
on local get persistentvolumeclaims -n "$namespace"
on remote get persistentvolumeclaims -n "$remote_namespace"
actual where -n "$namespace" pvc/data-db-0

say "The plugin shows where the pods run, and the state of the node."
actual where -n "$namespace" -l app=hello
actual status "$node"

say "It also checks the setup: rights, policies, versions, clocks and routes between the clusters."
actual check "$node" --remote-context=remote

cat <<EOF

# That is Actual Kubelets. Both clusters and akd keep running. Look around:
bin/clusters --dir $dir kubectl local get pods -A -o wide
bin/clusters --dir $dir kubectl remote get pods -A -o wide
bin/clusters --dir $dir kubectl local scale -n $namespace deployment/hello --replicas=5
bin/clusters --dir $dir kubectl local logs -n $namespace deployment/hello
bin/clusters --dir $dir kubectl local logs -f -n actual-system deployment/$node

# Take everything down:
make down
EOF
