//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

// right is a verb on a resource, "pods/exec" or "leases.coordination.k8s.io",
// or on a path; on the objects of one name, or on all.
type right struct {
	verb, resource, name string
}

func (r right) String() string { return strings.TrimSpace(r.verb + " " + r.resource + " " + r.name) }

// rights are those that a file lists, by where they hold: "anywhere", or a
// place that the test gives a meaning.
type rights map[string]map[right]bool

// readRights reads files of testdata/rights; the first lines of remote.txt say how.
func readRights(t *testing.T, node string, paths ...string) rights {
	t.Helper()
	listed := rights{}
	for _, path := range paths {
		listed.read(t, node, path)
	}
	return listed
}

func (r rights) read(t *testing.T, node, path string) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for number, line := range strings.Split(string(content), "\n") {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(strings.ReplaceAll(line, "NODE", node))
		switch len(words) {
		case 0:
			continue
		case 3:
			words = append(words, "")
		case 4:
		default:
			t.Fatalf("%s:%d: want WHERE VERBS RESOURCE [NAMES]", path, number+1)
		}
		if r[words[0]] == nil {
			r[words[0]] = map[right]bool{}
		}
		for verb := range strings.SplitSeq(words[1], ",") {
			for name := range strings.SplitSeq(words[3], ",") {
				r[words[0]][right{verb, words[2], name}] = true
			}
		}
	}
}

// in returns the rights in a namespace that is one of those places.
func (r rights) in(places ...string) map[right]bool {
	all := maps.Clone(r["anywhere"])
	for _, place := range places {
		maps.Copy(all, r[place])
	}
	return all
}

// audit compares what a credential may do with what a file lists. places says
// what each namespace is.
type audit struct {
	config *rest.Config
	admin  *kubernetes.Clientset
	listed rights
	places map[string][]string // by namespace
}

// run asks the API server what it allows, and then tries everything that there
// is: what one of the two says and the list does not, fails.
func (a *audit) run(t *testing.T) {
	t.Helper()
	client, err := kubernetes.NewForConfig(a.config)
	if err != nil {
		t.Fatal(err)
	}
	for namespace, places := range a.places {
		t.Run("rules in "+namespace, func(t *testing.T) {
			a.rules(t, client, namespace, places)
		})
	}
	t.Run("requests", a.requests)
}

// rules compares by a SelfSubjectRulesReview.
func (a *audit) rules(t *testing.T, client *kubernetes.Clientset, namespace string, places []string) {
	t.Helper()
	review := &authorizationv1.SelfSubjectRulesReview{Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: namespace}}
	answer, err := client.AuthorizationV1().SelfSubjectRulesReviews().Create(t.Context(), review, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if answer.Status.Incomplete {
		t.Logf("the answer is incomplete: %s", answer.Status.EvaluationError)
	}
	var got []string
	for _, rule := range answer.Status.ResourceRules {
		names := rule.ResourceNames
		if len(names) == 0 {
			names = []string{""}
		}
		for _, verb := range rule.Verbs {
			for _, group := range rule.APIGroups {
				for _, resource := range rule.Resources {
					for _, name := range names {
						got = append(got, right{verb, inGroup(resource, group), name}.String())
					}
				}
			}
		}
	}
	for _, rule := range answer.Status.NonResourceRules {
		for _, verb := range rule.Verbs {
			for _, path := range rule.NonResourceURLs {
				got = append(got, right{verb, path, ""}.String())
			}
		}
	}
	var want []string
	for r := range a.listed.in(places...) {
		want = append(want, r.String())
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, slices.Compact(got)); diff != "" {
		t.Errorf("rights in %s (-listed +granted):\n%s", namespace, diff)
	}
}

// inGroup names a resource with its group: "serviceaccounts/token",
// "deployments/scale.apps".
func inGroup(resource, group string) string {
	if group == "" {
		return resource
	}
	return resource + "." + group
}

// probe is one request that asks for one right. Only its status code counts:
// its object does not exist and its body means nothing.
type probe struct {
	right
	method, path, namespace string
}

