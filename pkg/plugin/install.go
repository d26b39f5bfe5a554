package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/rights"
)

// install is the command of that name.
type install struct {
	site
	access       *access
	streams      genericiooptions.IOStreams
	steps        *steps
	remoteServer string
	dryRun       string
	wait, force  bool
	timeout      time.Duration
	probeImage   string

	both       clusters
	home, away *cluster // akd runs in home
	total      counts
}

func newInstall(access *access, style *style, streams genericiooptions.IOStreams, build Build) *cobra.Command {
	i := &install{access: access, streams: streams, steps: &steps{out: streams.ErrOut, style: style}}
	cmd := &cobra.Command{
		Use:     "install NODE --remote-context CONTEXT",
		Aliases: []string{"upgrade"},
		Short:   "Install a node, or bring one up to date",
		Long: `Install a node, or bring one up to date. A rerun changes what differs, and
resumes where an earlier one was interrupted.`,
		Example: "  kubectl actual install vk-ak-example --remote-context=remote",
		Args:    oneNode,
		RunE: func(cmd *cobra.Command, args []string) error {
			i.values.Node = args[0]
			return i.run(cmd.Context())
		},
	}
	flags := cmd.Flags()
	i.addFlags(flags, build)
	flags.StringVar(&i.remoteServer, "remote-server", "", "https://HOST:PORT of the remote API server, as pods of the local cluster reach it")
	flags.StringVar(&i.dryRun, "dry-run", "none", "none, client (print what would be applied), or server (have the servers check it)")
	flags.BoolVar(&i.wait, "wait", true, "wait until the node is ready and a probe pod has run on it")
	flags.DurationVar(&i.timeout, "timeout", 3*time.Minute, "how long to wait")
	flags.BoolVar(&i.force, "force-conflicts", false, "take over fields that others manage")
	flags.StringVar(&i.probeImage, "probe-image", "registry.k8s.io/pause:3.10.2", "image of the probe pod, of which only its running is asked")
	flags.BoolVarP(&i.steps.quiet, "quiet", "q", false, "print results and errors only")
	return cmd
}

func (i *install) run(ctx context.Context) error {
	if i.dryRun != "none" && i.dryRun != "client" && i.dryRun != "server" {
		return usagef("--dry-run %q: want none, client or server", i.dryRun)
	}
	if err := checkServer("--remote-server", i.remoteServer); err != nil {
		return err
	}
	if err := i.complete(); err != nil {
		return err
	}
	if i.dryRun == "client" {
		if err := i.print(i.streams.Out, "remote"); err != nil {
			return err
		}
		return i.print(i.streams.Out, "local")
	}
	if err := i.steps.do(ctx, "clusters", i.preflight); err != nil {
		return err
	}
	if err := i.steps.do(ctx, "services", i.chooseServices); err != nil {
		return err
	}
	if err := i.complete(); err != nil {
		return err
	}
	if err := i.steps.do(ctx, "your rights", i.checkRights); err != nil {
		return err
	}
	if err := i.applyAll(ctx); err != nil {
		return i.soFar(err)
	}
	if i.dryRun == "server" {
		printf(i.streams.Out, "node/%s would be installed: %s (server dry run)\n", i.values.Node, &i.total)
		return nil
	}
	if i.wait {
		if err := i.waitAll(ctx); err != nil {
			return i.soFar(err)
		}
	}
	printf(i.streams.Out, "node/%s installed: %s\n", i.values.Node, &i.total)
	return nil
}

// soFar adds to an error what stays, and how to go on.
func (i *install) soFar(err error) error {
	return fmt.Errorf("%w\n%s so far; run the same command again to resume", err, &i.total)
}

// checkRights asks both clusters for every right that install needs, so that a
// missing one leaves nothing half installed.
func (i *install) checkRights(ctx context.Context) (string, error) {
	var missing []string
	count := 0
	for _, c := range []*cluster{i.both.local, i.both.remote} {
		answers, err := rights.ReviewInstall(ctx, c.bridged(), i.values) // what the remote nodes have is added up by now
		if err != nil {
			return "", err
		}
		if len(answers.Denied) > 0 {
			missing = append(missing, fmt.Sprintf("%s cluster: missing: %s: ask an administrator of the %s cluster for these rights, or to install the node",
				c.side, strings.Join(rights.Rules(answers.Denied), "; "), c.side))
		}
		count += len(answers.Asked)
	}
	if len(missing) > 0 {
		return "", errors.New(strings.Join(missing, "\n"))
	}
	return fmt.Sprintf("%d asked for", count), nil
}

// preflight changes nothing.
func (i *install) preflight(ctx context.Context) (string, error) {
	both, err := i.access.connect(ctx)
	if err != nil {
		return "", err
	}
	i.both, i.home, i.away = both, both.local, both.remote
	if i.values.RunIn == manifests.RunInRemote {
		i.home, i.away = both.remote, both.local
	}
	has, err := both.remote.hasPolicies()
	if err != nil {
		return "", err
	}
	if !has && !i.unconfined {
		return "", fmt.Errorf("the remote cluster %s has no ValidatingAdmissionPolicy, which confines akd to its own namespaces: upgrade it to Kubernetes 1.30, or accept that with --allow-unconfined-remote",
			both.remote.version)
	}
	if err := i.addCapacity(ctx); err != nil {
		return "", err
	}
	return fmt.Sprintf("local %s, remote %s", both.local.version, both.remote.version), nil
}

