//go:build e2e

package faults

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

var (
	total  = flag.Int("faults", 25, "how many faults happen; from 100 on they are of all kinds, and some are long")
	seed   = flag.Uint64("seed", 0, "choices of another run; 0 makes new ones")
	resume = flag.Bool("resume", false, "go on after the last fault in the journal")
	budget = flag.Duration("for", 0, "how long new faults begin, such as 90m; 0 for as long as it takes")
	atOnce = flag.Int("at-once", 0, "how many faults happen at once at most, in different places (default 5 in a short run, 1 in a long one)")
	claims = flag.Bool("claims", true, "pods have claims as well")
	out    = flag.String("out", "", "folder of the journal, the report and what is known about violations (default dist/faults)")
)

const (
	// remoteNodes is how many nodes the remote cluster has.
	remoteNodes = 2
	// longRun is how many faults make a run a long one.
	longRun = 100
	// shortAtOnce is how many faults of a short run happen at once at most.
	shortAtOnce = 5
	// patience is how long both clusters may take to agree after a fault, besides twice
	// the time that it lasted: a controller to which no pod was given pauses between its
	// tries, each time twice as long as before.
	patience = 5 * time.Minute
	// mostStuck ends a run in which nothing recovers.
	mostStuck = 3
)

// ports are those of the metrics of both akds.
func ports() []string { return []string{env.FirstMetrics, env.SecondMetrics} }

// field is where faults happen: two clusters, two akds that serve one node, and
// users.
type field struct {
	*env.Env
	akds    []*env.AKD
	kinds   []kind
	history *history
	stored  *volumeHistory
	streams *streams
	audits  []*auditLog
	// foreign are the versions of objects that are none of akd's business.
	foreign map[string]string
	// choose makes the choices of the present fault.
	choose *rand.Rand
	// damaged: something has ended that only Repair starts again.
	damaged bool
	// shifted is an akd whose clock can be shifted; "" in a short run.
	shifted string
	seed    uint64
	out     string
}

// TestFaults lets faults happen, one after the other or some at once, and judges each
// time that they are over.
func TestFaults(t *testing.T) {
	folder := *out
	if folder == "" {
		folder = filepath.Join("..", "..", "dist", "faults")
	}
	journal, err := openJournal(filepath.Join(folder, "faults.jsonl"), *resume)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { writeReport(t, folder, journal) })
	f := newField(t, folder, journal.seed(*seed))
	began, stuckInARow := time.Now(), 0
	for len(journal.results) < *total && (*budget == 0 || time.Since(began) < *budget) {
		for _, r := range f.round(t, len(journal.results)) {
			if err := journal.add(r); err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(t.Output(), "%d of %d: %s\n", r.Number+1, *total, r)
			stuckInARow = f.tell(t, r, stuckInARow)
		}
		if stuckInARow == mostStuck {
			t.Fatalf("nothing has recovered from the last %d faults", mostStuck)
		}
	}
	f.empty(t)
}

// seed is that of the run that is resumed, or the one that is given, or a new one.
func (j *journal) seed(given uint64) uint64 {
	switch {
	case len(j.results) > 0:
		return j.results[0].Seed
	case given > 0:
		return given
	}
	return uint64(time.Now().UnixNano())
}

func writeReport(t *testing.T, folder string, journal *journal) {
	t.Helper()
	text := report(journal.results)
	fmt.Fprintln(t.Output(), text)
	if err := os.WriteFile(filepath.Join(folder, "report.txt"), []byte(text), 0o644); err != nil {
		t.Error(err)
	}
	if err := journal.file.Close(); err != nil {
		t.Error(err)
	}
}

