package plugin

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/utils/clock"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// checksPage has a section for every check, named by its id.
const checksPage = "https://github.com/actual-kubelets/actual-kubelets/blob/main/docs/checks.md#"

// checkPatience bounds one check, unless it says otherwise: a server that does
// not answer is a finding, and no reason to wait.
const checkPatience = 15 * time.Second

// level is how a check ended.
type level string

// Levels. Only failed makes a run of checks fail.
const (
	levelOK      level = "ok"
	levelWarning level = "warning"
	levelFailed  level = "failed"
	levelSkipped level = "skipped"
)

// finding is what a check saw, and, where that is not well, what mends it.
type finding struct {
	Level level  `json:"level"`
	Found string `json:"found,omitempty"`
	Mend  string `json:"mend,omitempty"`
	// Details are what was looked at one by one, where there is much of it.
	Details []string `json:"details,omitempty"`
}

func ok(format string, args ...any) finding {
	return finding{Level: levelOK, Found: fmt.Sprintf(format, args...)}
}

func warning(mend, format string, args ...any) finding {
	return finding{Level: levelWarning, Found: fmt.Sprintf(format, args...), Mend: mend}
}

func failed(mend, format string, args ...any) finding {
	return finding{Level: levelFailed, Found: fmt.Sprintf(format, args...), Mend: mend}
}

func skipped(format string, args ...any) finding {
	return finding{Level: levelSkipped, Found: fmt.Sprintf(format, args...)}
}

// check is one thing that is looked at. Its id is stable, and the name of its
// section in docs/checks.md.
type check struct {
	id       string
	title    string // what is so when all is well
	pre      bool   // it can be known before a node is installed
	needs    []string
	patience time.Duration // instead of checkPatience
	run      func(context.Context, *examination) finding
}

// category is checks of one matter, in the order in which they are made.
type category struct {
	name   string
	checks []check
}

// categories are all checks. A check comes after those that it needs.
func categories() []category {
	return []category{
		{"Clusters", clusterChecks()},
		{"Rights", rightsChecks()},
		{"Confinement of akd", confinementChecks()},
		{"Node and akd", nodeChecks()},
		{"Pods", podChecks()},
	}
}

// checked is one check's outcome: an item of a CheckList.
type checked struct {
	ID       string `json:"id"`
	Category string `json:"category"`
	Title    string `json:"title"`
	finding
	Documentation string `json:"documentation"`
}

// examination is what checks know of each other: who finds something that
// later ones need leaves it here.
type examination struct {
	access *access
	style  *style
	build  Build
	clock  clock.PassiveClock
	pre    bool

	probe      bool
	probeImage string

	both    clusters
	node    string
	home    *cluster // akd runs here
	away    *cluster // its credential is for this one
	object  *corev1.Node
	akd     *appsv1.Deployment
	values  manifests.Values // as far as they can be told from what is installed
	server  string           // HOST:PORT of the local API server as akd tells it to pods; "" if not configured
	mirrors bool             // akd mirrors Services
	record  map[string]string
}

// again is the command that brings the node up to date.
func (e *examination) again() string {
	return "kubectl actual install " + e.named() + " --remote-context=" + e.remoteName()
}

func (e *examination) named() string {
	if e.node == "" {
		return "NODE"
	}
	return e.node
}

func (e *examination) remoteName() string {
	if e.access.remoteContext == "" {
		return "CONTEXT"
	}
	return e.access.remoteContext
}

func newCheck(access *access, style *style, streams genericiooptions.IOStreams, build Build) *cobra.Command {
	e := &examination{access: access, style: style, build: build, clock: clock.RealClock{}, probe: true}
	noProbe := false
	cmd := &cobra.Command{
		Use:   "check [NODE] --remote-context CONTEXT",
		Short: "Check that clusters and a node are as they should be, and say how to mend what is not",
		Long: `Check that both clusters, a node and its akd are as they should be, and say how
to mend what is not. Without NODE, the one node that there is. With --pre, only
what can be known before a node is installed.

One check runs a pod for some seconds in the remote cluster, to see whether
pods there reach the local API server; --no-probe leaves it out. It exits with
3 when a check fails. docs/checks.md explains every check.`,
		Example: `  kubectl actual check --pre --remote-context=remote
  kubectl actual check vk-ak-example --remote-context=remote`,
	}
	out := newOutput(cmd)
	cmd.Flags().BoolVar(&e.pre, "pre", false, "only what can be known before a node is installed")
	cmd.Flags().BoolVar(&noProbe, "no-probe", false, "run no pod in the remote cluster")
	cmd.Flags().StringVar(&e.probeImage, "probe-image", "registry.k8s.io/e2e-test-images/agnhost:2.66.1", "image of the probe pod: agnhost, whose command connect is run")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		e.probe = !noProbe
		return runChecks(cmd.Context(), e, args, streams.Out, out)
	}
	return cmd
}

