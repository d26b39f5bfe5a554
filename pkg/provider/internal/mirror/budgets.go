package mirror

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"

	"github.com/actual-kubelets/actual-kubelets/pkg/internal/disclosure"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/cluster"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/namespaces"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/queue"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/store"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

// countedFor is how long a pod that has ended still counts as one of this node: the status
// of a PodDisruptionBudget may count it as healthy until the local disruption controller has
// seen its end.
const countedFor = 5 * time.Second

// Budgets keeps remote copies of the local cluster's PodDisruptionBudgets that select pods
// of this node. It follows the budgets and the pods, and opens no namespace. If it is not
// enabled, it reads nothing.
type Budgets struct {
	BudgetsConfig

	budgets *store.Store[*policyv1.PodDisruptionBudget] // local
	syncer  syncer[*policyv1.PodDisruptionBudget]

	mu    sync.Mutex
	ended map[string][]endedPod   // by local namespace
	told  map[queue.Key]toldEvent // the last event about a budget
}

// BudgetsConfig configures a Budgets.
type BudgetsConfig struct {
	Enabled  bool
	Local    *cluster.Local
	Remote   *cluster.Remote
	Opener   *namespaces.Opener
	Pods     *store.Store[*corev1.Pod] // local
	Queue    queue.Adder
	Recorder record.EventRecorder
	Clock    clock.PassiveClock
}

// endedPod is a pod that has ended or lost labels a moment ago.
type endedPod struct {
	uid    types.UID
	labels labels.Set
	until  time.Time
}

type toldEvent struct {
	budget types.UID
	reason string
}

// NewBudgets returns a Budgets that mirrors if config enables it.
func NewBudgets(config BudgetsConfig) *Budgets {
	m := &Budgets{BudgetsConfig: config, ended: map[string][]endedPod{}, told: map[queue.Key]toldEvent{}}
	m.budgets = store.New(store.Handlers[*policyv1.PodDisruptionBudget]{
		Changed: func(c store.Change[*policyv1.PodDisruptionBudget]) { m.queue(c.Object()) },
		Trim:    translate.TrimBudget,
	})
	m.syncer = syncer[*policyv1.PodDisruptionBudget]{
		kind:   queue.DisruptionBudget,
		writer: config.Remote.DisruptionBudgetWriter(),
		copied: func(n *namespaces.Namespace) *store.Store[*policyv1.PodDisruptionBudget] { return n.Budgets },
		inSync: translate.SameBudget,
		fixed:  func(_, _ *policyv1.PodDisruptionBudget) bool { return false },
	}
	return m
}

// Run reads the local PodDisruptionBudgets until ctx ends, if mirroring is enabled.
func (m *Budgets) Run(ctx context.Context) {
	if m.Enabled {
		m.budgets.Run(ctx, m.Local.DisruptionBudgets())
	}
}

// HasSynced reports whether all mirrored objects have been read.
func (m *Budgets) HasSynced() bool { return !m.Enabled || m.budgets.HasSynced() }

func (m *Budgets) queue(budget *policyv1.PodDisruptionBudget) {
	m.Queue.Add(queue.DisruptionBudget.Key(budget.Namespace, budget.Name))
}

// Keys returns the keys to reconcile once a namespace can be used.
func (m *Budgets) Keys(local string, namespace *namespaces.Namespace) []queue.Key {
	if !m.Enabled || namespace == nil {
		return nil
	}
	var keys []queue.Key
	for _, budget := range slices.Concat(m.budgets.In(local), namespace.Budgets.All()) {
		keys = append(keys, queue.DisruptionBudget.Key(local, budget.Name))
	}
	return keys
}

// PodChanged queues the PodDisruptionBudgets for which a change of a local pod matters: its
// birth, its end and its labels. It looks at those of the pod's namespace only.
func (m *Budgets) PodChanged(change store.Change[*corev1.Pod]) {
	if !m.Enabled {
		return
	}
	before, now := counted(change.Old), counted(change.New)
	if before != nil && now != nil && change.Old.UID == change.New.UID && maps.Equal(before, now) || before == nil && now == nil {
		return
	}
	var affected []*policyv1.PodDisruptionBudget
	namespace, leaves := change.Object().Namespace, false
	for _, budget := range m.budgets.In(namespace) {
		selector := translate.BudgetSelector(budget)
		left := before != nil && selector.Matches(before)
		leaves = leaves || left
		if left || now != nil && selector.Matches(now) {
			affected = append(affected, budget)
		}
	}
	if leaves {
		m.remember(namespace, endedPod{change.Old.UID, before, m.Clock.Now().Add(countedFor)})
	}
	for _, budget := range affected {
		m.queue(budget)
	}
}

