package install

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/failure"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/ranges"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/config"
)

// serviceChoice is how pods reach Services of the local cluster.
type serviceChoice struct {
	mode      config.ServicesMode
	ranges    []string // of service addresses
	endpoints []string // that copies may lead to
	reason    string   // why they are not mirrored
}

// String is the choice as the outcome of a step.
func (c *serviceChoice) String() string {
	if c.mode == config.ServicesNone {
		return "none: " + c.reason
	}
	return fmt.Sprintf("mirror %s; copies may lead to %s", strings.Join(c.ranges, ", "), strings.Join(c.endpoints, ", "))
}

// chooseServices decides whether Services are mirrored, and with which ranges,
// from what was found in the clusters, or from the error that kept it from being
// found. Only somebody who did not ask for mirroring goes without it, and is told
// why; a node that has mirrored Services does not stop because of a problem.
func (o *nodeOptions) chooseServices(found *ranges.Found, err error) (serviceChoice, error) {
	requested := o.requestedServices()
	if apierrors.IsForbidden(err) && requested == "" {
		return serviceChoice{mode: config.ServicesNone, reason: err.Error()}, nil
	}
	if err != nil {
		return serviceChoice{}, err
	}
	choice := serviceChoice{
		mode:      config.ServicesMirror,
		ranges:    ranges.Strings(found.Local),
		endpoints: slices.Clone(o.endpointCIDRs),
	}
	problems := found.Problems()
	if len(choice.endpoints) > 0 { // the ranges of pods are not needed
		problems = slices.DeleteFunc(problems, func(p ranges.Problem) bool { return p == found.PodsUnknown })
	} else {
		choice.endpoints = ranges.Strings(found.Pods)
	}
	switch {
	case len(problems) == 0:
		choice.endpoints = append(choice.endpoints, ranges.Strings(found.Servers)...)
		return choice, nil
	case requested == "" && found.Object == "":
		return serviceChoice{mode: config.ServicesNone, reason: problems[0].What + "; " + problems[0].Fix}, nil
	default:
		err := errors.New("services cannot be mirrored: " + problems[0].What)
		return serviceChoice{}, failure.Hintf(err, "%s", problems[0].Fix)
	}
}

// needRanges is for where no cluster can be asked.
func needRanges(values *manifests.Values) error {
	if !values.MirrorServices || len(values.ServiceCIDRs) > 0 && len(values.EndpointCIDRs) > 0 {
		return nil
	}
	err := failure.Usagef("services: mirror needs --service-cidr, the local cluster's range of service addresses, " +
		"and --endpoint-cidr, the ranges of both clusters' pods and of the local API servers")
	return failure.Hintf(err, "give both: only install itself reads them from the clusters")
}
