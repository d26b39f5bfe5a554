package plugin

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/utils/clock"
	"sigs.k8s.io/yaml"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

const (
	// reportLogBytes is how much of each container's log is kept, from its end.
	reportLogBytes = 5 << 20
	// reportPods is how many pods of a side, and events of a namespace, are kept.
	reportPods = 1000
)

// report gathers what somebody needs who was not there.
type report struct {
	access  *access
	streams genericiooptions.IOStreams
	build   Build
	clock   clock.PassiveClock

	file   string
	node   string
	both   clusters
	redact *redactor
	notes  []string // what could not be had, and why
}

func newReport(access *access, streams genericiooptions.IOStreams, build Build) *cobra.Command {
	r := &report{access: access, streams: streams, build: build, clock: clock.RealClock{}}
	cmd := &cobra.Command{
		Use:   "report NODE --remote-context CONTEXT",
		Short: "Write a zip for a bug report: objects of both clusters, events, logs, checks",
		Long: `Write a zip for a bug report: what was installed for a node on both sides, its
pods and theirs, events, akd's logs, and what kubectl actual check finds (but
for its probe pod). Nothing is sent anywhere.

Secrets are there by name, key and size only. Values of environment variables,
last-applied configurations, and whatever looks like a token, a password or a
private key are taken out, and so is every value of the Secrets seen, wherever
it occurs. Names of pods, nodes, images and addresses stay: look before you
publish it.`,
		Example: "  kubectl actual report vk-ak-example --remote-context=remote -f report.zip",
		Args:    oneNode,
		RunE:    func(cmd *cobra.Command, args []string) error { return r.run(cmd.Context(), args[0]) },
	}
	cmd.Flags().StringVarP(&r.file, "filename", "f", "", "file to write, which must not exist; kubectl-actual-NODE-TIME.zip unless given")
	return cmd
}

func (r *report) run(ctx context.Context, node string) (err error) {
	if err := contract.CheckNodeName(node); err != nil {
		return usageError{err}
	}
	r.node = node
	if r.both, err = r.access.connect(ctx); err != nil {
		return err
	}
	if r.file == "" {
		r.file = fmt.Sprintf("kubectl-actual-%s-%s.zip", node, r.clock.Now().UTC().Format("20060102T150405Z"))
	}
	file, err := os.OpenFile(r.file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return usagef("%s exists: name another file with --filename", r.file)
	}
	if err != nil {
		return usageError{err}
	}
	err = r.fill(ctx, file)
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return errors.Join(err, os.Remove(r.file)) // half a report tells nothing
	}
	for _, note := range r.notes {
		printf(r.streams.ErrOut, "left out: %s\n", note)
	}
	printf(r.streams.Out, "%s written: look through it before you publish it\n", r.file)
	return nil
}

// fill gathers all before it writes anything: what is secret is only known
// when every Secret has been seen.
func (r *report) fill(ctx context.Context, to io.Writer) error {
	r.redact = newRedactor()
	entries := map[string]string{}
	for _, c := range []*cluster{r.both.local, r.both.remote} {
		r.redact.learn(c.config)
		if err := r.gather(ctx, c, entries); err != nil {
			return err
		}
		if err := r.logs(ctx, c, entries); err != nil {
			return err
		}
	}
	if err := r.checks(ctx, entries); err != nil {
		return err
	}
	entries["about.txt"] = fmt.Sprintf("node %s\nkubectl-actual %s\nlocal Kubernetes %s\nremote Kubernetes %s\nwritten %s\n\nleft out:\n%s\n",
		r.node, r.build.Version, r.both.local.version, r.both.remote.version, r.clock.Now().UTC().Format(time.RFC3339), strings.Join(r.notes, "\n"))
	archive := zip.NewWriter(to)
	for _, name := range sortedKeys(entries) {
		entry, err := archive.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate, Modified: r.clock.Now()})
		if err != nil {
			return fmt.Errorf("write %s: %w", r.file, err)
		}
		if _, err := io.WriteString(entry, r.redact.text(entries[name])); err != nil {
			return fmt.Errorf("write %s: %w", r.file, err)
		}
	}
	if err := archive.Close(); err != nil {
		return fmt.Errorf("write %s: %w", r.file, err)
	}
	return ctx.Err()
}

// wantedList is one list of objects in a report.
type wantedList struct {
	group, version, resource string
	namespace                string
	options                  metav1.ListOptions
}