func (m *Budgets) remember(namespace string, pod endedPod) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ended[namespace] = append(m.ended[namespace], pod)
}

// counted returns the labels of a pod that may be healthy, or nil.
func counted(pod *corev1.Pod) labels.Set {
	if pod == nil || translate.Finished(pod) {
		return nil
	}
	if pod.Labels == nil {
		return labels.Set{}
	}
	return pod.Labels
}

// Reconcile updates the remote copy of a PodDisruptionBudget from the local one.
func (m *Budgets) Reconcile(ctx context.Context, k queue.Key, attempts int) error {
	ended := m.endedIn(k.Namespace)
	local, namespace := m.budgets.Get(k.Namespace, k.Name), m.Opener.Get(k.Namespace)
	if local == nil || namespace == nil {
		m.forget(k)
	}
	if namespace == nil {
		return nil // there are no pods in it; all keys are queued when it is open
	}
	var budget translate.Budget
	if local != nil {
		budget = namespace.Site.DisruptionBudget(local, m.here(local, ended))
		m.tell(k, local, budget)
	}
	if len(ended) > 0 {
		m.Queue.AddAfter(k, ended[0].until.Sub(m.Clock.Now())) // to count again without it
	}
	if budget.Waits {
		return nil
	}
	_, err := m.syncer.sync(ctx, namespace, k.Name, budget.Copy)
	if err != nil && local != nil && attempts == queue.QuietAttempts {
		m.Recorder.Eventf(local, corev1.EventTypeWarning, translate.ReasonBudgetNotMirrored,
			"The remote cluster may evict the pods on node %s without regard to this budget: %s", m.Local.NodeName(), disclosure.Text(err.Error()))
	}
	return err
}

// here counts the pods of this node that a PodDisruptionBudget selects.
func (m *Budgets) here(budget *policyv1.PodDisruptionBudget, ended []endedPod) int32 {
	selector, seen := translate.BudgetSelector(budget), map[types.UID]bool{}
	for _, pod := range m.Pods.In(budget.Namespace) {
		if labels := counted(pod); labels != nil && selector.Matches(labels) {
			seen[pod.UID] = true
		}
	}
	for i := range ended {
		if selector.Matches(ended[i].labels) {
			seen[ended[i].uid] = true
		}
	}
	return int32(len(seen)) //nolint:gosec // pods of a node
}

// endedIn returns the pods of a namespace that ended a moment ago, and forgets the others.
func (m *Budgets) endedIn(namespace string) []endedPod {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.Clock.Now()
	left := slices.DeleteFunc(slices.Clone(m.ended[namespace]), func(one endedPod) bool { return !one.until.After(now) })
	if m.ended[namespace] = left; len(left) == 0 {
		delete(m.ended, namespace)
	}
	return left
}

// Prune forgets pods that have ended a while ago in namespaces without budgets to reconcile.
func (m *Budgets) Prune() {
	m.mu.Lock()
	known := slices.Collect(maps.Keys(m.ended))
	m.mu.Unlock()
	for _, namespace := range known {
		m.endedIn(namespace)
	}
}

// tell records an event on a local PodDisruptionBudget that holds less than its owner
// expects, once.
func (m *Budgets) tell(k queue.Key, local *policyv1.PodDisruptionBudget, budget translate.Budget) {
	event := toldEvent{local.UID, budget.Reason}
	m.mu.Lock()
	known := m.told[k] == event
	if budget.Reason == "" && !budget.Waits {
		delete(m.told, k)
	} else if budget.Reason != "" {
		m.told[k] = event
	}
	m.mu.Unlock()
	if budget.Reason != "" && !known {
		m.Recorder.Event(local, corev1.EventTypeWarning, budget.Reason, budget.Message)
	}
}

func (m *Budgets) forget(k queue.Key) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.told, k)
}
