package audit

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
)

// request needs one right. Only the status code of its answer counts: its
// object does not exist and its body has no meaning.
type request struct {
	right
	method, path, namespace string
}

// tryRequests tries every verb on every resource of the API server in every
// namespace, without any effect. The answer is 403 unless the right is granted.
func (c *Credential) tryRequests(t *testing.T) {
	requests := c.requests(t)
	client, err := rest.HTTPClientFor(c.Config)
	if err != nil {
		t.Fatal(err)
	}
	var (
		mu      sync.Mutex
		granted = map[right][]string{} // where
	)
	group, ctx := errgroup.WithContext(t.Context())
	group.SetLimit(16)
	for _, r := range requests {
		group.Go(func() error {
			code, err := r.send(ctx, client, c.Config.Host)
			if err != nil {
				return fmt.Errorf("%s %s: %w", r.method, r.path, err)
			}
			if code == http.StatusUnauthorized {
				return fmt.Errorf("%s %s: the credential is not accepted", r.method, r.path)
			}
			if code != http.StatusForbidden && code != http.StatusMethodNotAllowed {
				mu.Lock()
				defer mu.Unlock()
				granted[r.right] = append(granted[r.right], r.namespace)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d requests, %d rights", len(requests), len(granted))
	if len(granted) == 0 {
		t.Error("nothing was granted: the requests prove nothing")
	}
	for r, namespaces := range granted {
		for _, namespace := range namespaces {
			if listed := c.Listed.in(c.Places[namespace]...); !listed[r] {
				t.Errorf("%q is granted in %q and not listed", r, namespace)
			}
		}
	}
}

// requests are one for each verb on each resource in each namespace.
func (c *Credential) requests(t *testing.T) []request {
	t.Helper()
	_, lists, err := c.Admin.Discovery().ServerGroupsAndResources()
	if err != nil && !discovery.IsGroupDiscoveryFailedError(err) {
		t.Fatal(err)
	}
	var requests []request
	for _, list := range lists {
		version, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			t.Fatal(err)
		}
		base := "/apis/" + list.GroupVersion
		if version.Group == "" {
			base = "/api/" + list.GroupVersion
		}
		for i := range list.APIResources {
			resource := &list.APIResources[i]
			if !resource.Namespaced {
				requests = append(requests, requestsFor(resource, version.Group, base, "")...)
				continue
			}
			for namespace := range c.Places {
				requests = append(requests, requestsFor(resource, version.Group, base+"/namespaces/"+namespace, namespace)...)
			}
			for _, r := range requestsFor(resource, version.Group, base, "") {
				if r.verb == "list" || r.verb == "watch" { // of all namespaces
					requests = append(requests, r)
				}
			}
		}
	}
	return requests
}

func requestsFor(resource *metav1.APIResource, group, base, namespace string) []request {
	const nobody = "audit-nobody"
	name, subresource, hasSub := strings.Cut(resource.Name, "/")
	collection := base + "/" + name
	item := collection + "/" + nobody
	if hasSub {
		item += "/" + subresource
		collection = item
	}
	methods := map[string][2]string{
		"get":    {http.MethodGet, item},
		"create": {http.MethodPost, collection + "?dryRun=All"},
		"update": {http.MethodPut, item + "?dryRun=All"},
		"patch":  {http.MethodPatch, item + "?dryRun=All"},
		"delete": {http.MethodDelete, item + "?dryRun=All"},
	}
	if !hasSub {
		methods["list"] = [2]string{http.MethodGet, collection + "?limit=1"}
		methods["watch"] = [2]string{http.MethodGet, collection + "?watch=true&timeoutSeconds=1"}
		methods["deletecollection"] = [2]string{http.MethodDelete, collection + "?dryRun=All&labelSelector=nobody"}
	}
	var requests []request
	for verb, to := range methods {
		requests = append(requests, request{
			right: right{verb, inGroup(resource.Name, group), ""}, method: to[0], path: to[1], namespace: namespace,
		})
	}
	return requests
}

// send sends the request, whose body is no valid object, and returns the status
// code.
func (r *request) send(ctx context.Context, client *http.Client, host string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, r.method, host+r.path, bytes.NewReader([]byte("{}")))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	if r.method == http.MethodPatch {
		req.Header.Set("Content-Type", "application/merge-patch+json")
	}
	res, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	return res.StatusCode, nil
}
