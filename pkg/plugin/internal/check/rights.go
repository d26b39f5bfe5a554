package check

import (
	"cmp"
	"context"
	"strings"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/failure"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/rights"
)

// anyNode and anyCluster stand for what is not known yet, and does not matter to
// rights.
const (
	anyNode    = "vk-ak-example"
	anyCluster = "any"
)

func rightsChecks() []Check {
	return []Check{
		{
			ID:    "local-rights",
			Title: "you may install in the local cluster",
			Early: true,
			Needs: []string{"local-reachable"},
			examine: func(ctx context.Context, s *Subject) Finding {
				return mayInstall(ctx, s.Local, s.Node.Name)
			},
		},
		{
			ID:    "remote-rights",
			Title: "you may install in the remote cluster",
			Early: true,
			Needs: []string{"remote-reachable"},
			examine: func(ctx context.Context, s *Subject) Finding {
				// To add up the node's capacity, unless --capacity is given.
				return mayInstall(ctx, s.Remote, s.Node.Name, rights.Right{Verb: "list", Resource: "nodes"})
			},
		},
	}
}

// mayInstall reviews every right of the user that an installation needs, and more.
func mayInstall(ctx context.Context, c *kubeclient.Cluster, node string, more ...rights.Right) Finding {
	values := manifests.Values{Node: cmp.Or(node, anyNode), ClusterUID: anyCluster, Image: "akd"}
	answers, err := rights.ReviewInstall(ctx, c, values, more...)
	if err != nil {
		return failed(strings.Join(failure.Hints(err), "\n"), "%s", err)
	}
	return judgeRights(answers, "ask an administrator of the "+string(c.Side)+" cluster for these rights, or to install the node")
}

// judgeRights fails if a right is missing.
func judgeRights(answers rights.Answers, fix string) Finding {
	finding := ok("%d rights", len(answers.Asked))
	if len(answers.Denied) > 0 {
		finding = failed(fix, "missing: %s", strings.Join(rights.Rules(answers.Denied), "; "))
	}
	finding.Details = answers.Asked
	return finding
}
