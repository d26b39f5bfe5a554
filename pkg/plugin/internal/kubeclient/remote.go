package kubeclient

import (
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// remoteFlags lead to the remote cluster as kubectl's own do to the local one.
type remoteFlags struct {
	local   *genericclioptions.ConfigFlags
	context string
	files   string // a list, as KUBECONFIG is
	as      identity
}

// identity is whom somebody acts as.
type identity struct {
	user, uid     string
	groups, extra []string
}

func (f *remoteFlags) addTo(flags *pflag.FlagSet) {
	flags.StringVar(&f.files, "remote-kubeconfig", f.files,
		"kubeconfig of the remote cluster, or a list as in $KUBECONFIG; also $ACTUAL_REMOTE_KUBECONFIG (default: the local kubeconfig)")
	flags.StringVar(&f.context, "remote-context", f.context, "context of the remote cluster, also $ACTUAL_REMOTE_CONTEXT")
	flags.StringVar(&f.as.user, "remote-as", "", "user to impersonate in the remote cluster, as --as in the local one")
	flags.StringArrayVar(&f.as.groups, "remote-as-group", nil, "group to impersonate in the remote cluster; can be repeated")
	flags.StringVar(&f.as.uid, "remote-as-uid", "", "UID to impersonate in the remote cluster")
	flags.StringArrayVar(&f.as.extra, "remote-as-user-extra", nil,
		"KEY=VALUE to impersonate in the remote cluster; can be repeated")
}

// rules say which files are read. One that was named alone has to exist.
func (f *remoteFlags) rules() *clientcmd.ClientConfigLoadingRules {
	switch files := filepath.SplitList(f.files); len(files) {
	case 0:
		return localRules(f.local)
	case 1:
		return &clientcmd.ClientConfigLoadingRules{ExplicitPath: files[0]}
	default:
		return &clientcmd.ClientConfigLoadingRules{Precedence: files}
	}
}

func localRules(flags *genericclioptions.ConfigFlags) *clientcmd.ClientConfigLoadingRules {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = *flags.KubeConfig
	return rules
}

// ToRawKubeConfigLoader implements clientGetter.
func (f *remoteFlags) ToRawKubeConfigLoader() clientcmd.ClientConfig {
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(f.rules(), &clientcmd.ConfigOverrides{
		CurrentContext: f.context,
		Timeout:        *f.local.Timeout,
		AuthInfo: clientcmdapi.AuthInfo{
			Impersonate:          f.as.user,
			ImpersonateUID:       f.as.uid,
			ImpersonateGroups:    f.as.groups,
			ImpersonateUserExtra: extraOf(f.as.extra),
		},
	})
}

// extraOf reads KEY=VALUE as kubectl does.
func extraOf(pairs []string) map[string][]string {
	var extra map[string][]string
	for _, pair := range pairs {
		key, value, found := strings.Cut(pair, "=")
		if !found {
			continue
		}
		if extra == nil {
			extra = map[string][]string{}
		}
		extra[key] = append(extra[key], value)
	}
	return extra
}

// ToRESTConfig implements clientGetter.
func (f *remoteFlags) ToRESTConfig() (*rest.Config, error) {
	return f.ToRawKubeConfigLoader().ClientConfig()
}

// ToRESTMapper implements clientGetter.
func (f *remoteFlags) ToRESTMapper() (meta.RESTMapper, error) {
	config, err := f.ToRESTConfig()
	if err != nil {
		return nil, err
	}
	client, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, err
	}
	return restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(client)), nil
}