// wanted are the lists of objects that a report has of one side.
func (r *report) wanted(c *cluster) []wantedList {
	node := metav1.ListOptions{LabelSelector: contract.LabelNodeName + "=" + r.node, Limit: reportPods}
	const rbac, admission = "rbac.authorization.k8s.io", "admissionregistration.k8s.io"
	all := []wantedList{
		{"", "v1", "configmaps", contract.SystemNamespace, node},
		{"", "v1", "secrets", contract.SystemNamespace, node},
		{"", "v1", "serviceaccounts", contract.SystemNamespace, node},
		{"", "v1", "pods", "", node},
		{"", "v1", "events", contract.SystemNamespace, metav1.ListOptions{Limit: reportPods}},
		{"", "v1", "namespaces", "", node},
		{"apps", "v1", "deployments", contract.SystemNamespace, node},
		{"coordination.k8s.io", "v1", "leases", contract.SystemNamespace, node},
		{rbac, "v1", "roles", "", node}, {rbac, "v1", "rolebindings", "", node},
		{rbac, "v1", "clusterroles", "", node}, {rbac, "v1", "clusterrolebindings", "", node},
	}
	if c.side == "remote" {
		return append(all,
			wantedList{admission, "v1", "validatingadmissionpolicies", "", node},
			wantedList{admission, "v1", "validatingadmissionpolicybindings", "", node},
			wantedList{"networking.k8s.io", "v1", "servicecidrs", "", node},
		)
	}
	return append(all,
		wantedList{"", "v1", "nodes", "", metav1.ListOptions{FieldSelector: "metadata.name=" + r.node}},
		wantedList{"", "v1", "pods", "", metav1.ListOptions{FieldSelector: "spec.nodeName=" + r.node, Limit: reportPods}},
		wantedList{"", "v1", "events", "", metav1.ListOptions{FieldSelector: "involvedObject.name=" + r.node, Limit: reportPods}},
	)
}

// gather lists one side's objects. What the user may not list is left out, and
// said.
func (r *report) gather(ctx context.Context, c *cluster, entries map[string]string) error {
	pods := map[string]bool{}
	for i, one := range r.wanted(c) {
		found, err := r.list(ctx, c, one)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil || len(found) == 0 {
			continue
		}
		if one.resource == "pods" {
			for _, pod := range found {
				pods[pod.GetNamespace()] = true
			}
		}
		name := fmt.Sprintf("%s/%02d-%s.yaml", c.side, i+1, one.resource)
		if entries[name], err = r.redact.objects(found); err != nil {
			return err
		}
	}
	for _, namespace := range sortedKeys(pods) {
		found, err := r.list(ctx, c, wantedList{"", "v1", "events", namespace, metav1.ListOptions{FieldSelector: "involvedObject.kind=Pod", Limit: reportPods}})
		if err != nil || len(found) == 0 {
			continue
		}
		if entries[c.side+"/events-"+namespace+".yaml"], err = r.redact.objects(found); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (r *report) list(ctx context.Context, c *cluster, one wantedList) ([]unstructured.Unstructured, error) {
	resource := schema.GroupVersionResource{Group: one.group, Version: one.version, Resource: one.resource}
	found, err := c.dynamic.Resource(resource).Namespace(one.namespace).List(ctx, one.options)
	if apierrors.IsNotFound(err) {
		return nil, nil // no such kind there
	}
	if err != nil {
		r.notes = append(r.notes, fmt.Sprintf("%s %s: %s", c.side, one.resource, err))
		return nil, err
	}
	if found.GetContinue() != "" {
		r.notes = append(r.notes, fmt.Sprintf("%s %s beyond the first %d", c.side, one.resource, reportPods))
	}
	return found.Items, nil
}

// logs are akd's, of each of its pods on one side, also from before a restart.
func (r *report) logs(ctx context.Context, c *cluster, entries map[string]string) error {
	client := c.client.CoreV1().Pods(contract.SystemNamespace)
	akds, err := client.List(ctx, akdPods(r.node))
	if err != nil {
		r.notes = append(r.notes, fmt.Sprintf("%s akd's logs: %s", c.side, err))
		return ctx.Err()
	}
	for i := range akds.Items {
		pod := &akds.Items[i]
		for _, previous := range []bool{false, true} {
			if previous && !restarted(pod) {
				continue
			}
			content, err := client.GetLogs(pod.Name, &corev1.PodLogOptions{Previous: previous, LimitBytes: new(int64(reportLogBytes)), TailLines: new(int64(20000))}).DoRaw(ctx)
			if err != nil {
				r.notes = append(r.notes, fmt.Sprintf("log of %s pod %s: %s", c.side, pod.Name, err))
				continue
			}
			entries[fmt.Sprintf("%s/logs/%s%s.log", c.side, pod.Name, map[bool]string{true: "-previous"}[previous])] = string(content)
		}
	}
	return ctx.Err()
}

func restarted(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool { return s.RestartCount > 0 })
}

// checks are made without the probe pod: a report changes nothing.
func (r *report) checks(ctx context.Context, entries map[string]string) error {
	e := &examination{access: r.access, build: r.build, clock: r.clock, node: r.node, both: r.both}
	var live strings.Builder
	plain := style{mode: colorNever, clock: clock.RealClock{}}
	found := e.all(ctx, plain.on(&live))
	content, err := yaml.Marshal(map[string]any{"apiVersion": schemaVersion, "kind": "CheckList", "items": found})
	if err != nil {
		return fmt.Errorf("write the checks: %w", err)
	}
	entries["check.txt"], entries["check.yaml"] = live.String()+"\n"+tally(found)+"\n", string(content)
	return ctx.Err()
}