func newField(t *testing.T, folder string, seed uint64) *field {
	t.Helper()
	t.Logf("seed %d, clusters in %s, results in %s", seed, clustersDir, folder)
	long := *total >= longRun
	f := &field{history: newHistory(), stored: newVolumeHistory(), kinds: kinds(long), seed: seed, out: folder}
	if long {
		f.shifted = buildShifted(t)
	}
	up := []string{fmt.Sprintf("--remote-nodes=%d", remoteNodes), "--audit"}
	if f.hasStorage() {
		up = append(up, "--csi")
	}
	f.Env = env.UpAnew(t, clustersDir, up...)
	for _, side := range []side{local, remote} {
		f.audits = append(f.audits, &auditLog{side: side, file: f.AuditLog(string(side))})
	}
	values, more := f.MirroringValues(node), []string{"--services=mirror"}
	if f.hasStorage() {
		values.Storage = f.offerStorage(t)
		more = append(more, "--config", env.StorageConfig(t, values.Storage.Classes))
	}
	installed := f.InstallNode(t, values, time.Hour)
	f.AddServiceRange(t, env.LocalServices, node)
	args := installed.Args(more...)
	f.akds = []*env.AKD{
		f.StartAKD(t, node, args...),
		f.LaunchAKD(t, node, append(args, "--kubelet-api-port=10251", "--metrics-address=127.0.0.1:"+env.SecondMetrics)...),
	}
	f.streams = &streams{env: f.Env}
	f.record(t)
	for _, namespace := range churned() {
		f.Apply(t, f.Namespace(t, namespace), fmt.Sprintf(workloads, node))
		if f.hasStorage() {
			f.Apply(t, namespace, storing())
		}
	}
	f.Apply(t, f.Namespace(t, streamed), fmt.Sprintf(counter, node))
	users := &churn{client: f.Local, storage: f.hasStorage()}
	err := within(t.Context(), patience, func(ctx context.Context) error { return errors.Join(users.provide(ctx), f.agree(ctx)) })
	if err != nil {
		t.Fatalf("before the first fault: %v", err)
	}
	f.addForeign(t)
	f.audited(t) // nothing is wrong yet: installing tries what akd may do
	return f
}

const clustersDir = "../../.clusters-faults"

// round lets the fault of that number happen, at once with those that follow it as long
// as they happen in other places. It waits until all are over, and judges. The result of
// the first one has what was found.
func (f *field) round(t *testing.T, first int) []result {
	t.Helper()
	faults := f.together(first)
	c := &churn{client: f.Local, choose: choices(f.seed, ofChurn, first), prefix: fmt.Sprint("f", first), storage: f.hasStorage()}
	found := f.streams.open(t)
	c.act(t.Context()) // the faults come in the middle of what these begin
	c.act(t.Context())

	began := time.Now()
	over := f.begin(t, faults)
	const pace = 4 * time.Second
	length := longest(faults)
	c.during(t.Context(), length, max(2, int(length/pace)))
	over()
	ended := time.Now()
	if err := within(t.Context(), patience+2*length, func(ctx context.Context) error {
		err := errors.Join(c.witness(ctx), c.provide(ctx))
		if err == nil {
			err = f.agree(ctx)
		}
		if err != nil {
			f.restartEnded(t)
		}
		return err
	}); err != nil {
		found = append(found, violation{stuck, err.Error()})
	}
	recovered := time.Now()
	pods, wrong := f.judge(t, faults)
	found = append(found, wrong...)
	writes, wrong := f.audited(t)
	found = append(found, wrong...)
	var results []result
	for i, fault := range faults {
		results = append(results, result{
			Number:          first + i,
			Kind:            fault.name,
			With:            others(faults, i),
			Seed:            f.seed,
			Began:           began.UTC(),
			LastedSeconds:   ended.Sub(began).Seconds(),
			RecoverySeconds: recovered.Sub(ended).Seconds(),
		})
	}
	results[0].Pods, results[0].Writes, results[0].Violations = pods, writes, found
	if len(results[0].Violations) > 0 {
		f.dump(t, results[0])
	}
	f.tidy(t)
	return results
}

// restartEnded starts components of the clusters again that have ended by themselves.
func (f *field) restartEnded(t *testing.T) {
	t.Helper()
	if ended := f.Ended(t); len(ended) > 0 {
		t.Logf("%s ended by themselves, and are started again", strings.Join(ended, ", "))
		f.Repair(t)
	}
}

// audited returns how often akd has written since the last call, and what of it is wrong.
func (f *field) audited(t *testing.T) (writes int, found []violation) {
	t.Helper()
	for _, log := range f.audits {
		some, wrong, err := log.news()
		if err != nil {
			t.Fatal(err)
		}
		writes += some
		found = append(found, wrong...)
	}
	return writes, found
}

// fault is a kind of fault that is about to happen.
type fault struct {
	kind

	choose *rand.Rand
	length time.Duration
}

