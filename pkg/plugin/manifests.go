package plugin

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/yaml"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/config"
)

// site is what install and manifests are told of a node.
type site struct {
	values      manifests.Values
	file        string // akd's configuration, as the user wrote it
	localServer string
	capacity    map[string]string
	labels      map[string]string
	taints      []string
	unconfined  bool
	serviceFlags
	quota         map[string]string
	limits        map[string]string
	networkPolicy bool
}

func (s *site) addFlags(flags *pflag.FlagSet, build Build) {
	flags.StringVar(&s.values.Image, "image", "ghcr.io/actual-kubelets/akd:"+build.Version, "image of akd")
	flags.StringVar(&s.values.RunIn, "run-in", manifests.RunInLocal, "cluster that akd runs in: local or remote")
	flags.StringVar(&s.values.PodSecurity, "pod-security", "baseline", "weakest Pod Security level of the remote namespaces: privileged, baseline or restricted")
	flags.Int32Var(&s.values.Replicas, "replicas", 1, "number of akds, of which one works and the others wait")
	flags.BoolVar(&s.values.ReadNodes, "read-nodes", false, "let akd list the remote nodes, and follow their capacity")
	flags.BoolVar(&s.values.ReadMetrics, "read-metrics", false, "let akd read its pods' usage from the remote metrics API")
	flags.StringToStringVar(&s.quota, "resource-quota", nil, "let akd make a ResourceQuota in each remote namespace, such as pods=100,requests.cpu=20")
	flags.StringToStringVar(&s.limits, "limit-range", nil, "let akd make a LimitRange in each remote namespace with these defaults of containers, such as cpu=500m,memory=256Mi")
	flags.BoolVar(&s.networkPolicy, "network-policy", false, "let akd make a NetworkPolicy in each remote namespace that keeps other nodes' pods out")
	flags.StringVar(&s.file, "config", "", "file with akd's configuration, an AKDConfiguration; see docs/configuration.md")
	flags.StringVar(&s.localServer, "local-server", "", "HOST:PORT of the local API server, as remote pods reach it")
	flags.StringToStringVar(&s.capacity, "capacity", nil, "capacity of the node, such as cpu=64,memory=256Gi,pods=500; what the remote nodes have together, unless given")
	flags.StringToStringVar(&s.labels, "label", nil, "labels of the node, such as topology.kubernetes.io/zone=a")
	flags.StringArrayVar(&s.taints, "taint", nil, "taint that the node registers with, KEY=VALUE:EFFECT; may be given more than once")
	flags.BoolVar(&s.unconfined, "allow-unconfined-remote", false,
		"install without admission policies, which a remote before Kubernetes 1.30 lacks: akd's credential then reaches every remote namespace")
	s.serviceFlags.addFlags(flags)
}

// complete checks what can be checked without a cluster, and renders akd's configuration.
func (s *site) complete() error {
	s.values.Unconfined = s.unconfined
	if err := contract.CheckNodeName(s.values.Node); err != nil {
		return usageError{err}
	}
	if err := s.serviceFlags.check(); err != nil {
		return err
	}
	content, err := s.configuration()
	if err != nil {
		return err
	}
	s.values.Config = content
	cfg, err := parse(content)
	if err != nil {
		return err
	}
	// Rights follow from what akd is configured to do.
	s.values.MirrorServices = cfg.Services == config.ServicesMirror
	s.values.ServiceCIDRs, s.values.EndpointCIDRs = s.ranges, s.endpoints
	s.values.Limits = limitsOf(cfg)
	if _, err := manifests.Local(s.values); err != nil {
		return usageError{err}
	}
	return nil
}

