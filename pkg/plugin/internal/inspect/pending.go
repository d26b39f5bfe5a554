package inspect

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
)

const (
	// PendingBound is how long a pod may wait for the remote scheduler before status and
	// check warn: any pod can wait for a moment.
	PendingBound = 10 * time.Second
	// mostPending is how many names a text about pending pods has.
	mostPending = 3
)

// Pending are pods for which the remote scheduler finds no node.
type Pending struct {
	Pods   []Location    // what has waited longest comes first
	Oldest time.Duration // that the first has waited
}

// PendingOf returns those of a node's pods that have waited for the remote scheduler
// for at least that long.
func PendingOf(pods []corev1.Pod, node string, now time.Time, atLeast time.Duration) Pending {
	type waiting struct {
		location Location
		since    time.Time
	}
	var all []waiting
	for i := range pods {
		condition := contract.RemotelyPending(&pods[i])
		if condition == nil || now.Sub(condition.LastTransitionTime.Time) < atLeast {
			continue
		}
		location := Locate(&pods[i], map[string]bool{node: true})
		location.Reason, location.Message = condition.Reason, condition.Message
		all = append(all, waiting{location, condition.LastTransitionTime.Time})
	}
	slices.SortStableFunc(all, func(a, b waiting) int { return a.since.Compare(b.since) })
	var pending Pending
	for _, one := range all {
		pending.Pods = append(pending.Pods, one.location)
	}
	if len(all) > 0 {
		pending.Oldest = max(0, now.Sub(all[0].since)) // the remote cluster's clock may be ahead
	}
	return pending
}

// What says how many of the node's pods wait, for how long, a few of their names, and what
// the remote scheduler says of most of them.
func (p Pending) What(total int) string {
	names := make([]string, 0, mostPending)
	for i := range p.Pods[:min(len(p.Pods), mostPending)] {
		names = append(names, p.Pods[i].Namespace+"/"+p.Pods[i].Pod)
	}
	text := strings.Join(names, ", ")
	if more := len(p.Pods) - len(names); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	commonest, times := p.commonest()
	says := "the remote scheduler says"
	if times < len(p.Pods) {
		says += fmt.Sprintf(" of %d of them", times)
	}
	return fmt.Sprintf("%d of %d pods wait for a node of the remote cluster, for up to %s: %s; %s: %s",
		len(p.Pods), total, duration.HumanDuration(p.Oldest), text, says, commonest.Message)
}

// Fix says what to do about it.
func (p Pending) Fix(commands kubeclient.Commands) string {
	commonest, _ := p.commonest()
	return "make room in the remote cluster, or have the pods request less: " +
		commands.Kubectl(kubeclient.Remote, "describe", "nodes") + "\n" + commonest.Look(commands)
}

// commonest returns the pod that has waited longest of those of which the remote scheduler
// says the same as of most, and their number.
func (p Pending) commonest() (pod *Location, times int) {
	count := map[string]int{}
	for i := range p.Pods {
		count[p.Pods[i].Message]++
	}
	for i := range p.Pods {
		if n := count[p.Pods[i].Message]; n > times {
			pod, times = &p.Pods[i], n
		}
	}
	return pod, times
}