// together are the faults of a round.
func (f *field) together(first int) []fault {
	var faults []fault
	long := *total >= longRun && choices(f.seed, ofLengths, first).IntN(longRounds) == 0
	taken := map[place]bool{}
	most := *atOnce
	switch {
	case most > 0:
	case *total >= longRun:
		most = 1
	default:
		most = shortAtOnce
	}
	for number := first; number < *total && len(faults) < most; number++ {
		k := f.kinds[kindOf(f.seed, number, len(f.kinds))]
		if taken[k.where] {
			break
		}
		taken[k.where] = true
		choose := choices(f.seed, ofFaults, number)
		faults = append(faults, fault{kind: k, choose: choose, length: k.length(choose, long)})
	}
	return faults
}

func longest(faults []fault) (length time.Duration) {
	for _, fault := range faults {
		length = max(length, fault.length)
	}
	return length
}

// others are the names of all faults but one.
func others(faults []fault, but int) (names []string) {
	for i, fault := range faults {
		if i != but {
			names = append(names, fault.name)
		}
	}
	return names
}

// begin begins faults, careful ones first, and returns what ends them, careful ones last.
func (f *field) begin(t *testing.T, faults []fault) (over func()) {
	t.Helper()
	ends := map[bool][]func(){} // by whether they are careful
	for _, careful := range []bool{true, false} {
		for _, fault := range faults {
			if fault.careful == careful {
				f.choose = fault.choose
				ends[careful] = append(ends[careful], fault.begin(t, f))
			}
		}
	}
	return func() {
		for _, end := range ends[false] {
			end()
		}
		if f.damaged {
			f.Repair(t)
			f.damaged = false
		}
		for _, end := range ends[true] {
			end()
		}
	}
}

// judge finds what faults have broken, and cleans up for the next ones.
func (f *field) judge(t *testing.T, faults []fault) (pods int, found []violation) {
	t.Helper()
	var excused excuses
	mayEnd := false
	for _, fault := range faults {
		excused.kills = excused.kills || fault.excuses.kills
		excused.evicts = excused.evicts || fault.excuses.evicts
		mayEnd = mayEnd || fault.endsStreams
	}
	if err := within(t.Context(), patience, f.recorded); err != nil {
		found = append(found, violation{stuck, err.Error()})
	}
	pods, wrong := f.history.verdict(excused)
	found = append(append(found, wrong...), f.judgeStored(t)...)
	now, err := f.versions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(f.foreign, now); diff != "" {
		found = append(found, violation{foreign, diff})
		f.foreign = now
	}
	return pods, append(found, f.streams.check(t, !mayEnd)...)
}

// tell fails the test for each violation, and counts faults without a recovery.
func (f *field) tell(t *testing.T, r result, stuckInARow int) int {
	t.Helper()
	isStuck := false
	for _, v := range r.Violations {
		t.Errorf("fault %d, %s: %s: %s", r.Number, r.all(), v.Breach, v.Text)
		isStuck = isStuck || v.Breach == stuck
	}
	if isStuck {
		return stuckInARow + 1
	}
	return 0
}

