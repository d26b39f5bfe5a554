package plugin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/client-go/rest"
)

const (
	// dateGrain is how exactly a Date header tells the time, both ways.
	dateGrain = 2 * time.Second
	// skewWarning and skewFailed are differences of two clusters' clocks.
	// Tokens are made for one clock and looked at by another, and what is a
	// second old there is in the future here.
	skewWarning = 5 * time.Second
	skewFailed  = time.Minute
)

func clusterChecks() []check {
	return []check{
		{id: "local-reachable", title: "the local cluster answers", pre: true, run: func(ctx context.Context, e *examination) finding {
			return reachable(ctx, e.both.local, "--context")
		}},
		{id: "remote-reachable", title: "the remote cluster answers", pre: true, run: func(ctx context.Context, e *examination) finding {
			return reachable(ctx, e.both.remote, "--remote-context")
		}},
		{id: "clusters-distinct", title: "they are two clusters", pre: true, needs: []string{"local-reachable", "remote-reachable"}, run: distinct},
		{id: "remote-policies-supported", title: "the remote cluster has admission policies", pre: true, needs: []string{"remote-reachable"}, run: policiesSupported},
		{id: "version-skew", title: "the clusters' versions fit", pre: true, needs: []string{"local-reachable", "remote-reachable"}, run: versionSkew},
		{id: "clock-skew", title: "the clusters' clocks agree", pre: true, needs: []string{"local-reachable", "remote-reachable"}, run: clockSkew},
	}
}

func reachable(ctx context.Context, c *cluster, flag string) finding {
	if err := c.identify(ctx); err != nil {
		return failed("kubectl cluster-info --context=CONTEXT, and name a context that answers with "+flag, "%s", err)
	}
	return ok("Kubernetes %s at %s", c.version, c.config.Host)
}

func distinct(_ context.Context, e *examination) finding {
	if e.both.local.uid == e.both.remote.uid {
		return failed("kubectl config get-contexts, and name another cluster with --remote-context",
			"both contexts lead to the same cluster, whose kube-system has UID %s", e.both.local.uid)
	}
	return ok("kube-system has UID %s and %s", e.both.local.uid, e.both.remote.uid)
}

func policiesSupported(_ context.Context, e *examination) finding {
	has, err := e.both.remote.hasPolicies()
	if err != nil {
		return skipped("%s", err)
	}
	if !has {
		return failed("upgrade the remote cluster to Kubernetes 1.30 or later, or accept that akd can reach all of it with kubectl actual install --allow-unconfined-remote",
			"%s has no ValidatingAdmissionPolicy, which confines akd to its own namespaces", e.both.remote.version)
	}
	return ok("")
}

// versionSkew compares what the local API server is and what the node says it
// is, which is the remote nodes' version.
// https://kubernetes.io/releases/version-skew-policy/#kubelet
func versionSkew(_ context.Context, e *examination) finding {
	const oldest = 3
	local, err := version.ParseGeneric(e.both.local.version)
	if err != nil {
		return warning("", "the local version %q says nothing", e.both.local.version)
	}
	remote, err := version.ParseGeneric(e.both.remote.version)
	if err != nil {
		return warning("", "the remote version %q says nothing", e.both.remote.version)
	}
	found := fmt.Sprintf("local %s, remote %s", e.both.local.version, e.both.remote.version)
	switch {
	case remote.Major() != local.Major() || remote.Minor() > local.Minor():
		return warning("upgrade the local cluster first",
			"%s: the node's kubelets are newer than its API server, which Kubernetes does not support: fields that only the remote cluster knows are lost", found)
	case local.Minor()-remote.Minor() > oldest:
		return warning("upgrade the remote cluster",
			"%s: the node's kubelets are more than three minor versions older than its API server, which Kubernetes does not support", found)
	default:
		return ok("%s", found)
	}
}

func clockSkew(ctx context.Context, e *examination) finding {
	local, err := e.offset(ctx, e.both.local)
	if err != nil {
		return skipped("%s", err)
	}
	remote, err := e.offset(ctx, e.both.remote)
	if err != nil {
		return skipped("%s", err)
	}
	apart := (local - remote).Abs()
	const mend = "timedatectl status on the control planes' machines, and let NTP set their clocks"
	said := fmt.Sprintf("they are %s apart, as their Date headers say", apart.Round(time.Second))
	switch {
	case apart > skewFailed:
		return failed(mend, "%s: tokens and leases of one are not valid in the other", said)
	case apart > skewWarning:
		return warning(mend, "%s", said)
	case local.Abs() > skewFailed:
		return warning("timedatectl status here", "this machine's clock is %s off theirs", local.Abs().Round(time.Second))
	case apart <= dateGrain:
		return ok("")
	default:
		return ok("%s", said)
	}
}

// offset is how far a cluster's clock is ahead of this machine's.
func (e *examination) offset(ctx context.Context, c *cluster) (time.Duration, error) {
	client, err := rest.HTTPClientFor(c.config)
	if err != nil {
		return 0, fmt.Errorf("%s cluster: %w", c.side, err)
	}
	address := c.client.Discovery().RESTClient().Get().AbsPath("/version").URL().String()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return 0, fmt.Errorf("%s cluster: %w", c.side, err)
	}
	begin := e.clock.Now()
	answer, err := client.Do(request)
	if err != nil {
		return 0, fmt.Errorf("%s cluster: %w", c.side, err)
	}
	if err := answer.Body.Close(); err != nil {
		return 0, fmt.Errorf("%s cluster: %w", c.side, err)
	}
	if answer.Header.Get("Date") == "" {
		return 0, errors.New("the " + c.side + " cluster's answers have no Date header")
	}
	date, err := http.ParseTime(answer.Header.Get("Date"))
	if err != nil {
		return 0, fmt.Errorf("the %s cluster's Date header: %w", c.side, err)
	}
	// Half of the way there and back, and half of the second that the header
	// leaves out.
	middle := begin.Add(e.clock.Since(begin) / 2)
	return date.Add(time.Second / 2).Sub(middle), nil
}
