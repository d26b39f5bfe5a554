//go:build e2e

package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

// jobLabel is on the Jobs that the churn creates.
const jobLabel = "faults.example.org/job"

// container is the template of a pod of the node, up to the command of its container.
const container = `    spec:
      nodeSelector: {kubernetes.io/hostname: %[1]s}
      terminationGracePeriodSeconds: 2
      containers:
      - name: main
        image: busybox:1.36
        imagePullPolicy: Never
`

// idlePod is one that does nothing until it is deleted.
const idlePod = container + `        command: [sh, -c, 'trap "exit 0" TERM; sleep 1000000 & wait $!']
`

// workloads are one of each kind that the churn changes, apart from Jobs.
const workloads = `
apiVersion: v1
kind: ConfigMap
metadata: {name: config}
data: {round: "0"}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 8000, targetPort: 80}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
` + idlePod + `        volumeMounts: [{name: config, mountPath: /config}]
      volumes: [{name: config, configMap: {name: config}}]
---
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {selector: {app: db}, clusterIP: None, ports: [{port: 5432}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  replicas: 2
  serviceName: db
  podManagementPolicy: Parallel
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
` + idlePod + `---
apiVersion: batch/v1
kind: CronJob
metadata: {name: tick}
spec:
  schedule: "* * * * *"
  concurrencyPolicy: Forbid
  successfulJobsHistoryLimit: 1
  failedJobsHistoryLimit: 1
  jobTemplate:
    spec:
      backoffLimit: 0
      template:
        metadata: {annotations: {faults.example.org/exit: "0"}}
        spec:
          restartPolicy: Never
          nodeSelector: {kubernetes.io/hostname: %[1]s}
          containers:
          - {name: main, image: 'busybox:1.36', imagePullPolicy: Never, command: [sleep, "3"]}
`

// churn is what users do to the workloads of the local cluster, whether or not it
// answers: an act that fails is one of a user who gives up.
type churn struct {
	client kubernetes.Interface
	choose *rand.Rand
	// prefix begins the names of what is created during one fault.
	prefix string
	jobs   int
	// storage: pods have claims.
	storage bool
}

// actTime is how long a user waits for an API server.
const actTime = 5 * time.Second

// act does one thing in one of the namespaces.
func (c *churn) act(ctx context.Context) {
	acts := []func(context.Context, string) error{c.scale, c.rollOut, c.replaceSet, c.deletePod, c.configure, c.serve, c.runJob, c.runJob}
	if c.storage {
		acts = append(acts, c.scaleStore, c.replaceStore, c.renewClaim, c.renewClaim, c.grow)
	}
	namespaces := churned()
	do, namespace := acts[c.choose.IntN(len(acts))], namespaces[c.choose.IntN(len(namespaces))]
	ctx, cancel := context.WithTimeout(ctx, actTime)
	defer cancel()
	_ = do(ctx, namespace)
}

// during spreads so many acts over the length of a fault.
func (c *churn) during(ctx context.Context, length time.Duration, acts int) {
	began := time.Now()
	for i := 0; i < acts && time.Since(began) < length; i++ {
		c.act(ctx)
		pause(ctx, time.Until(began.Add(length*time.Duration(i+1)/time.Duration(acts))))
	}
}

// pause lets time pass: that is what the length of a fault is.
func pause(ctx context.Context, length time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(length):
	}
}

func (c *churn) patchDeployment(ctx context.Context, namespace, patch string) error {
	_, err := c.client.AppsV1().Deployments(namespace).Patch(ctx, "web", types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{})
	return err
}

func (c *churn) scale(ctx context.Context, namespace string) error {
	return c.patchDeployment(ctx, namespace, fmt.Sprintf(`{"spec": {"replicas": %d}}`, 1+c.choose.IntN(4)))
}

// template is a patch with which all pods are replaced.
func (c *churn) template() string {
	return fmt.Sprintf(`{"spec": {"template": {"spec": {"containers": [{"name": "main", "env": [{"name": "ROUND", "value": "%s-%d"}]}]}}}}`,
		c.prefix, c.choose.IntN(1000))
}

func (c *churn) rollOut(ctx context.Context, namespace string) error {
	return c.patchDeployment(ctx, namespace, c.template())
}

func (c *churn) replaceSet(ctx context.Context, namespace string) error {
	return c.patchSet(ctx, namespace, "db", c.template())
}

func (c *churn) patchSet(ctx context.Context, namespace, name, patch string) error {
	_, err := c.client.AppsV1().StatefulSets(namespace).Patch(ctx, name, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{})
	return err
}

