package provider

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/internal/loopback"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/cluster"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

const (
	nodeUserPrefix = "system:node:"
	nodesGroup     = "system:nodes"
	proxyUser      = "system:kube-proxy"
)

// UsageError is a mistake in the user's flags or configuration: exit code 2.
type UsageError struct{ Err error }

// Error implements error.
func (e *UsageError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *UsageError) Unwrap() error { return e.Err }

func usagef(format string, args ...any) error {
	return &UsageError{fmt.Errorf(format, args...)}
}

// tuned applies the settings shared by all of akd's clients. It sets no
// client-side limit on requests per second: API priority and fairness on the
// server should limit akd, not a guess in its client.
func tuned(cfg *rest.Config) *rest.Config {
	cfg.QPS = -1
	cfg.UserAgent = contract.UserAgent
	cfg.WarningHandler = rest.NoWarnings{} // operators cannot act on deprecation warnings
	cfg.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	cfg.ContentType = "application/vnd.kubernetes.protobuf"
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper { return &plainWatches{next} })
	return cfg
}

// plainWatches requests uncompressed watches; lists may still be compressed. An
// API server of 1.37 compresses each event separately, and each watch holds its
// own decompression window on the client: the network savings are smaller than
// the cost in CPU and memory on both ends.
type plainWatches struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (p *plainWatches) RoundTrip(request *http.Request) (*http.Response, error) {
	if watches, err := strconv.ParseBool(request.URL.Query().Get("watch")); err == nil && watches {
		request = request.Clone(request.Context())
		request.Header.Set("Accept-Encoding", "identity")
	}
	return p.next.RoundTrip(request)
}

// WrappedRoundTripper lets apimachinery find the TLS configuration below.
func (p *plainWatches) WrappedRoundTripper() http.RoundTripper { return p.next }

// load reads a kubeconfig, or the pod's own service account if none is named.
func load(kubeconfig, kubeContext string) (*rest.Config, error) {
	if kubeconfig == "" {
		cfg, err := rest.InClusterConfig()
		if errors.Is(err, rest.ErrNotInCluster) {
			return nil, errors.New("no kubeconfig was given, and akd does not run in a pod")
		}
		if err != nil {
			return nil, err
		}
		// Within a cluster, compression costs both ends more than it saves on the
		// network; between clusters, it may pay off.
		cfg.DisableCompression = true
		return cfg, nil
	}
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(
		&clientcmd.ClientConfigLoadingRules{ExplicitPath: kubeconfig},
		&clientcmd.ConfigOverrides{CurrentContext: kubeContext},
	).ClientConfig()
}

// impersonateNode makes the client act as the node, so that the Node authorizer
// and NodeRestriction grant exactly a kubelet's rights.
// https://kubernetes.io/docs/reference/access-authn-authz/node/
func impersonateNode(cfg *rest.Config, node string) *rest.Config {
	cfg = rest.CopyConfig(cfg)
	cfg.Impersonate = rest.ImpersonationConfig{UserName: nodeUserPrefix + node, Groups: []string{nodesGroup}}
	return cfg
}

// impersonateProxy makes the client act as kube-proxy, which every cluster
// permits to watch Services and EndpointSlices, and nothing else.
// https://kubernetes.io/docs/reference/access-authn-authz/rbac/#core-component-roles
func impersonateProxy(cfg *rest.Config) *rest.Config {
	cfg = rest.CopyConfig(cfg)
	cfg.Impersonate = rest.ImpersonationConfig{UserName: proxyUser}
	return cfg
}

// apiServer returns the address at which remote pods reach the local API
// server: the configured one, otherwise the one that the cluster publishes,
// otherwise the one that akd itself uses.
func apiServer(ctx context.Context, configured string, local *cluster.Local, cfg *rest.Config) (translate.APIServer, error) {
	if configured != "" {
		return parseAPIServer(configured)
	}
	published, err := local.PublishedAPIServers(ctx)
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsForbidden(err) {
		return translate.APIServer{}, err // an outage must not decide what all pods use from now on
	}
	for _, found := range published {
		if !loopback.Is(found.Host) {
			return found, nil
		}
	}
	server, err := url.Parse(cfg.Host)
	if err != nil || server.Hostname() == "" || loopback.Is(server.Hostname()) {
		return translate.APIServer{}, usagef("the address at which remote pods reach the local API server is not known: " +
			"give it with --local-api-server HOST:PORT")
	}
	port := server.Port()
	if port == "" {
		port = "443"
	}
	return parseAPIServer(net.JoinHostPort(server.Hostname(), port))
}

func parseAPIServer(hostPort string) (translate.APIServer, error) {
	host, portText, err := net.SplitHostPort(hostPort)
	if err != nil {
		return translate.APIServer{}, usagef("address %q of the local API server: want HOST:PORT", hostPort)
	}
	port, err := strconv.ParseInt(portText, 10, 32)
	if err != nil || port < 1 || port > 65535 {
		return translate.APIServer{}, usagef("address %q of the local API server: want a port from 1 to 65535", hostPort)
	}
	if loopback.Is(host) {
		return translate.APIServer{}, usagef("address %q of the local API server is this machine's own: "+
			"give one that pods in the remote cluster reach", hostPort)
	}
	return translate.APIServer{Host: host, Port: int32(port)}, nil
}

// ownAddress returns the address from which this machine reaches the local API
// server; that server can reach akd at the same address. It sends nothing: UDP
// only looks up a route.
func ownAddress(ctx context.Context, cfg *rest.Config) (string, error) {
	server, err := url.Parse(cfg.Host)
	if err != nil {
		return "", usagef("server %q of the local kubeconfig: %w", cfg.Host, err)
	}
	port := server.Port()
	if port == "" {
		port = "443"
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "udp", net.JoinHostPort(server.Hostname(), port))
	if err != nil {
		return "", fmt.Errorf("find akd's own address (or give it with --node-address): %w", err) // names may not resolve yet
	}
	defer func() { _ = conn.Close() }()
	host, _, err := net.SplitHostPort(conn.LocalAddr().String())
	if err != nil {
		return "", fmt.Errorf("read akd's own address: %w", err)
	}
	return host, nil
}
