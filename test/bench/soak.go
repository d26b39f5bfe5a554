package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// soakMeasurement lets pods come and go for long, beside others that stay and whose
// tokens are renewed, and looks for what grows.
type soakMeasurement struct {
	pods int
	time time.Duration
}

func (m *soakMeasurement) needs() (needs, error) {
	if m.pods < 2 || m.time <= 0 {
		return needs{}, errors.New("nothing to measure: give --pods of 2 or more, and --for")
	}
	return needs{simulatedPods: m.pods, sides: []side{localSide}, namespaces: namespaces, akd: true}, nil
}

// shortestToken is the shortest life of a service account token that can be requested.
// https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-request-v1/
const shortestToken = 10 * time.Minute

// waveEvery is the time between the beginnings of two waves; one that takes longer takes
// the place of the next. At a pace of their own, waves come faster when the machine has
// less else to do, and akd, which remembers deleted pods for minutes, holds more of them:
// growth that is none.
const waveEvery = 15 * time.Second

func (m *soakMeasurement) run(ctx context.Context, env *environment) (string, error) {
	if err := env.approveServing(ctx); err != nil {
		return "", err
	}
	there := env.onAK()
	there.tokenLife = shortestToken
	env.logf("creating %d pods that stay", m.pods/2)
	if err := populate(ctx, there, "stays", m.pods/2); err != nil {
		return "", err
	}
	started, err := os.ReadFile(env.daemon.log()) // not ready yet, and says so
	if err != nil {
		return "", fmt.Errorf("akd's log: %w", err)
	}
	var s soak
	atHalf := false
	begin := time.Now()
	for wave := 0; time.Since(begin) < m.time; wave++ {
		if err := pause(ctx, untilWave(time.Since(begin))); err != nil {
			return "", err
		}
		if err := m.wave(ctx, there, fmt.Sprint("wave", wave)); err != nil {
			return "", err
		}
		s.waves++
		state, err := env.state(ctx)
		if err != nil {
			return "", err
		}
		state.after = time.Since(begin)
		s.states = append(s.states, state)
		if !atHalf && state.after >= m.time/2 { // to compare the last one with
			atHalf = true
			if err := env.daemon.keepHeap(ctx, "soak-half"); err != nil {
				return "", err
			}
		}
		if wave%20 == 0 {
			env.logf("%s of %s: %d waves, %s", state.after.Round(time.Second), m.time, s.waves, state)
		}
	}
	log, err := os.ReadFile(env.daemon.log())
	if err != nil {
		return "", fmt.Errorf("akd's log: %w", err)
	}
	s.warnings = warnings(string(log[len(started):]))
	for _, warning := range s.warnings {
		env.logf("%s", warning)
	}
	return m.report(s), env.daemon.keepHeap(ctx, "soak")
}

// approveServing approves akd's request for a serving certificate, as an administrator
// does: it warns from time to time while nobody has.
func (env *environment) approveServing(ctx context.Context) error {
	requests := env.clients[localSide].CertificatesV1().CertificateSigningRequests()
	return poll(ctx, "akd's serving certificate is requested", func(ctx context.Context) error {
		found, err := requests.List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for i := range found.Items {
			request := &found.Items[i]
			if request.Spec.SignerName != certificatesv1.KubeletServingSignerName {
				continue
			}
			request.Status.Conditions = append(request.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{
				Type: certificatesv1.CertificateApproved, Status: corev1.ConditionTrue, Reason: "Measured",
			})
			_, err := requests.UpdateApproval(ctx, request.Name, request, metav1.UpdateOptions{})
			return err
		}
		return errors.New("no request yet")
	})
}

// untilWave is how long to wait for the next wave, with the time since the first.
func untilWave(since time.Duration) time.Duration { return waveEvery - since%waveEvery }

// wave creates pods and deletes them again.
func (m *soakMeasurement) wave(ctx context.Context, there place, run string) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	l := newLoad(there, run, m.pods-m.pods/2)
	if err := l.watch(ctx); err != nil {
		return err
	}
	if err := createRunning(ctx, l); err != nil {
		return err
	}
	return deleteGone(ctx, l)
}

// soak is what was seen.
type soak struct {
	waves    int
	states   []state
	warnings []string // lines of akd's log
}

// state is what there is at one moment, in akd after a garbage collection.
type state struct {
	after       time.Duration
	heap        float64 // MiB
	goroutines  float64
	descriptors float64
	watches     float64 // that the API servers serve to everyone
	renewals    float64 // of tokens, so far
}

func (s state) String() string {
	return fmt.Sprintf("heap %.1f MiB, %.0f goroutines, %.0f descriptors, %.0f watches", s.heap, s.goroutines, s.descriptors, s.watches)
}

