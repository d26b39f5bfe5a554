package kubeclient

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/internal/spelling"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/failure"
)

// Access is how both clusters are reached: the local one as kubectl does, the
// remote one by flags of its own, and never by the current context.
type Access struct {
	// Local has kubectl's own flags.
	Local  *genericclioptions.ConfigFlags
	remote remoteFlags
}

// NewAccess returns an access whose defaults are in the environment.
func NewAccess(env func(string) string) *Access {
	local := genericclioptions.NewConfigFlags(true)
	local.Namespace = nil // akd has its own
	return &Access{
		Local:  local,
		remote: remoteFlags{local: local, context: env("ACTUAL_REMOTE_CONTEXT"), files: env("ACTUAL_REMOTE_KUBECONFIG")},
	}
}

// AddFlags adds the flags that name the two clusters.
func (a *Access) AddFlags(flags *pflag.FlagSet) {
	a.Local.AddFlags(flags)
	a.remote.addTo(flags)
}

// Clusters are both sides. Remote is nil if it was not asked for.
type Clusters struct{ Local, Remote *Cluster }

// Commands are the commands of this run, for messages.
func (c Clusters) Commands() Commands {
	if c.Local != nil {
		return c.Local.Commands
	}
	return c.Remote.Commands
}

// Owner returns the owner of the remote objects of one of the local cluster's nodes.
func (c Clusters) Owner(node string) contract.Owner {
	return contract.Owner{Node: node, ClusterUID: c.Local.UID}
}

// NamesRemote reports whether the user named a remote cluster.
func (a *Access) NamesRemote() bool { return a.remote.context != "" || a.remote.files != "" }

// Clients prepares to reach both clusters, and contacts neither.
func (a *Access) Clients() (Clusters, error) {
	if !a.NamesRemote() {
		return Clusters{}, failure.Hintf(failure.Usagef("no remote cluster was given"), "name its context with --remote-context%s", a.contexts())
	}
	local, err := a.LocalClient()
	if err != nil {
		return Clusters{}, err
	}
	remote, err := newCluster(Remote, a.remote.context, &a.remote)
	if err != nil {
		return Clusters{}, err
	}
	remote.Commands = a.Commands()
	return Clusters{Local: local, Remote: remote}, nil
}

// LocalClient prepares to reach the local cluster, and does not contact it.
func (a *Access) LocalClient() (*Cluster, error) {
	local, err := newCluster(Local, *a.Local.Context, a.Local)
	if err != nil {
		return nil, err
	}
	local.Commands = a.Commands()
	return local, nil
}

// Connect reaches both clusters, and refuses the same one twice.
func (a *Access) Connect(ctx context.Context) (Clusters, error) {
	both, err := a.Clients()
	if err != nil {
		return Clusters{}, err
	}
	local, remote := both.Local, both.Remote
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return local.Identify(ctx) })
	group.Go(func() error { return remote.Identify(ctx) })
	if err := group.Wait(); err != nil {
		return Clusters{}, err
	}
	if local.UID == remote.UID {
		err := failure.Usagef("both contexts lead to the same cluster, whose namespace kube-system has UID %s", local.UID)
		return Clusters{}, failure.Hintf(err, "name another cluster with --remote-context")
	}
	return both, nil
}

// ConnectLocal reaches the local cluster only.
func (a *Access) ConnectLocal(ctx context.Context) (Clusters, error) {
	local, err := a.LocalClient()
	if err != nil {
		return Clusters{}, err
	}
	return Clusters{Local: local}, local.Identify(ctx)
}

// ConnectRemote reaches the remote cluster only.
func (a *Access) ConnectRemote(ctx context.Context) (Clusters, error) {
	both, err := a.Clients()
	if err != nil {
		return Clusters{}, err
	}
	return Clusters{Remote: both.Remote}, both.Remote.Identify(ctx)
}

// ConnectNamed reaches the local cluster, and the remote one if the user named it.
func (a *Access) ConnectNamed(ctx context.Context) (Clusters, error) {
	if a.NamesRemote() {
		return a.Connect(ctx)
	}
	return a.ConnectLocal(ctx)
}

// Namespace is that of the user's local context.
func (a *Access) Namespace() (string, error) {
	namespace, _, err := a.Local.ToRawKubeConfigLoader().Namespace()
	return namespace, failure.Usage(err)
}

// ContextNames are those of the kubeconfig that leads to one side. It is for
// suggestions: a kubeconfig that cannot be read has none.
func (a *Access) ContextNames(side Side) []string {
	rules := a.remote.rules()
	if side == Local {
		rules = localRules(a.Local)
	}
	raw, err := rules.Load()
	if err != nil {
		return nil
	}
	return slices.Sorted(maps.Keys(raw.Contexts))
}

// contexts names the contexts that there are, as the end of a sentence.
func (a *Access) contexts() string {
	raw, err := a.Local.ToRawKubeConfigLoader().RawConfig()
	if err != nil || len(raw.Contexts) == 0 {
		return ""
	}
	const most = 8
	names := slices.Sorted(maps.Keys(raw.Contexts))
	if len(names) > most {
		names = append(names[:most], "…")
	}
	return " (one of " + strings.Join(names, ", ") + ")"
}

// checkContext says which context was probably meant by one that does not exist.
func checkContext(side Side, name string, raw *clientcmdapi.Config) error {
	if _, ok := raw.Contexts[name]; ok || name == "" {
		return nil
	}
	names := slices.Sorted(maps.Keys(raw.Contexts))
	err := failure.Usagef("%s cluster: the kubeconfig has no context %q", side, name)
	near := spelling.Nearest(name, names)
	switch {
	case near != "":
		return failure.Hintf(err, "did you mean %q?", near)
	case len(names) == 0:
		return failure.Hintf(err, "the kubeconfig is empty or missing: name another one with --kubeconfig")
	default:
		return failure.Hintf(err, "name one of %s", strings.Join(names, ", "))
	}
}