// configuration is the user's file with what install decides, in YAML.
func (s *site) configuration() (string, error) {
	content := map[string]any{}
	if s.file != "" {
		file, err := os.ReadFile(s.file)
		if err != nil {
			return "", usagef("--config: %w", err)
		}
		if err := yaml.Unmarshal(file, &content); err != nil {
			return "", usagef("--config %s: %w", s.file, err)
		}
	}
	object := contract.SystemNamespace + "/" + s.values.Node
	away := "remote"
	if s.values.RunIn == manifests.RunInRemote {
		away = "local"
	}
	set := func(value any, path ...string) error {
		if err := unstructured.SetNestedField(content, value, path...); err != nil {
			return usagef("--config %s: %w", s.file, err)
		}
		return nil
	}
	values := [][]any{
		{config.APIVersion, "apiVersion"}, {config.Kind, "kind"}, {s.values.Node, "nodeName"},
		{object, away, "secret"}, {object, "leaderElection", "lease"}, {s.values.PodSecurity, "pods", "podSecurity"},
	}
	if s.localServer != "" {
		values = append(values, []any{s.localServer, "local", "apiServer"})
	}
	if s.services != "" {
		values = append(values, []any{s.services, "services"})
	}
	values = append(values, s.limitations()...)
	for name, quantity := range s.capacity {
		values = append(values, []any{quantity, "node", "capacity", name})
	}
	for name, value := range s.labels {
		values = append(values, []any{value, "node", "labels", name})
	}
	if len(s.taints) > 0 {
		taints, err := parseTaints(s.taints)
		if err != nil {
			return "", err
		}
		values = append(values, []any{taints, "node", "taints"})
	}
	for _, value := range values {
		path := make([]string, 0, len(value)-1)
		for _, part := range value[1:] {
			path = append(path, fmt.Sprint(part))
		}
		if err := set(value[0], path...); err != nil {
			return "", err
		}
	}
	out, err := yaml.Marshal(content)
	return string(out), err
}

// limitsOf are the kinds of limits that akd makes as configured.
func limitsOf(cfg *config.Configuration) manifests.Limits {
	return manifests.Limits{
		ResourceQuota: len(cfg.Namespaces.ResourceQuota) > 0,
		LimitRange:    len(cfg.Namespaces.LimitRange) > 0,
		NetworkPolicy: cfg.Namespaces.NetworkPolicy.Enabled,
	}
}

// limitations are what akd makes in each remote namespace, as values and their
// paths in the configuration.
func (s *site) limitations() (values [][]any) {
	if len(s.limits) > 0 {
		defaults := map[string]any{}
		for name, quantity := range s.limits {
			defaults[name] = quantity
		}
		values = append(values, []any{[]any{map[string]any{"type": "Container", "default": defaults}}, "namespaces", "limitRange"})
	}
	if s.networkPolicy {
		values = append(values, []any{true, "namespaces", "networkPolicy", "enabled"})
	}
	for name, quantity := range s.quota {
		values = append(values, []any{quantity, "namespaces", "resourceQuota", name})
	}
	return values
}

// parse has akd's own reader look at the configuration, which takes files.
func parse(content string) (*config.Configuration, error) {
	folder, err := os.MkdirTemp("", "kubectl-actual-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	file := filepath.Join(folder, "akd.yaml")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		return nil, err
	}
	cfg, err := config.Load(file)
	if err != nil {
		return nil, usagef("akd's configuration: %w", err)
	}
	return cfg, nil
}

func newManifests(streams genericiooptions.IOStreams, build Build) *cobra.Command {
	s, side := &site{}, "local"
	cmd := &cobra.Command{
		Use:   "manifests NODE --side local|remote",
		Short: "Print what install applies to one cluster, for GitOps",
		Long: `Print what install applies to one cluster. akd's credential for the other cluster
is left out: store it in the Secret actual-system/NODE, key kubeconfig, of the
cluster that akd runs in.`,
		Args: oneNode,
		RunE: func(_ *cobra.Command, args []string) error {
			s.values.Node = args[0]
			if err := s.complete(); err != nil {
				return err
			}
			return s.print(streams.Out, side)
		},
	}
	s.addFlags(cmd.Flags(), build)
	cmd.Flags().StringVar(&side, "side", side, "cluster whose objects are printed: local or remote")
	return cmd
}

func (s *site) print(out io.Writer, side string) error {
	render, ok := map[string]func(manifests.Values) ([]*unstructured.Unstructured, error){"local": manifests.Local, "remote": manifests.Remote}[side]
	if !ok {
		return usagef("--side %q: want local or remote", side)
	}
	if err := s.needRanges(); err != nil {
		return err
	}
	objects, err := render(s.values)
	if err != nil {
		return usageError{err}
	}
	for _, object := range objects {
		content, err := yaml.Marshal(object)
		if err != nil {
			return fmt.Errorf("print %s: %w", title(object), err)
		}
		printf(out, "---\n%s", content)
	}
	return nil
}
