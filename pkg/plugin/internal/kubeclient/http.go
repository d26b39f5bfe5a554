package kubeclient

import (
	"context"
	"fmt"
	"net/http"

	"k8s.io/client-go/rest"
)

// Respond gets a path of the API server. It returns the whole response, of which
// client-go's requests drop the headers. The caller closes its body.
func (c *Cluster) Respond(ctx context.Context, path ...string) (*http.Response, error) {
	client, err := rest.HTTPClientFor(c.Config)
	if err != nil {
		return nil, fmt.Errorf("%s cluster: %w", c.Side, err)
	}
	address := c.Client.Discovery().RESTClient().Get().AbsPath(path...).URL()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("%s cluster: %w", c.Side, err)
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("%s cluster: %w", c.Side, err)
	}
	return response, nil
}

// Read gets a path of the API server. It returns the body, or the error that the
// API server answers with, whose message client-go's DoRaw drops.
func (c *Cluster) Read(ctx context.Context, path ...string) ([]byte, error) {
	result := c.Client.Discovery().RESTClient().Get().AbsPath(path...).Do(ctx)
	if err := result.Error(); err != nil {
		return nil, err
	}
	return result.Raw()
}
