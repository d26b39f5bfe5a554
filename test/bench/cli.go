package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// cliMeasurement starts the kubectl plugin next to kubectl.
type cliMeasurement struct {
	plugin string // the kubectl-actual program
	starts int    // rounds of each command that needs no cluster
	pods   int
	rounds int // of each command that shows the pods
}

func (m *cliMeasurement) needs() (needs, error) {
	if m.starts < 1 || m.pods < 1 || m.rounds < 1 {
		return needs{}, errors.New("nothing to measure: give --starts, --pods and --rounds of 1 or more")
	}
	return needs{simulatedPods: m.pods, sides: []side{localSide}, namespaces: namespaces}, nil
}

func (m *cliMeasurement) run(ctx context.Context, env *environment) (_ string, err error) {
	p, err := newPrograms(env, m.plugin)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(p.cache)) }()
	starts, err := m.start(ctx, p)
	if err != nil {
		return "", err
	}
	if err := m.populate(ctx, env); err != nil {
		return "", err
	}
	lists, err := m.list(ctx, env, p)
	return starts + "\n" + lists, err
}

// programs are kubectl and the plugin, as a user of the local cluster has them.
type programs struct {
	kubectl, plugin string
	cache           string // folder of their discovery caches
	environ         []string
}

func newPrograms(env *environment, plugin string) (*programs, error) {
	plugin, err := filepath.Abs(plugin)
	if err != nil {
		return nil, fmt.Errorf("find kubectl-actual: %w", err)
	}
	cache, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return nil, fmt.Errorf("make a cache for kubectl: %w", err)
	}
	environ := append(os.Environ(), "KUBECONFIG="+filepath.Join(env.dir, "local.kubeconfig"), "KUBECACHEDIR="+cache,
		"PATH="+filepath.Dir(plugin)+":"+os.Getenv("PATH")) // where kubectl finds plugins
	return &programs{kubectl: env.status.Clusters[localSide].Kubectl, plugin: plugin, cache: cache, environ: environ}, nil
}

// ran is the time that one command took, and its output.
type ran struct {
	took, cpu      time.Duration
	stdout, stderr string
}

func (p *programs) run(ctx context.Context, command []string) (ran, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env, cmd.Stdout, cmd.Stderr = p.environ, &stdout, &stderr
	begin := time.Now()
	if err := cmd.Run(); err != nil {
		return ran{}, fmt.Errorf("%v: %w: %s", command, err, &stderr)
	}
	took := time.Since(begin)
	return ran{took, cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), stdout.String(), stderr.String()}, nil
}

// compared are rounds of two commands.
type compared struct{ kubectl, plugin []ran }

// compare runs two commands alternately, after one round that fills their caches.
func (p *programs) compare(ctx context.Context, rounds int, kubectl, plugin []string) (c compared, err error) {
	for round := range rounds + 1 {
		for _, side := range []struct {
			command []string
			all     *[]ran
		}{{kubectl, &c.kubectl}, {plugin, &c.plugin}} {
			r, err := p.run(ctx, side.command)
			if err != nil {
				return c, err
			}
			if round > 0 {
				*side.all = append(*side.all, r)
			}
		}
	}
	return c, nil
}

// cells are both commands' times and CPU times with their ratios.
func (c compared) cells(verb string, unit func(time.Duration) float64) []string {
	var cells []string
	took, cpu := func(r ran) time.Duration { return r.took }, func(r ran) time.Duration { return r.cpu }
	for _, of := range []func(ran) time.Duration{took, cpu} {
		each := func(all []ran) (s series) {
			for _, r := range all {
				s = append(s, unit(of(r)))
			}
			return s
		}
		kubectl, plugin := each(c.kubectl), each(c.plugin)
		cells = append(cells, kubectl.show(verb), plugin.show(verb), fmt.Sprintf("%.2f", ratio(plugin, kubectl)))
	}
	return cells
}

// start measures commands that need no cluster.
func (m *cliMeasurement) start(ctx context.Context, p *programs) (string, error) {
	version := []string{"version", "--client"}
	commands := []struct {
		title           string
		kubectl, plugin []string
	}{
		{"`version --client`", version, append([]string{p.plugin}, version...)},
		{"`--help`", []string{"--help"}, []string{p.plugin, "--help"}},
		{"`kubectl actual version --client`, found by kubectl", version, append([]string{p.kubectl, "actual"}, version...)},
	}
	t := table{head: []string{
		"command", "kubectl, ms", "kubectl-actual, ms", "ratio", "CPU of kubectl, ms", "CPU of kubectl-actual, ms", "ratio",
	}}
	for _, command := range commands {
		c, err := p.compare(ctx, m.starts, append([]string{p.kubectl}, command.kubectl...), command.plugin)
		if err != nil {
			return "", err
		}
		t.add(append([]string{command.title}, c.cells("%.0f", milliseconds)...)...)
	}
	return fmt.Sprintf("### Start, median of %d alternate runs\n\n%s", m.starts, t.String()), nil
}

