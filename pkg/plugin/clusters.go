package plugin

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// connectTimeout bounds the first question to a cluster.
const connectTimeout = 8 * time.Second

// access is how both clusters are reached: the local one as kubectl does, the
// remote one by flags of its own, and never by the current context.
type access struct {
	local         *genericclioptions.ConfigFlags
	remoteContext string
	remoteFile    string
}

func newAccess(env func(string) string) *access {
	local := genericclioptions.NewConfigFlags(true)
	// akd has its namespace, and acts for nobody else.
	local.Namespace, local.Impersonate, local.ImpersonateGroup, local.ImpersonateUID = nil, nil, nil, nil
	return &access{local: local, remoteContext: env("ACTUAL_REMOTE_CONTEXT"), remoteFile: env("ACTUAL_REMOTE_KUBECONFIG")}
}

func (a *access) addFlags(flags *pflag.FlagSet) {
	a.local.AddFlags(flags)
	flags.StringVar(&a.remoteFile, "remote-kubeconfig", a.remoteFile,
		"kubeconfig of the remote cluster, --kubeconfig's unless given; or $ACTUAL_REMOTE_KUBECONFIG")
	flags.StringVar(&a.remoteContext, "remote-context", a.remoteContext,
		"context of the remote cluster; or $ACTUAL_REMOTE_CONTEXT")
}

// cluster is one side. Its name is local or remote.
type cluster struct {
	side    string
	config  *rest.Config
	client  kubernetes.Interface
	dynamic dynamic.Interface
	mapper  meta.RESTMapper
	uid     types.UID
	version string
}

// clusters are both sides. The remote one is nil where it was not asked for.
type clusters struct{ local, remote *cluster }

// clients prepares to reach both clusters, and asks neither.
func (a *access) clients() (clusters, error) {
	if a.remoteContext == "" && a.remoteFile == "" {
		return clusters{}, usagef("no remote cluster was given: name its context with --remote-context%s", a.contexts())
	}
	local, err := newCluster("local", a.local)
	if err != nil {
		return clusters{}, err
	}
	remote, err := newCluster("remote", a.remoteFlags())
	if err != nil {
		return clusters{}, err
	}
	return clusters{local, remote}, nil
}

// connect reaches both clusters and refuses the same one twice.
func (a *access) connect(ctx context.Context) (clusters, error) {
	both, err := a.clients()
	if err != nil {
		return clusters{}, err
	}
	local, remote := both.local, both.remote
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return local.identify(ctx) })
	group.Go(func() error { return remote.identify(ctx) })
	if err := group.Wait(); err != nil {
		return clusters{}, err
	}
	if local.uid == remote.uid {
		return clusters{}, usagef("both contexts lead to the same cluster, whose kube-system has UID %s: name another one with --remote-context", local.uid)
	}
	return both, nil
}

// connectLocal reaches the local cluster only.
func (a *access) connectLocal(ctx context.Context) (clusters, error) {
	local, err := newCluster("local", a.local)
	if err != nil {
		return clusters{}, err
	}
	return clusters{local: local}, local.identify(ctx)
}

func (a *access) remoteFlags() *genericclioptions.ConfigFlags {
	flags := genericclioptions.NewConfigFlags(true)
	flags.KubeConfig, flags.Context = a.local.KubeConfig, &a.remoteContext
	if a.remoteFile != "" {
		flags.KubeConfig = &a.remoteFile
	}
	flags.CacheDir, flags.Timeout = a.local.CacheDir, a.local.Timeout
	return flags
}

// contexts names the contexts that there are, as the end of a sentence.
func (a *access) contexts() string {
	raw, err := a.local.ToRawKubeConfigLoader().RawConfig()
	if err != nil || len(raw.Contexts) == 0 {
		return ""
	}
	const most = 8
	names := slices.Sorted(maps.Keys(raw.Contexts))
	if len(names) > most {
		names = append(names[:most], "…")
	}
	return " (there are: " + strings.Join(names, ", ") + ")"
}

func newCluster(side string, flags *genericclioptions.ConfigFlags) (*cluster, error) {
	raw, err := flags.ToRawKubeConfigLoader().RawConfig()
	if err != nil {
		return nil, usagef("%s kubeconfig: %w", side, err)
	}
	if err := knownContext(side, *flags.Context, &raw); err != nil {
		return nil, err
	}
	config, err := flags.ToRESTConfig()
	if err != nil {
		return nil, usagef("%s kubeconfig: %w", side, err)
	}
	config.QPS, config.UserAgent = -1, "kubectl-actual"
	config.WarningHandler = rest.NoWarnings{}
	c := &cluster{side: side, config: config}
	if c.client, err = kubernetes.NewForConfig(config); err != nil {
		return nil, usagef("%s cluster: %w", side, err)
	}
	if c.dynamic, err = dynamic.NewForConfig(config); err != nil {
		return nil, usagef("%s cluster: %w", side, err)
	}
	if c.mapper, err = flags.ToRESTMapper(); err != nil {
		return nil, usagef("%s cluster: %w", side, err)
	}
	return c, nil
}

// knownContext says which context was probably meant by one that is not there.
func knownContext(side, name string, raw *clientcmdapi.Config) error {
	if _, ok := raw.Contexts[name]; ok || name == "" {
		return nil
	}
	names := slices.Sorted(maps.Keys(raw.Contexts))
	near := nearest(name, names)
	switch {
	case near != "":
		return usagef("%s cluster: there is no context %q in the kubeconfig: did you mean %q?", side, name, near)
	case len(names) == 0:
		return usagef("%s cluster: there is no context %q: the kubeconfig is empty or missing", side, name)
	default:
		return usagef("%s cluster: there is no context %q in the kubeconfig, but %s", side, name, strings.Join(names, ", "))
	}
}

// identify asks which cluster this is. No cluster lives without kube-system.
func (c *cluster) identify(ctx context.Context) error {
	within, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	namespace, err := c.client.CoreV1().Namespaces().Get(within, metav1.NamespaceSystem, metav1.GetOptions{})
	switch {
	case apierrors.IsUnauthorized(err):
		return fmt.Errorf("%s cluster %s does not accept your credentials: log in to it again", c.side, c.config.Host)
	case apierrors.IsForbidden(err):
		return fmt.Errorf("%s cluster: your user may not get the namespace kube-system: an administrator has to install a node: %w", c.side, err)
	case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
		return fmt.Errorf("%s cluster %s did not answer in %s: see that it runs and can be reached from here", c.side, c.config.Host, connectTimeout)
	case err != nil:
		return fmt.Errorf("%s cluster %s cannot be reached: %w", c.side, c.config.Host, err)
	}
	c.uid = namespace.UID
	info, err := c.client.Discovery().ServerVersion()
	if err != nil {
		return fmt.Errorf("%s cluster: read its version: %w", c.side, err)
	}
	c.version = info.GitVersion
	return nil
}

// hasPolicies reports whether the cluster has ValidatingAdmissionPolicy as a
// stable kind, which Kubernetes has since 1.30.
// https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/
func (c *cluster) hasPolicies() (bool, error) {
	kind := admissionregistrationv1.SchemeGroupVersion.WithKind("ValidatingAdmissionPolicy")
	_, err := c.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if meta.IsNoMatchError(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("%s cluster: ask for its kinds: %w", c.side, err)
	}
	return true, nil
}

// nearest returns the name that differs least, if it differs little.
func nearest(name string, names []string) string {
	best, found := max(1, len(name)/3)+1, ""
	for _, candidate := range names {
		if d := distance(name, candidate); d < best {
			best, found = d, candidate
		}
	}
	return found
}

// distance is Levenshtein's.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
