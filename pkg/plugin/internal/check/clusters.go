package check

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/utils/clock"

	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/failure"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
)

const (
	// datePrecision is how exact a Date header is, both ways.
	datePrecision = 2 * time.Second
	// skewWarning and skewFailed are differences between two clusters' clocks. A
	// token is made by one clock and judged by the other.
	skewWarning = 5 * time.Second
	skewFailed  = time.Minute
	// oldestKubelet is how many minor versions a kubelet may be older than its
	// API server.
	oldestKubelet = 3
)

func clusterChecks() []Check {
	both := []string{"local-reachable", "remote-reachable"}
	return []Check{
		{
			ID:    "local-reachable",
			Title: "the local cluster answers",
			Early: true,
			examine: func(ctx context.Context, s *Subject) Finding {
				return reachable(ctx, s.Local, "--context")
			},
		},
		{
			ID:    "remote-reachable",
			Title: "the remote cluster answers",
			Early: true,
			examine: func(ctx context.Context, s *Subject) Finding {
				return reachable(ctx, s.Remote, "--remote-context")
			},
		},
		{
			ID:      "clusters-distinct",
			Title:   "they are two different clusters",
			Early:   true,
			Needs:   both,
			examine: distinct,
		},
		{
			ID:      "remote-policies-supported",
			Title:   "the remote cluster supports admission policies",
			Early:   true,
			Needs:   []string{"remote-reachable"},
			examine: policiesSupported,
		},
		{
			ID:      "local-policies-supported",
			Title:   "the local cluster supports admission policies",
			Early:   true,
			Needs:   []string{"local-reachable"},
			examine: localPoliciesSupported,
		},
		{
			ID:    "version-skew",
			Title: "the clusters' versions are compatible",
			Early: true,
			Needs: both,
			examine: func(_ context.Context, s *Subject) Finding {
				return versionSkew(s.Local.Version, s.Remote.Version)
			},
		},
		{
			ID:      "clock-skew",
			Title:   "the clusters' clocks agree",
			Early:   true,
			Needs:   both,
			examine: clockSkew,
		},
	}
}

func reachable(ctx context.Context, c *kubeclient.Cluster, flag string) Finding {
	if err := c.Identify(ctx); err != nil {
		fix := append(failure.Hints(err),
			"name another context with "+flag+", or see whether kubectl reaches it: "+c.Commands.Kubectl(c.Side, "cluster-info"))
		return failed(strings.Join(fix, "\n"), "%s", err)
	}
	return ok("Kubernetes %s at %s", c.Version, c.Config.Host)
}

func distinct(_ context.Context, s *Subject) Finding {
	if s.Local.UID == s.Remote.UID {
		return failed("name another context with --remote-context, one of: "+s.Commands.Kubectl(kubeclient.Local, "config", "get-contexts"),
			"both contexts lead to the same cluster, whose kube-system has UID %s", s.Local.UID)
	}
	return ok("kube-system has UID %s and %s", s.Local.UID, s.Remote.UID)
}

func policiesSupported(_ context.Context, s *Subject) Finding {
	has, err := s.Remote.HasPolicies()
	if err != nil {
		return unknown(err)
	}
	if !has {
		return failed("upgrade the remote cluster to Kubernetes 1.30 or later; "+
			"if akd may access all of it, install with --allow-unconfined-remote",
			"%s has no ValidatingAdmissionPolicy, which confines akd to its own namespaces", s.Remote.Version)
	}
	return ok("")
}

// localPoliciesSupported skips: only an approver of certificates needs them there.
func localPoliciesSupported(_ context.Context, s *Subject) Finding {
	has, err := s.Local.HasPolicies()
	if err != nil {
		return unknown(err)
	}
	if !has {
		return skipped("%s has no ValidatingAdmissionPolicy, which install %s needs", s.Local.Version, approveFlag)
	}
	return ok("")
}

// versionSkew compares the versions of the local API server and of the node,
// which is that of the remote nodes.
// https://kubernetes.io/releases/version-skew-policy/#kubelet
func versionSkew(localVersion, remoteVersion string) Finding {
	local, err := version.ParseGeneric(localVersion)
	if err != nil {
		return warning("", "the local version %q cannot be compared", localVersion)
	}
	remote, err := version.ParseGeneric(remoteVersion)
	if err != nil {
		return warning("", "the remote version %q cannot be compared", remoteVersion)
	}
	found := fmt.Sprintf("local %s, remote %s", localVersion, remoteVersion)
	switch {
	case remote.Major() != local.Major() || remote.Minor() > local.Minor():
		return warning("upgrade the local cluster first",
			"%s: the node's kubelets are newer than its API server, which Kubernetes does not support: "+
				"pod fields that only the remote cluster knows are lost", found)
	case local.Minor()-remote.Minor() > oldestKubelet:
		return warning("upgrade the remote cluster",
			"%s: the node's kubelets are more than three minor versions older than its API server, which Kubernetes does not support", found)
	default:
		return ok("%s", found)
	}
}

func clockSkew(ctx context.Context, s *Subject) Finding {
	local, err := clockOffset(ctx, s.Local, s.Clock)
	if err != nil {
		return unknown(err)
	}
	remote, err := clockOffset(ctx, s.Remote, s.Clock)
	if err != nil {
		return unknown(err)
	}
	return judgeClocks(local, remote)
}

// judgeClocks compares how far the clusters' clocks are ahead of this machine's.
func judgeClocks(local, remote time.Duration) Finding {
	const fix = "run timedatectl status on the machines of both control planes, and let NTP set their clocks"
	apart := (local - remote).Abs()
	found := fmt.Sprintf("their Date headers are %s apart", apart.Round(time.Second))
	switch {
	case apart > skewFailed:
		return failed(fix, "%s: tokens and leases of one cluster are not valid in the other", found)
	case apart > skewWarning:
		return warning(fix, "%s", found)
	case local.Abs() > skewFailed:
		return warning("run timedatectl status on this machine", "this machine's clock is %s off theirs", local.Abs().Round(time.Second))
	case apart <= datePrecision:
		return ok("")
	default:
		return ok("%s", found)
	}
}

// clockOffset returns how far a cluster's clock is ahead of this machine's.
func clockOffset(ctx context.Context, c *kubeclient.Cluster, machine clock.PassiveClock) (time.Duration, error) {
	begin := machine.Now()
	response, err := c.Respond(ctx, "/version")
	if err != nil {
		return 0, err
	}
	if err := response.Body.Close(); err != nil {
		return 0, fmt.Errorf("%s cluster: %w", c.Side, err)
	}
	header := response.Header.Get("Date")
	if header == "" {
		return 0, errors.New("the " + string(c.Side) + " cluster's answers have no Date header")
	}
	date, err := http.ParseTime(header)
	if err != nil {
		return 0, fmt.Errorf("the %s cluster's Date header: %w", c.Side, err)
	}
	// The server wrote the header halfway through the request, and left out half
	// a second on average.
	middle := begin.Add(machine.Since(begin) / 2)
	return date.Add(time.Second / 2).Sub(middle), nil
}
