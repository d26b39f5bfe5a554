//go:build e2e

package env

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ExampleNode is the node of tests to which its name does not matter.
const ExampleNode = "vk-ak-example"

// Web is a Deployment of that name, whose pods log "hello from" and their names.
func Web(node string, replicas int) string {
	return fmt.Sprintf(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: %d
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      nodeName: ""
      nodeSelector: {kubernetes.io/hostname: %s}
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        image: busybox:1.36
        imagePullPolicy: Never
        command: [sh, -c, 'echo hello from $HOSTNAME; trap "exit 0" TERM; while true; do sleep 1 & wait; done']
`, replicas, node)
}

// LocalServer is a Service real and its pod, on one of the local cluster's own
// nodes.
const LocalServer = `
apiVersion: v1
kind: Service
metadata: {name: real}
spec: {selector: {app: real}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Pod
metadata: {name: real, labels: {app: real}}
spec:
  nodeSelector: {actual.vk/infra: "true"}
  tolerations: [{key: actual.vk/infra, operator: Exists}]
  terminationGracePeriodSeconds: 1
  containers:
  - {name: web, image: agnhost:stable, imagePullPolicy: Never, args: [netexec]}
`

// IdlePod is a pod that runs and does nothing.
func IdlePod(name string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PodSpec{
			TerminationGracePeriodSeconds: new(int64(1)),
			Containers: []corev1.Container{{
				Name:            "web",
				Image:           "busybox:1.36",
				ImagePullPolicy: corev1.PullNever,
				Command:         []string{"sleep", "3600"},
			}},
		},
	}
}
