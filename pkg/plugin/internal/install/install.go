package install

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/command"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/failure"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/output"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/ranges"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/rights"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/config"
)

// Modes of --dry-run, as kubectl has them.
const (
	dryRunNone   = "none"
	dryRunClient = "client"
	dryRunServer = "server"
)

// installOptions are those of kubectl actual install.
type installOptions struct {
	env *command.Env
	nodeOptions
	remoteServer string
	tokenLife    tokenLifetime
	dryRun       string
	wait         bool
	force        bool
	takeOver     bool
	quiet        bool
	timeout      time.Duration
	probeImage   string
}

// NewInstall returns the command install.
func NewInstall(env *command.Env) *cobra.Command {
	o := &installOptions{env: env}
	cmd := &cobra.Command{
		Use:     "install NODE --remote-context CONTEXT",
		Aliases: []string{"upgrade"},
		Short:   "Install or upgrade a node",
		Long: `Install or upgrade a node. A rerun changes what differs, and resumes an
installation that was interrupted.

A node's name belongs to one local cluster in the remote cluster. install changes
nothing if it belongs to another one. --take-over is for a local cluster that has
moved: the other cluster's akd loses its credential, and its remote namespaces
become this cluster's. akd then deletes the pods in them that no local pod needs.`,
		Example: `  # Install a node whose pods run in the cluster of context "remote"
  kubectl actual install vk-ak-example --remote-context=remote

  # Run two akds, and keep away pods that do not tolerate the node
  kubectl actual install vk-ak-example --remote-context=remote --replicas=2 --taint=actual.vk/node=true:NoSchedule

  # Give claims volumes of the remote cluster's default StorageClass
  kubectl actual install vk-ak-example --remote-context=remote --storage=claims

  # Check on the servers what would be installed
  kubectl actual install vk-ak-example --remote-context=remote --dry-run=server`,
		Args: command.OneNode,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.complete(args); err != nil {
				return err
			}
			if err := o.Validate(); err != nil {
				return err
			}
			return o.Run(cmd.Context())
		},
	}
	flags := cmd.Flags()
	o.addFlags(flags, env.Version)
	flags.StringVar(&o.remoteServer, "remote-server", "",
		"https://HOST:PORT at which pods of the local cluster reach the remote API server (default: the kubeconfig's server)")
	o.tokenLife.addFlag(flags)
	flags.StringVar(&o.dryRun, "dry-run", dryRunNone,
		`must be "none", "server" (submit the objects without storing them) or "client" (print the objects)`)
	flags.BoolVar(&o.wait, "wait", true, "wait until the node is ready and has run a probe pod")
	flags.DurationVar(&o.timeout, "timeout", 3*time.Minute, "how long to wait")
	flags.BoolVar(&o.force, "force-conflicts", false, "take over fields that others manage")
	flags.BoolVar(&o.takeOver, "take-over", false,
		"take the node over from another local cluster, or move it from another remote one, which are gone for good")
	flags.StringVar(&o.probeImage, "probe-image", "registry.k8s.io/pause:3.10.2", "image of the probe pod; it only needs to start")
	flags.BoolVarP(&o.quiet, "quiet", "q", false, "print only results and errors")
	return cmd
}

// Validate checks what can be checked without a cluster.
func (o *installOptions) Validate() error {
	if !slices.Contains([]string{dryRunNone, dryRunClient, dryRunServer}, o.dryRun) {
		return failure.Usagef("--dry-run %q: want none, client or server", o.dryRun)
	}
	if err := kubeclient.CheckServer("--remote-server", o.remoteServer); err != nil {
		return err
	}
	return o.validate()
}

// Run installs the node.
func (o *installOptions) Run(ctx context.Context) error {
	if o.dryRun == dryRunClient {
		return o.print(ctx)
	}
	steps := output.NewSteps(o.env.ErrOut(), o.quiet)
	i := &installer{options: o}
	plan, err := i.prepare(ctx, steps)
	if err != nil {
		return err
	}
	out := o.env.Out()
	if err := i.run(ctx, steps, plan); err != nil {
		return failure.Hintf(err, "%s so far; run the same command again to resume", i.counts)
	}
	if o.dryRun == dryRunServer {
		out.Printf("node/%s would be installed: %s (server dry run)\n", o.node, i.counts)
		return nil
	}
	out.Printf("node/%s installed: %s\n", o.node, i.counts)
	return nil
}

// print shows what would be applied, to both clusters.
func (o *installOptions) print(ctx context.Context) error {
	if err := o.findCluster(ctx, o.env.Access); err != nil {
		return err
	}
	if err := o.needClasses(); err != nil {
		return err
	}
	values, err := o.values(discovered{})
	if err != nil {
		return err
	}
	for _, side := range []kubeclient.Side{kubeclient.Remote, kubeclient.Local} {
		if err := printManifests(o.env.Out(), side, values); err != nil {
			return err
		}
	}
	return nil
}