// addCapacity takes what the remote nodes have together for the node's, so that
// akd needs no right to list them.
func (i *install) addCapacity(ctx context.Context) error {
	if len(i.capacity) > 0 || i.values.ReadNodes || i.file != "" {
		return nil
	}
	nodes, err := i.both.remote.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("add up the remote nodes: %w: say what the node has with --capacity cpu=…,memory=…,pods=…", err)
	}
	sum := corev1.ResourceList{}
	for n := range nodes.Items {
		if nodes.Items[n].Spec.Unschedulable {
			continue
		}
		for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourcePods, corev1.ResourceEphemeralStorage} {
			total := sum[name]
			total.Add(nodes.Items[n].Status.Allocatable[name])
			sum[name] = total
		}
	}
	i.capacity = map[string]string{}
	for name, quantity := range sum {
		if quantity.Cmp(resource.Quantity{}) > 0 {
			i.capacity[string(name)] = quantity.String()
		}
	}
	return nil
}

// applyAll applies the cluster's side that akd does not run in, akd's rights at
// home, its credential, and at last akd itself.
func (i *install) applyAll(ctx context.Context) error {
	local, err := manifests.Local(i.values)
	if err != nil {
		return usageError{err}
	}
	remote, err := manifests.Remote(i.values)
	if err != nil {
		return usageError{err}
	}
	away, home := remote, local
	if i.home == i.both.remote {
		away, home = local, remote
	}
	needed, akd := beforeDeployment(home)
	if err := i.applySide(ctx, i.away, "rights", away); err != nil {
		return err
	}
	if err := i.applySide(ctx, i.home, "rights", needed); err != nil {
		return err
	}
	if i.dryRun == "none" {
		if err := i.steps.do(ctx, "remote policies in force", i.awaitPolicies); err != nil {
			return err
		}
		if err := i.steps.do(ctx, "record of namespaces", i.seedRecord); err != nil {
			return err
		}
		if err := i.steps.do(ctx, "credential", i.storeCredential); err != nil {
			return err
		}
	}
	return i.applySide(ctx, i.home, "akd", akd)
}

func (i *install) applySide(ctx context.Context, c *cluster, what string, objects []*unstructured.Unstructured) error {
	return i.steps.do(ctx, c.side+" "+what, func(ctx context.Context) (string, error) {
		a := applier{cluster: c, force: i.force, dryRun: i.dryRun == "server"}
		err := a.apply(ctx, objects)
		i.total.add(a.counts)
		return a.counts.String(), err
	})
}

func (i *install) storeCredential(ctx context.Context) (string, error) {
	given := i.remoteServer
	if i.away == i.both.local {
		given = ""
		if i.localServer != "" {
			given = "https://" + i.localServer
		}
	}
	server, err := i.away.server(ctx, given)
	if err != nil {
		return "", err
	}
	made := credential{node: i.values.Node, away: i.away, home: i.home, server: server}
	tally, expires, err := made.store(ctx)
	i.total.add(tally)
	if apierrors.IsForbidden(err) {
		return "", fmt.Errorf("%w: your user needs create on serviceaccounts/token in actual-system", err)
	}
	return "for " + server + " until " + expires, err
}

// seedRecord writes namespaces of the node into akd's record that are not in it:
// an akd with an administrator's kubeconfig, as the node may have had before,
// keeps none, and with a tenant's would not find them.
func (i *install) seedRecord(ctx context.Context) (string, error) {
	remote := i.both.remote.client.CoreV1()
	local, err := i.both.local.client.CoreV1().Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("read the local cluster's UID: %w", err)
	}
	found, err := remote.Namespaces().List(ctx, metav1.ListOptions{LabelSelector: contract.LabelNodeName + "=" + i.values.Node})
	if err != nil {
		return "", fmt.Errorf("look for the node's remote namespaces: %w", err)
	}
	name := contract.RecordName(i.values.Node)
	owner := contract.Owner{Node: i.values.Node, ClusterUID: local.UID}
	record, err := remote.ConfigMaps(contract.SystemNamespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("read akd's record of namespaces: %w", err)
	}
	missing := map[string]string{}
	for n := range found.Items {
		namespace := &found.Items[n]
		mapped := namespace.Labels[contract.LabelNamespace]
		if _, known := record.Data[namespace.Name]; !known && owner.OwnsNamespace(namespace, mapped) == nil {
			missing[namespace.Name] = mapped
		}
	}
	if len(missing) == 0 {
		return "", nil
	}
	patch, err := json.Marshal(map[string]any{"data": missing})
	if err != nil {
		return "", err
	}
	// By akd's name, whose data this is: a later apply leaves it alone.
	if _, err := remote.ConfigMaps(contract.SystemNamespace).Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "akd"}); err != nil {
		return "", fmt.Errorf("write akd's record of namespaces: %w", err)
	}
	return fmt.Sprintf("%d added that akd had before", len(missing)), nil
}