// empty deletes all local pods, after which no remote one may be left.
func (f *field) empty(t *testing.T) {
	t.Helper()
	for _, namespace := range namespaces() {
		f.Kubectl(t, "local", "delete", "cronjobs,jobs,deployments,statefulsets,pods", "--all", "-n", namespace, "--timeout=3m")
	}
	err := within(t.Context(), patience, func(ctx context.Context) error {
		left, err := f.Remote.CoreV1().Pods("").List(ctx, f.selected(remote))
		if err == nil && len(left.Items) > 0 {
			err = fmt.Errorf("remote pod %s is left, of %d", name(&left.Items[0]), len(left.Items))
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if f.hasStorage() {
		f.emptyStored(t)
	}
}

// foreignLabel is on the objects that are none of akd's business.
const foreignLabel = "faults.example.org/foreign"

const foreignObjects = `
apiVersion: v1
kind: ConfigMap
metadata: {name: foreign, labels: {faults.example.org/foreign: ""}}
data: {of: somebody}
---
apiVersion: v1
kind: Secret
metadata: {name: foreign, labels: {faults.example.org/foreign: ""}}
stringData: {of: somebody}
`

// addForeign adds foreign objects to a namespace of their own on both sides, and to a
// remote one of akd.
func (f *field) addForeign(t *testing.T) {
	t.Helper()
	const own = "faults-foreign"
	for _, side := range []string{"local", "remote"} {
		f.Kubectl(t, side, "create", "namespace", own)
		f.applyForeign(t, side, own)
	}
	f.applyForeign(t, "remote", contract.RemoteNamespace(node, churned()[0]))
	var err error
	if f.foreign, err = f.versions(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (f *field) applyForeign(t *testing.T, side, namespace string) {
	t.Helper()
	out, stderr, err := f.TryKubectl(side, strings.NewReader(foreignObjects), "apply", "-n", namespace, "-f", "-")
	if err != nil {
		t.Fatalf("apply foreign objects: %v\n%s%s", err, out, stderr)
	}
}

// versions are those of the foreign objects.
func (f *field) versions(ctx context.Context) (map[string]string, error) {
	found := map[string]string{}
	err := within(ctx, patience, func(ctx context.Context) error {
		clear(found)
		for _, side := range []side{local, remote} {
			some, err := f.versionsOf(ctx, side)
			if err != nil {
				return err
			}
			maps.Copy(found, some)
		}
		return nil
	})
	return found, err
}

func (f *field) versionsOf(ctx context.Context, side side) (map[string]string, error) {
	options := metav1.ListOptions{LabelSelector: foreignLabel}
	configMaps, err := f.client(side).CoreV1().ConfigMaps("").List(ctx, options)
	if err != nil {
		return nil, err
	}
	secrets, err := f.client(side).CoreV1().Secrets("").List(ctx, options)
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	add := func(kind string, object metav1.Object) {
		found[fmt.Sprintf("%s %s %s/%s", side, kind, object.GetNamespace(), object.GetName())] =
			string(object.GetUID()) + " at " + object.GetResourceVersion()
	}
	for i := range configMaps.Items {
		add("ConfigMap", &configMaps.Items[i])
	}
	for i := range secrets.Items {
		add("Secret", &secrets.Items[i])
	}
	return found, nil
}

// dump writes what is known about a fault with violations to a file.
func (f *field) dump(t *testing.T, r result) {
	t.Helper()
	var text strings.Builder
	for _, v := range r.Violations {
		fmt.Fprintf(&text, "%s: %s\n", v.Breach, v.Text)
	}
	for _, side := range []string{"local", "remote"} {
		for _, args := range [][]string{
			{"get", "nodes,pods,persistentvolumeclaims,persistentvolumes", "-A", "-o", "wide"},
			{"get", "pods,persistentvolumeclaims,persistentvolumes", "-A", "-o", "yaml", "-l", "!k8s-app"},
			{"get", "events", "-A", "--sort-by=.lastTimestamp"},
		} {
			stdout, stderr, _ := f.TryKubectl(side, nil, append(args, "--request-timeout=20s")...)
			fmt.Fprintf(&text, "\n# %s: kubectl %s\n%s%s", side, strings.Join(args, " "), stdout, stderr)
		}
	}
	const most = 2000
	lines := f.akds[0].LogLines(t) // both write to one file
	fmt.Fprintf(&text, "\n# the log of both akds\n%s", strings.Join(lines[max(0, len(lines)-most):], ""))
	file := filepath.Join(f.out, fmt.Sprintf("violation-%04d.txt", r.Number))
	if err := os.WriteFile(file, []byte(text.String()), 0o644); err != nil {
		t.Error(err)
	}
}

// buildShifted builds an akd whose clock can be shifted. It takes minutes: nothing of
// an ordinary build can be used again.
func buildShifted(t *testing.T) (program string) {
	t.Helper()
	source := filepath.Join(strings.TrimSpace(env.Run(t, exec.CommandContext(t.Context(), "go", "env", "GOROOT"))), "src", "time")
	original, err := os.ReadFile(filepath.Join(source, "time.go"))
	if err != nil {
		t.Fatal(err)
	}
	changed, err := shiftedTime(string(original))
	if err != nil {
		t.Fatal(err)
	}
	dir, replace := t.TempDir(), map[string]string{}
	for name, content := range map[string]string{"time.go": changed, "shift.go": shiftFile} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[filepath.Join(source, name)] = file
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	program = filepath.Join(dir, "akd-shifted")
	build := exec.CommandContext(t.Context(), "go", "build", "-overlay", file, "-trimpath", "-o", program, "../../cmd/akd")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	env.Run(t, build)
	return program
}
