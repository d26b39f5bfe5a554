package kubeclient

import (
	"context"
	"errors"
	"fmt"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/failure"
)

const (
	// FieldManager is who kubectl actual is in managedFields.
	FieldManager = "kubectl-actual"
	// ConnectTimeout bounds the first request to a cluster, and what has to be
	// tidied up after an interrupt.
	ConnectTimeout = 8 * time.Second
)

// Side is one of the two clusters.
type Side string

// The sides.
const (
	Local  Side = "local"
	Remote Side = "remote"
)

// Cluster is one side.
type Cluster struct {
	Side    Side
	Config  *rest.Config
	Client  kubernetes.Interface
	Dynamic dynamic.Interface
	Mapper  meta.RESTMapper

	// UID of the namespace kube-system, and the API server's version. Identify
	// reads them.
	UID     types.UID
	Version string

	// unverified is the kubeconfig's cluster if that says insecure-skip-tls-verify.
	unverified string
	// Commands are the commands of this run, for messages.
	Commands Commands

	trials *trialTokens
}

// Exactly returns the options that delete the object that was read, and none that
// has got its name since.
func Exactly(object metav1.Object) metav1.DeleteOptions {
	return metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(object.GetUID()))}
}

// clientGetter is what kubectl's flags make of a kubeconfig.
type clientGetter interface {
	ToRawKubeConfigLoader() clientcmd.ClientConfig
	ToRESTConfig() (*rest.Config, error)
	ToRESTMapper() (meta.RESTMapper, error)
}

func newCluster(side Side, context string, flags clientGetter) (*Cluster, error) {
	raw, err := flags.ToRawKubeConfigLoader().RawConfig()
	if err != nil {
		return nil, failure.Usagef("%s kubeconfig: %w", side, err)
	}
	if err := checkContext(side, context, &raw); err != nil {
		return nil, err
	}
	config, err := flags.ToRESTConfig()
	if err != nil {
		return nil, failure.Usagef("%s kubeconfig: %w", side, err)
	}
	config.QPS, config.UserAgent = -1, FieldManager
	config.WarningHandler = rest.NoWarnings{}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, failure.Usagef("%s cluster: %w", side, err)
	}
	dynamicClient, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, failure.Usagef("%s cluster: %w", side, err)
	}
	mapper, err := flags.ToRESTMapper()
	if err != nil {
		return nil, failure.Usagef("%s cluster: %w", side, err)
	}
	return &Cluster{
		Side:    side,
		Config:  config,
		Client:  client,
		Dynamic: dynamicClient,
		Mapper:  mapper,
		trials:  &trialTokens{taken: map[string]string{}},

		unverified: unverifiedIn(&raw, context),
	}, nil
}

// Identify asks the cluster for its identity and version. Every cluster has a
// namespace kube-system.
func (c *Cluster) Identify(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, ConnectTimeout)
	defer cancel()
	namespace, err := c.Client.CoreV1().Namespaces().Get(limited, metav1.NamespaceSystem, metav1.GetOptions{})
	switch {
	case apierrors.IsUnauthorized(err):
		return failure.Hintf(fmt.Errorf("%s cluster %s does not accept your credentials", c.Side, c.Config.Host), "log in to it again")
	case apierrors.IsForbidden(err):
		err = fmt.Errorf("%s cluster: your user may not get the namespace kube-system: %w", c.Side, err)
		return failure.Hintf(err, "ask an administrator of the cluster to run this command")
	case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
		err = fmt.Errorf("%s cluster %s did not answer within %s", c.Side, c.Config.Host, ConnectTimeout)
		return failure.Hintf(err, "check that it runs and can be reached from here")
	case err != nil:
		return fmt.Errorf("%s cluster %s cannot be reached: %w", c.Side, c.Config.Host, err)
	}
	c.UID = namespace.UID
	info, err := c.Client.Discovery().ServerVersion()
	if err != nil {
		return fmt.Errorf("%s cluster: read its version: %w", c.Side, err)
	}
	c.Version = info.GitVersion
	return nil
}

// HasPolicies reports whether the cluster has ValidatingAdmissionPolicy as a
// stable kind, which Kubernetes has since 1.30.
// https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/
func (c *Cluster) HasPolicies() (bool, error) {
	kind := admissionregistrationv1.SchemeGroupVersion.WithKind("ValidatingAdmissionPolicy")
	_, err := c.Mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if meta.IsNoMatchError(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("%s cluster: discover its kinds: %w", c.Side, err)
	}
	return true, nil
}

// Resource returns the client of an object's kind, in its namespace.
func (c *Cluster) Resource(object *unstructured.Unstructured) (dynamic.ResourceInterface, error) {
	kind := object.GroupVersionKind()
	mapping, err := c.Mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		return nil, fmt.Errorf("%s cluster %s has no %s %s: %w", c.Side, c.Version, kind.GroupVersion(), kind.Kind, err)
	}
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		return c.Dynamic.Resource(mapping.Resource).Namespace(object.GetNamespace()), nil
	}
	return c.Dynamic.Resource(mapping.Resource), nil
}