// deletePod deletes a pod that its controller replaces.
func (c *churn) deletePod(ctx context.Context, namespace string) error {
	pick := c.choose.IntN(1000)
	pods, err := c.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: "app in (web, db, " + storingApps + ")"})
	if err != nil {
		return err
	}
	if len(pods.Items) == 0 {
		return errors.New("no pod")
	}
	return c.client.CoreV1().Pods(namespace).Delete(ctx, pods.Items[pick%len(pods.Items)].Name, metav1.DeleteOptions{})
}

func (c *churn) configure(ctx context.Context, namespace string) error {
	patch := fmt.Sprintf(`{"data": {"round": "%s-%d"}}`, c.prefix, c.choose.IntN(1000))
	_, err := c.client.CoreV1().ConfigMaps(namespace).Patch(ctx, "config", types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	return err
}

func (c *churn) serve(ctx context.Context, namespace string) error {
	patch := fmt.Sprintf(`{"spec": {"ports": [{"port": %d, "targetPort": 80}]}}`, 8000+c.choose.IntN(1000))
	_, err := c.client.CoreV1().Services(namespace).Patch(ctx, "web", types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	return err
}

// runJob runs one or two pods that end with a code of their own.
func (c *churn) runJob(ctx context.Context, namespace string) error {
	code, life, pods := c.choose.IntN(3)*c.choose.IntN(100), 1+c.choose.IntN(4), int32(1+c.choose.IntN(2))
	c.jobs++
	template := ending(code, life)
	if c.storage && c.choose.IntN(2) == 0 {
		writeTo(&template.Spec, code, life)
	}
	name := fmt.Sprintf("%s-%d", c.prefix, c.jobs)
	job := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{jobLabel: name}},
		Spec: batchv1.JobSpec{
			Parallelism:  &pods,
			Completions:  &pods,
			BackoffLimit: new(int32(0)),
			Template:     template,
		},
	}
	_, err := c.client.BatchV1().Jobs(namespace).Create(ctx, job, metav1.CreateOptions{})
	return err
}

// ending is a pod that ends by itself after so many seconds, with that code.
func ending(code, life int) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{exitAnnotation: fmt.Sprint(code)}},
		Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever,
			NodeSelector:  map[string]string{corev1.LabelHostname: node},
			Containers: []corev1.Container{{
				Name:            "main",
				Image:           "busybox:1.36",
				ImagePullPolicy: corev1.PullNever,
				Command:         []string{"sh", "-c", fmt.Sprintf("sleep %d; exit %d", life, code)},
			}},
		},
	}
}

// witness returns nil once a pod that was created after a fault has ended.
func (c *churn) witness(ctx context.Context) error {
	template := ending(7, 1)
	if c.storage {
		writeTo(&template.Spec, 7, 1)
	}
	pods := c.client.CoreV1().Pods(churned()[0])
	name := c.prefix + "-witness"
	template.Name = name
	_, err := pods.Create(ctx, &corev1.Pod{ObjectMeta: template.ObjectMeta, Spec: template.Spec}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	pod, err := pods.Get(ctx, name, metav1.GetOptions{})
	if err == nil && !finished(pod) {
		err = fmt.Errorf("pod %s is %s", name, pod.Status.Phase)
	}
	return err
}

// tidy deletes what is finished, as users do who have read it.
func (f *field) tidy(t *testing.T) {
	t.Helper()
	err := within(t.Context(), patience, func(ctx context.Context) error {
		for _, namespace := range churned() {
			if err := deleteJobs(ctx, f.Local, namespace); err != nil {
				return err
			}
		}
		return deletePods(ctx, f.Local, f.selected(local))
	})
	if err != nil {
		t.Fatalf("delete what is finished: %v", err)
	}
}

func deleteJobs(ctx context.Context, client kubernetes.Interface, namespace string) error {
	jobs, err := client.BatchV1().Jobs(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for i := range jobs.Items {
		if !jobFinished(&jobs.Items[i]) {
			continue
		}
		options := metav1.DeleteOptions{PropagationPolicy: new(metav1.DeletePropagationBackground)}
		err := client.BatchV1().Jobs(namespace).Delete(ctx, jobs.Items[i].Name, options)
		if err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	}
	return nil
}

func deletePods(ctx context.Context, client kubernetes.Interface, which metav1.ListOptions) error {
	pods, err := client.CoreV1().Pods("").List(ctx, which)
	if err != nil {
		return err
	}
	for i := range pods.Items {
		pod := &pods.Items[i]
		if !finished(pod) {
			continue
		}
		if err := client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	}
	return nil
}
