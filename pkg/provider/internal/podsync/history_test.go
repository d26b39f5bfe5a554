package podsync_test

import (
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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

const (
	// historyLength is how many things happen in a history, about.
	historyLength = 40
	// enough histories that go wrong end the test.
	enough = 10
	// progressEvery is how many histories are lived between two lines of progress.
	progressEvery = 50_000
)

// TestHistories lives histories that nobody has thought of, one per processor at a time.
// One that goes wrong is made as short as possible and printed as a scenario.
func TestHistories(t *testing.T) {
	quiet(t)
	var next, failed atomic.Uint64
	next.Store(*firstSeed)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for failed.Load() < enough {
				seed := next.Add(1) - 1
				if seed >= *firstSeed+*seeds {
					return
				}
				if lived := seed - *firstSeed; lived > 0 && lived%progressEvery == 0 {
					fmt.Fprintf(os.Stderr, "%d of %d histories, %d went wrong\n", lived, *seeds, failed.Load())
				}
				if liveSeed(t, seed) {
					continue
				}
				if failed.Add(1); *onlyFirst {
					failed.Store(enough)
				}
			}
		})
	}
	workers.Wait()
}

// TestFormerHistories lives the histories of testdata/histories, which went wrong once and
// which no scenario tells.
func TestFormerHistories(t *testing.T) {
	quiet(t)
	files, err := filepath.Glob("testdata/histories/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no histories: %v", err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var history []string
		for line := range strings.Lines(string(content)) {
			if !strings.HasPrefix(line, "#") {
				history = append(history, strings.TrimSpace(line))
			}
		}
		t.Run(filepath.Base(file), func(t *testing.T) {
			if wrong := scenario.Live(t, history); len(wrong) > 0 {
				t.Errorf("%q", wrong)
			}
		})
	}
}

// liveSeed reports whether nothing goes wrong in the history of a seed.
func liveSeed(t *testing.T, seed uint64) bool {
	t.Helper()
	history := scenario.Generate(seed, historyLength)
	wrong := live(t, seed, history)
	switch {
	case len(wrong) == 0:
		return true
	case *onlyFirst:
		t.Errorf("seed %d: %q", seed, wrong)
		return false
	}
	t.Logf("seed %d: %q", seed, wrong)
	fmt.Fprintf(os.Stderr, "seed %d went wrong: %q\n", seed, wrong) // long before the test ends
	history = scenario.Shrink(history, func(shorter []string) bool { return slices.ContainsFunc(live(t, seed, shorter), alike(wrong[0])) })
	t.Errorf("seed %d: %q\n%s", seed, wrong, scenario.Script(history, live(t, seed, history)))
	return false
}

var numbers = regexp.MustCompile(`\d+`)

// alike returns a function that reports whether a complaint is the same one, of other
// objects perhaps.
func alike(complaint string) func(string) bool {
	complaint = numbers.ReplaceAllString(complaint, "")
	return func(other string) bool { return numbers.ReplaceAllString(other, "") == complaint }
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

// TestExploration lives all short histories of one pod, and of one claim.
func TestExploration(t *testing.T) {
	quiet(t)
	for _, exploration := range scenario.Explorations() {
		t.Run(exploration.Name, func(t *testing.T) {
			wrong := 0
			explored := scenario.Explore(t, exploration, *depth, func(history, found []string) {
				if wrong++; wrong <= enough {
					t.Errorf("%q\n%s", found, scenario.Script(history, found))
				}
			})
			t.Logf("%d histories, %d states, %d went wrong", explored.Histories, explored.States, wrong)
		})
	}
}

func live(t *testing.T, seed uint64, history []string) (wrong []string) {
	t.Helper()
	t.Run(fmt.Sprint(seed), func(t *testing.T) { wrong = scenario.Live(t, history) })
	return wrong
}