// prepare reads the clusters and plans. It changes nothing.
func (i *installer) prepare(ctx context.Context, steps *output.Steps) (plan installPlan, err error) {
	var found discovered
	var values manifests.Values
	o := i.options
	review := func(ctx context.Context) (outcome string, err error) {
		if values, err = o.values(found); err != nil {
			return "", err
		}
		return reviewRights(ctx, i.both, values)
	}
	var forbidden error // to read the owner: one of many rights that are missing
	for _, s := range []struct {
		name string
		do   func(context.Context) (string, error)
	}{
		{"clusters", func(ctx context.Context) (string, error) { return i.connect(ctx, &found) }},
		{"owner of the node's name", func(ctx context.Context) (outcome string, err error) {
			i.claims, outcome, err = o.checkOwner(ctx, i.both)
			if apierrors.IsForbidden(err) {
				forbidden = err
				return "you may not read it", nil
			}
			return outcome, err
		}},
		{"akd's route", i.findRoute},
		{"services", func(ctx context.Context) (string, error) { return o.discoverServices(ctx, i.both, &found) }},
		{"storage", func(ctx context.Context) (string, error) { return o.discoverStorage(ctx, i.both, &found) }},
		{"your rights", review},
		{"placement of pods", func(ctx context.Context) (string, error) {
			if err := o.checkRoom(found); err != nil {
				return "", err
			}
			return readPlacement(ctx, i.both.Remote, &values)
		}},
	} {
		if err := steps.Do(ctx, s.name, s.do); err != nil {
			return installPlan{}, err
		}
		if forbidden != nil {
			return installPlan{}, cmp.Or(steps.Do(ctx, "your rights", review), forbidden)
		}
	}
	i.values = values
	recorded, err := readRecords(ctx, i.both, o.node)
	if err != nil {
		return installPlan{}, err
	}
	approver, err := i.hasApprover(ctx)
	if err != nil {
		return installPlan{}, err
	}
	return planInstall(values, recorded, choices{
		approver: approver,
		dryRun:   o.dryRun == dryRunServer,
		wait:     o.wait,
		takeOver: o.takeOver,
		server:   i.localServer(),
	})
}

// connect reaches both clusters, and reads what akd will not.
func (i *installer) connect(ctx context.Context, found *discovered) (outcome string, err error) {
	o := i.options
	if i.both, err = o.env.Access.Connect(ctx); err != nil {
		return "", err
	}
	o.clusterUID = string(i.both.Local.UID)
	if found.policies, err = checkPolicies(i.both.Remote, o.unconfined); err != nil {
		return "", err
	}
	if o.approveCertificates {
		if err := checkLocalPolicies(i.both.Local); err != nil {
			return "", err
		}
	}
	if o.readsRemoteNodes() {
		if found.nodes, err = o.readRemoteNodes(ctx, i.both.Remote); err != nil {
			return "", err
		}
	}
	versions := fmt.Sprintf("local %s, remote %s", i.both.Local.Version, i.both.Remote.Version)
	if untrue := o.untrueLabels(*found); len(untrue) > 0 {
		return fmt.Sprintf("%s; not all remote nodes that take the pods have %s: a pod that requires it may run on one that has not, "+
			"unless pods.nodeSelector or pods.placement.nodeLabels in --config keep it away", versions, strings.Join(untrue, ", ")), nil
	}
	return versions, nil
}

// localServer is the local API server's address as it is recorded in the remote
// cluster: the one of the first installation, so that another administrator's
// address changes nothing.
func (i *installer) localServer() string {
	for _, own := range i.claims.Own {
		if server := own.GetAnnotations()[contract.AnnotationLocalServer]; server != "" {
			return server
		}
	}
	return i.both.Local.Config.Host
}

// discoverServices reads what the clusters allow, and decides.
func (o *nodeOptions) discoverServices(ctx context.Context, both kubeclient.Clusters, found *discovered) (string, error) {
	if o.requestedServices() == string(config.ServicesNone) {
		return "none, as configured", nil
	}
	given, err := ranges.Parse(o.serviceCIDRs)
	if err != nil {
		return "", failure.Usagef("--service-cidr: %w", err)
	}
	current, err := o.currentServices(ctx, both)
	if err != nil {
		return "", err
	}
	addresses, err := ranges.Find(ctx, both, o.node, given)
	choice, err := o.chooseServices(&addresses, current, err)
	if err != nil {
		return "", err
	}
	found.services, found.ranges, found.endpoints = string(choice.mode), choice.ranges, choice.endpoints
	return choice.String(), nil
}

// reviewRights asks both clusters for every right that install needs, so that a
// missing one leaves nothing half installed.
func reviewRights(ctx context.Context, both kubeclient.Clusters, values manifests.Values) (string, error) {
	var missing []string
	reviewed := 0
	for _, c := range []*kubeclient.Cluster{both.Local, both.Remote} {
		answers, err := rights.ReviewInstall(ctx, c, values)
		if err != nil {
			return "", err
		}
		if len(answers.Denied) > 0 {
			missing = append(missing, fmt.Sprintf("%s cluster: missing: %s", c.Side, strings.Join(rights.Rules(answers.Denied), "; ")))
		}
		reviewed += len(answers.Asked)
	}
	if len(missing) > 0 {
		return "", failure.Hintf(errors.New(strings.Join(missing, "\n")),
			"ask an administrator for these rights, or to install the node")
	}
	return fmt.Sprintf("%d reviewed", reviewed), nil
}