// populate creates pods on simulated nodes of the local cluster, with the
// annotations that akd sets on its own: `where` reads them and nothing else.
func (m *cliMeasurement) populate(ctx context.Context, env *environment) error {
	env.logf("creating %d pods", m.pods)
	there := env.onKwok(localSide)
	there.annotations = map[string]string{
		contract.AnnotationRemoteNamespace: contract.RemoteNamespace(benchNode, "bench"),
		contract.AnnotationRemoteNode:      "remote-1",
		contract.AnnotationRemoteUID:       "01234567-89ab-cdef-0123-456789abcdef",
	}
	return populate(ctx, there, "cli", m.pods)
}

// list measures the commands that show all pods, and then counts their requests.
func (m *cliMeasurement) list(ctx context.Context, env *environment, p *programs) (string, error) {
	get, where := []string{p.kubectl, "get", "pods", "-A"}, []string{p.plugin, "where", "-A"}
	env.logf("listing the pods")
	c, err := p.compare(ctx, m.rounds, get, where)
	if err != nil {
		return "", err
	}
	for _, all := range [][]ran{c.kubectl, c.plugin} {
		if lines := strings.Count(all[0].stdout, "\n"); lines <= m.pods {
			return "", fmt.Errorf("%d lines were shown for %d pods", lines, m.pods)
		}
	}
	t := table{head: []string{
		"pods", "`kubectl get pods -A`, s", "`kubectl-actual where -A`, s", "ratio", "CPU of kubectl, s", "CPU of kubectl-actual, s", "ratio",
	}}
	t.add(append([]string{fmt.Sprint(m.pods)}, c.cells("%.2f", time.Duration.Seconds)...)...)
	byGet, err := p.requests(ctx, get)
	if err != nil {
		return "", err
	}
	before, err := env.served(ctx)
	if err != nil {
		return "", err
	}
	byWhere, err := p.requests(ctx, where)
	if err != nil {
		return "", err
	}
	after, err := env.served(ctx)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("### All of %d pods, median of %d alternate runs\n\n%s\n", m.pods, m.rounds, t.String()) +
		m.report(byGet, byWhere, after.since(before)), nil
}

// report lists the requests, and says whether they are few enough.
func (m *cliMeasurement) report(byGet, byWhere, served requests) string {
	all := maps.Clone(byGet)
	maps.Copy(all, byWhere)
	t := table{head: []string{"request", "`kubectl get pods -A`", "`kubectl-actual where -A`"}}
	lists, single := 0, 0
	for _, request := range slices.Sorted(maps.Keys(all)) {
		t.add("`"+request+"`", fmt.Sprint(byGet[request]), fmt.Sprint(byWhere[request]))
		if strings.HasPrefix(request, "GET /api/v1/pods?") {
			lists += byWhere[request]
		}
		if strings.Contains(request, "/pods/") {
			single += byWhere[request]
		}
	}
	const pageSize = 500 // of kubectl get and of where
	pages := (m.pods + pageSize - 1) / pageSize
	var text strings.Builder
	fmt.Fprintf(&text, "Requests of each by `-v 6`, with discovery cached and without the tokens of further pages:\n\n%s\n", t.String())
	fmt.Fprintf(&text, "While `where -A` ran, the API server counted %d lists of pods and %d reads of one pod, by everyone.\n\n",
		served["local list pods"], served["local get pods"])
	text.WriteString(goal(
		fmt.Sprintf("`where -A` lists pods once per page of %d: %d times", pageSize, pages), lists == pages, fmt.Sprint(lists)))
	text.WriteString(goal("`where -A` reads no single pod", single == 0, fmt.Sprint(single)))
	return text.String()
}

// traced is how client-go logs a request.
var traced = regexp.MustCompile(`verb="([A-Z]+)" url="([^"]+)"`)

// requests runs a command once more and counts its requests.
func (p *programs) requests(ctx context.Context, command []string) (requests, error) {
	r, err := p.run(ctx, append(slices.Clone(command), "-v=6"))
	if err != nil {
		return nil, err
	}
	counts := requests{}
	for _, match := range traced.FindAllStringSubmatch(r.stderr, -1) {
		target, err := url.Parse(match[2])
		if err != nil {
			return nil, fmt.Errorf("read the requests of %v: %w", command, err)
		}
		query := target.Query()
		query.Del("continue")
		request := match[1] + " " + target.Path
		if len(query) > 0 {
			request += "?" + query.Encode()
		}
		counts[request]++
	}
	if len(counts) == 0 {
		return nil, fmt.Errorf("%v logged no requests", command)
	}
	return counts, nil
}