// runChecks reads the command line, and shows what was found: line by line for
// people, and at the end for programs.
func runChecks(ctx context.Context, e *examination, args []string, to io.Writer, out *output) error {
	if err := out.check(); err != nil {
		return err
	}
	if err := e.open(args); err != nil {
		return err
	}
	text := out.format() == "" || out.format() == "wide"
	live := e.style.on(io.Discard)
	if text {
		live = e.style.on(to)
	}
	found := e.all(ctx, live)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if text {
		printf(to, "\n%s\n", tally(found))
	} else if err := out.write(to, checkList(found)); err != nil {
		return err
	}
	var wrong []string
	for i := range found {
		if found[i].Level == levelFailed {
			wrong = append(wrong, found[i].ID)
		}
	}
	if len(wrong) > 0 {
		return unhealthyError{fmt.Errorf("%d checks failed: %s", len(wrong), strings.Join(wrong, ", "))}
	}
	return nil
}

// open checks the command line. No server is asked yet.
func (e *examination) open(args []string) (err error) {
	if len(args) > 1 {
		return usagef("give the name of one node: kubectl actual check NODE")
	}
	if len(args) == 1 {
		e.node = args[0]
		if err := contract.CheckNodeName(e.node); err != nil {
			return usageError{err}
		}
	}
	e.both, err = e.access.clients()
	return err
}

// all makes the checks in their order.
func (e *examination) all(ctx context.Context, live *console) []checked {
	var done []checked
	good := map[string]bool{}
	number := 0
	for _, c := range categories() {
		checks := slices.DeleteFunc(c.checks, func(one check) bool { return e.pre && !one.pre })
		if len(checks) == 0 {
			continue
		}
		number++
		printf(live.out, "%s%d. %s\n", map[bool]string{true: "\n"}[number > 1], number, c.name)
		for i := range checks {
			if ctx.Err() != nil {
				return done
			}
			one := &checks[i]
			var found finding
			live.while(ctx, one.title, func(ctx context.Context) { found = e.make(ctx, one, good) })
			result := checked{one.id, c.name, one.title, found, checksPage + one.id}
			good[one.id] = result.Level == levelOK || result.Level == levelWarning
			result.show(live)
			done = append(done, result)
		}
	}
	return done
}

// make makes one check, if those that it needs went well.
func (e *examination) make(ctx context.Context, one *check, good map[string]bool) finding {
	for _, need := range one.needs {
		if !good[need] {
			return skipped("it needs %s", need)
		}
	}
	limit := one.patience
	if limit == 0 {
		limit = checkPatience
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return one.run(ctx, e)
}

func (c *checked) show(to *console) {
	mark := map[level]string{levelOK: "✓", levelWarning: "!", levelFailed: "✗", levelSkipped: "-"}[c.Level]
	note := map[level]string{levelSkipped: "skipped: "}[c.Level]
	text := c.Title
	if c.Found != "" {
		text += ": " + note + c.Found
	}
	to.paragraph(2, mark, text)
	if c.Level == levelWarning || c.Level == levelFailed {
		if c.Mend != "" {
			to.paragraph(6, "", "mend it with: "+c.Mend)
		}
		to.paragraph(6, "", "see "+c.Documentation)
	}
}

// tally counts the outcomes.
func tally(found []checked) string {
	count := map[level]int{}
	for i := range found {
		count[found[i].Level]++
	}
	return fmt.Sprintf("%d ok, %d warnings, %d failed, %d skipped", count[levelOK], count[levelWarning], count[levelFailed], count[levelSkipped])
}

func checkList(found []checked) result {
	r := result{kind: "CheckList", items: found}
	for i := range found {
		r.names = append(r.names, "check/"+found[i].ID)
	}
	return r
}