// requests tries every verb on every resource that the API server has, in every
// namespace, without doing anything: 403 is the answer to what is not granted.
func (a *audit) requests(t *testing.T) {
	probes := a.probes(t)
	client, err := rest.HTTPClientFor(a.config)
	if err != nil {
		t.Fatal(err)
	}
	var (
		mu      sync.Mutex
		granted = map[right][]string{} // where
	)
	group, ctx := errgroup.WithContext(t.Context())
	group.SetLimit(16)
	for _, p := range probes {
		group.Go(func() error {
			code, err := p.try(ctx, client, a.config.Host)
			if err != nil {
				return fmt.Errorf("%s %s: %w", p.method, p.path, err)
			}
			if code == http.StatusUnauthorized {
				return fmt.Errorf("%s %s: the credential is not accepted", p.method, p.path)
			}
			if code != http.StatusForbidden && code != http.StatusMethodNotAllowed {
				mu.Lock()
				defer mu.Unlock()
				granted[p.right] = append(granted[p.right], p.namespace)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d requests, %d rights", len(probes), len(granted))
	if len(granted) == 0 {
		t.Error("nothing was granted: the requests prove nothing")
	}
	for r, namespaces := range granted {
		for _, namespace := range namespaces {
			if listed := a.listed.in(a.places[namespace]...); !listed[r] {
				t.Errorf("%q is granted in %q and not listed", r, namespace)
			}
		}
	}
}

// probes are one for each verb on each resource in each namespace.
func (a *audit) probes(t *testing.T) []probe {
	t.Helper()
	_, lists, err := a.admin.Discovery().ServerGroupsAndResources()
	if err != nil && !discovery.IsGroupDiscoveryFailedError(err) {
		t.Fatal(err)
	}
	var probes []probe
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
				probes = append(probes, probesOf(resource, version.Group, base, "")...)
				continue
			}
			for namespace := range a.places {
				probes = append(probes, probesOf(resource, version.Group, base+"/namespaces/"+namespace, namespace)...)
			}
			for _, p := range probesOf(resource, version.Group, base, "") {
				if p.verb == "list" || p.verb == "watch" { // of all namespaces
					probes = append(probes, p)
				}
			}
		}
	}
	return probes
}

func probesOf(resource *metav1.APIResource, group, base, namespace string) []probe {
	const nobody = "audit-nobody"
	name, subresource, hasSub := strings.Cut(resource.Name, "/")
	collection := base + "/" + name
	item := collection + "/" + nobody
	if hasSub {
		item += "/" + subresource
		collection = item
	}
	methods := map[string][2]string{
		"get": {http.MethodGet, item}, "create": {http.MethodPost, collection + "?dryRun=All"},
		"update": {http.MethodPut, item + "?dryRun=All"}, "patch": {http.MethodPatch, item + "?dryRun=All"},
		"delete": {http.MethodDelete, item + "?dryRun=All"},
	}
	if !hasSub {
		methods["list"] = [2]string{http.MethodGet, collection + "?limit=1"}
		methods["watch"] = [2]string{http.MethodGet, collection + "?watch=true&timeoutSeconds=1"}
		methods["deletecollection"] = [2]string{http.MethodDelete, collection + "?dryRun=All&labelSelector=nobody"}
	}
	var probes []probe
	for verb, request := range methods {
		probes = append(probes, probe{
			right: right{verb, inGroup(resource.Name, group), ""}, method: request[0], path: request[1], namespace: namespace,
		})
	}
	return probes
}

// try sends the request, with a body that nothing can be made of.
func (p *probe) try(ctx context.Context, client *http.Client, host string) (int, error) {
	request, err := http.NewRequestWithContext(ctx, p.method, host+p.path, bytes.NewReader([]byte("{}")))
	if err != nil {
		return 0, err
	}
	request.Header.Set("Content-Type", "application/json")
	if p.method == http.MethodPatch {
		request.Header.Set("Content-Type", "application/merge-patch+json")
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	return response.StatusCode, nil
}

// The credential of a tenant may do what the lists say, and nothing else: in
// its own namespaces, in another tenant's, in the system's.
func TestAuditRemote(t *testing.T) {
	b := shared
	everything := b.mirroring("audited-all")
	everything.ReadNodes, everything.ReadMetrics = true, true
	everything.Limits = manifests.Limits{ResourceQuota: true, LimitRange: true, NetworkPolicy: true}
	cases := map[string]struct {
		values manifests.Values
		roles  []string
		lists  []string
	}{
		"as installed": {values: manifests.Values{Node: "audited"}, lists: []string{"testdata/rights/remote.txt"}},
		"with every option": {
			values: everything,
			roles:  []string{translate.TenantMetricsRole, translate.TenantServicesRole},
			lists:  []string{"testdata/rights/remote.txt", "testdata/rights/remote-options.txt"},
		},
		"akd runs here": {
			values: manifests.Values{Node: "audited-home", RunIn: manifests.RunInRemote, Image: "akd:audited"},
			lists:  []string{"testdata/rights/remote.txt", "testdata/rights/remote-home.txt"},
		},
	}
	foreign := b.tenant(t, manifests.Values{Node: "audited-b"}).settle(t, "home")
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			tn := b.tenant(t, tc.values)
			own := tn.settle(t, "home", tc.roles...)
			(&audit{
				config: tn.config, admin: b.remote, listed: readRights(t, tn.node, tc.lists...),
				places: map[string][]string{
					own: {"own"}, foreign: nil, translate.SystemNamespace: {"system"},
					"kube-system": nil, "kube-public": nil, "kube-node-lease": nil, "default": nil,
				},
			}).run(t)
		})
	}
}
