package podsync_test

import (
	"flag"
	"fmt"
	"log/slog"
	"testing"

	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/klog/v2"

	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/podsync/scenario"
)

var (
	seeds     = flag.Uint64("seeds", 300, "number of histories that TestHistories lives")
	firstSeed = flag.Uint64("seed", 1, "the first one's seed")
	depth     = flag.Int("depth", 2, "number of acts in the histories that TestExploration lives")
	onlyFirst = flag.Bool("first", false, "end with the first history that goes wrong, as it is")
)

// historyLength is how many things happen in a history, about.
const historyLength = 40

// TestHistories lives histories that nobody has thought of. One that goes wrong is
// made as short as possible and printed as a scenario.
func TestHistories(t *testing.T) {
	quiet(t)
	const enough = 10
	failed := 0
	for seed := *firstSeed; seed < *firstSeed+*seeds && failed < enough; seed++ {
		history := scenario.Generate(seed, historyLength)
		wrong := live(t, seed, history)
		if len(wrong) == 0 {
			continue
		}
		if *onlyFirst {
			t.Fatalf("seed %d: %q", seed, wrong)
		}
		failed++
		t.Logf("seed %d: %q", seed, wrong)
		history = scenario.Shrink(history, func(shorter []string) bool { return len(live(t, seed, shorter)) > 0 })
		t.Errorf("seed %d: %q\n%s", seed, wrong, scenario.Script(history, live(t, seed, history)))
	}
}

// quiet silences and unlinks what histories share.
func quiet(t *testing.T) {
	t.Helper()
	klog.SetSlogLogger(slog.New(slog.DiscardHandler))
	// The one that slows errors down remembers their times, which begin anew with each
	// history.
	handlers := utilruntime.ErrorHandlers
	utilruntime.ErrorHandlers = nil                            //nolint:reassign // it is meant to be
	t.Cleanup(func() { utilruntime.ErrorHandlers = handlers }) //nolint:reassign // as above
}

// TestExploration lives all short histories of one pod.
func TestExploration(t *testing.T) {
	quiet(t)
	wrong := 0
	explored := scenario.Explore(t, *depth, func(history, found []string) {
		if wrong++; wrong <= 10 {
			t.Errorf("%q\n%s", found, scenario.Script(history, found))
		}
	})
	t.Logf("%d histories, %d states, %d went wrong", explored.Histories, explored.States, wrong)
}

func live(t *testing.T, seed uint64, history []string) (wrong []string) {
	t.Helper()
	t.Run(fmt.Sprint(seed), func(t *testing.T) { wrong = scenario.Live(t, history) })
	return wrong
}
