package check

import (
	"context"
	"strings"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/failure"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/owner"
)

// mostNames is how many names of a list a finding has.
const mostNames = 10

// owner is the node of the local cluster.
func (s *Subject) owner() contract.Owner { return s.Clusters.Owner(s.Node.Name) }

// nodeOwner looks for objects of the node's name that another local cluster has in
// the remote one.
func nodeOwner(ctx context.Context, s *Subject) Finding {
	if s.Node.Name == "" {
		return skipped("no node is named")
	}
	claims, err := owner.Find(ctx, s.Remote, s.owner())
	if err != nil {
		return unknown(err)
	}
	if err := claims.Refusal(); err != nil {
		return failed(strings.Join(failure.Hints(err), "\n"), "%s", err)
	}
	if len(claims.Own) == 0 {
		return ok("nobody has it yet")
	}
	return ok("%d remote objects", len(claims.Own))
}

// recordProved holds akd's record against what akd would write. Nothing in it is
// believed by other checks.
func recordProved(_ context.Context, s *Subject) Finding {
	foreign := s.owner().ForeignRecords(s.Node.Record)
	if len(foreign) == 0 {
		return ok("%d names", len(s.Node.Record))
	}
	shown := foreign[:min(len(foreign), mostNames)]
	finding := failed("somebody else has used akd's credential: "+s.rotateCommand("--revoke-all")+
		"\nthen take the names out of the record: "+s.installCommand(),
		"ConfigMap %s/%s of the remote cluster has %d names that akd does not write: %s",
		contract.SystemNamespace, contract.RecordName(s.Node.Name), len(foreign), strings.Join(shown, ", "))
	finding.Details = foreign
	return finding
}