// state reads what akd holds, and how many watches there are.
func (env *environment) state(ctx context.Context) (state, error) {
	d := env.daemon
	// The page collects garbage and says at once what is left.
	heap, err := d.get(ctx, "/debug/pprof/heap?gc=1&debug=1")
	if err != nil {
		return state{}, err
	}
	live := heapAlloc.FindStringSubmatch(heap)
	if live == nil {
		return state{}, errors.New("akd's heap profile does not say how much is live")
	}
	bytes, err := strconv.ParseFloat(live[1], 64)
	if err != nil {
		return state{}, fmt.Errorf("akd's heap profile: %w", err)
	}
	page, err := d.get(ctx, "/metrics")
	if err != nil {
		return state{}, err
	}
	values := map[string]float64{}
	for _, name := range []string{"go_goroutines", "process_open_fds", "akd_token_renewals_total"} {
		samples, err := samplesOf(page, name)
		if err != nil {
			return state{}, fmt.Errorf("read akd's metrics: %w", err)
		}
		if len(samples) == 0 {
			return state{}, fmt.Errorf("akd has no metric %s", name)
		}
		for _, sample := range samples {
			values[name] += float64(sample.value)
		}
	}
	watches, err := env.watches(ctx)
	return state{
		heap:        bytes / (1 << 20),
		goroutines:  values["go_goroutines"],
		descriptors: values["process_open_fds"],
		watches:     watches,
		renewals:    values["akd_token_renewals_total"],
	}, err
}

var (
	heapAlloc = regexp.MustCompile(`(?m)^# HeapAlloc = (\d+)$`)
	isWarning = regexp.MustCompile(`level=(WARN|ERROR)`)
	message   = regexp.MustCompile(`msg=("[^"]*"|\S*)`)
)

// warnings are the lines of a log that somebody would have to look at.
func warnings(log string) []string {
	var found []string
	for line := range strings.Lines(log) {
		if isWarning.MatchString(line) {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return found
}

// figure is a figure of all states.
func (s soak) figure(of func(state) float64) series {
	var all series
	for _, state := range s.states {
		all = append(all, of(state))
	}
	return all
}

// slope is by how much a figure grows in an hour, by the least squares of the later
// half of the states: akd's caches grow at first.
func (s soak) slope(of func(state) float64) float64 {
	states := s.states[len(s.states)/2:]
	var n, sumX, sumY, sumXX, sumXY float64
	for _, state := range states {
		x, y := state.after.Hours(), of(state)
		n, sumX, sumY, sumXX, sumXY = n+1, sumX+x, sumY+y, sumXX+x*x, sumXY+x*y
	}
	spread := n*sumXX - sumX*sumX
	if spread == 0 {
		return 0
	}
	return (n*sumXY - sumX*sumY) / spread
}

// soakFigure is a figure that must not grow.
type soakFigure struct {
	name string
	of   func(state) float64
	most float64 // share of the median by which it may grow in an hour; 0 for none
}

func soakFigures() []soakFigure {
	return []soakFigure{
		{"live objects, MiB", func(s state) float64 { return s.heap }, 0},
		{"goroutines", func(s state) float64 { return s.goroutines }, 0.02},
		{"descriptors", func(s state) float64 { return s.descriptors }, 0.02},
		{"watches", func(s state) float64 { return s.watches }, 0.02},
	}
}

// mostPerPod is less, in bytes, than what it takes to remember a pod that is gone: its UID
// alone, as the key of a map, takes more. Maps through which many keys have gone grow
// for hours, less and less, without any that is kept.
const mostPerPod = 64

// perPod is by how many bytes akd's live objects grow for each pod that comes and goes.
func (m *soakMeasurement) perPod(s soak) float64 {
	hours := s.states[len(s.states)-1].after.Hours()
	pods := float64(s.waves * (m.pods - m.pods/2))
	return s.slope(func(s state) float64 { return s.heap }) * (1 << 20) * hours / pods
}

func (m *soakMeasurement) report(s soak) string {
	t := table{head: []string{"figure", "at first", "at last", "median", "growth per hour"}}
	var goals strings.Builder
	for _, f := range soakFigures() {
		all, slope := s.figure(f.of), s.slope(f.of)
		cells := []string{f.name}
		for _, value := range []float64{all[0], all[len(all)-1], all.median()} {
			cells = append(cells, fmt.Sprintf("%.1f", value))
		}
		t.add(append(cells, fmt.Sprintf("%+.1f", slope))...)
		if f.most == 0 {
			continue
		}
		share := slope / math.Max(all.median(), 1)
		name := fmt.Sprintf("%s: growth of at most %.0f%% per hour", f.name, 100*f.most)
		goals.WriteString(goal(name, share <= f.most, fmt.Sprintf("%+.1f%%", 100*share)))
	}
	perPod := m.perPod(s)
	goals.WriteString(goal(fmt.Sprintf("live objects: growth of at most %d bytes for each pod that came and went", mostPerPod),
		perPod <= mostPerPod, fmt.Sprintf("%.0f bytes", perPod)))
	figure := "none"
	if len(s.warnings) > 0 {
		figure = fmt.Sprintf("%d, such as %s", len(s.warnings), message.FindString(s.warnings[0]))
	}
	goals.WriteString(goal("no warning in akd's log", len(s.warnings) == 0, figure))
	last := s.states[len(s.states)-1]
	return "### Pods that come and go\n\n" +
		fmt.Sprintf("%d pods stay, and %d come and go, %d times in %.0f minutes; %.0f tokens were requested.\n\n",
			m.pods/2, m.pods-m.pods/2, s.waves, last.after.Minutes(), last.renewals) +
		t.String() + "\n" + goals.String()
}
