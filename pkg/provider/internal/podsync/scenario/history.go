package scenario

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/tools/txtar"
)

// A history is a script without any command that prints: what users, administrators,
// kubelets and faults do, with or without time between.

// Generate returns the history of a seed, which is always the same one.
func Generate(seed uint64, length int) []string {
	r := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // not a secret
	var lines []string
	for len(lines) < length {
		lines = append(lines, act(r)...)
	}
	return lines
}

// act returns something that happens: plausible, or nasty.
func act(r *rand.Rand) []string {
	name := pick(r, "a", "b", "c")
	code := pick(r, "0", "1", "42", "137")
	options := pick(r, "", " Never", " OnFailure", " Always", " Never held", " Always held", " Never uses", " Always uses")
	kubelet := "remote kubelet " + name + " " + code
	acts := []struct {
		weight int
		lines  []string
	}{
		{14, []string{"settle"}},
		{6, []string{"wait " + pick(r, "1ms", "100ms", "1s", "35s", "2m", "6m")}},
		{12, []string{"local create " + name + options}},
		{24, []string{kubelet}},
		{8, []string{kubelet, kubelet}},
		{8, []string{"local delete " + name + pick(r, "", "", " 0", " 1", " 5")}},
		{4, []string{"local delete " + name + " 0", "local create " + name + options}},
		{4, []string{"local delete " + name, kubelet, kubelet, "local create " + name + options}},
		{3, []string{"local finalize " + name}},
		{2, []string{"local image " + name + " v2"}},
		{3, []string{"remote delete " + name + pick(r, "", " 0", " 5")}},
		{1, []string{"remote create " + name}}, // somebody else's
		{2, []string{"local apply conf.yaml"}},
		{2, []string{"local apply secret.yaml"}},
		{1, []string{"local remove configmaps conf"}},
		{1, []string{"local remove secrets conf"}},
		{1, []string{"remote apply foreign.yaml"}},
		{3, []string{"restart"}},
		{1, []string{"stop"}},
		{2, []string{"start"}},
		{4, []string{"crash " + pick(r, "0", "1", "2", "3", "5", "8")}},
		{3, []string{pick(r, "local", "remote") + " lose"}},
		{3, []string{"remote lag", "remote lose", "local create " + name + options, "wait 1ms", kubelet}},
		{4, []string{pick(r, "local", "remote") + " lag"}},
		{6, []string{pick(r, "local", "remote") + " catch-up"}},
		{2, []string{"local refuse patch pods/status busy"}},
		{2, []string{"local refuse delete pods busy"}},
		{2, []string{"remote refuse create pods quota"}},
		{1, []string{"remote refuse delete pods busy"}},
		{1, []string{"remote refuse patch pods busy"}},
		{1, []string{"remote refuse get pods busy"}},
		{1, []string{pick(r, "local", "remote") + " refuse all all away"}},
		{5, []string{"local accept", "remote accept"}},
	}
	total := 0
	for _, act := range acts {
		total += act.weight
	}
	chosen := r.IntN(total)
	for _, act := range acts {
		if chosen -= act.weight; chosen < 0 {
			return act.lines
		}
	}
	panic("the weights add up")
}

func pick(r *rand.Rand, from ...string) string { return from[r.IntN(len(from))] }

// files are what the histories apply.
func files() []txtar.File {
	return []txtar.File{
		{Name: "conf.yaml", Data: []byte("{apiVersion: v1, kind: ConfigMap, metadata: {name: conf, namespace: default}, data: {a: local}}")},
		{Name: "secret.yaml", Data: []byte("{apiVersion: v1, kind: Secret, metadata: {name: conf, namespace: default}, data: {a: bG9jYWw=}}")},
		{Name: "foreign.yaml", Data: []byte("{apiVersion: v1, kind: Secret, " +
			"metadata: {name: conf, namespace: ak-dead4915c9c6c0d8}, data: {a: cmVtb3Rl}}")},
	}
}

// Live plays a history, lets everything come to rest, and returns what went wrong.
func Live(t *testing.T, history []string) []string {
	t.Helper()
	var wrong []string
	synctest.Test(t, func(t *testing.T) {
		s := newScenario(t, &txtar.Archive{Files: files()})
		j := newJudge(s)
		s.start()
		for _, line := range history {
			words := strings.Fields(line)
			j.sees(words)
			// What cannot be, such as the deletion of a pod that is not there, is not.
			if err := s.do(words); errors.Is(err, errUnknown) {
				t.Errorf("%s: %v", line, err)
			}
		}
		s.rest()
		j.atRest()
		s.stop()
		wrong = j.wrong
	})
	return wrong
}

// rest ends all faults, and gives everybody time.
func (s *scenario) rest() {
	s.local.accept()
	s.remote.accept()
	s.local.lags.open()
	s.remote.lags.open()
	s.stop()
	s.start()
	for range 6 {
		for _, name := range []string{"a", "b", "c"} {
			_ = s.do([]string{"remote", "kubelet", name, "7"})
		}
		<-time.After(time.Minute) // in fake time
		synctest.Wait()
	}
	<-time.After(10 * time.Minute)
	synctest.Wait()
}

// Shrink leaves out of a history what it does not need to fail.
func Shrink(history []string, fails func([]string) bool) []string {
	for size := len(history) / 2; size > 0; size /= 2 {
		for start := 0; start+size <= len(history); {
			if shorter := slices.Delete(slices.Clone(history), start, start+size); fails(shorter) {
				history = shorter
			} else {
				start += size
			}
		}
	}
	return history
}

// Script returns a history as a file of testdata.
func Script(history, wrong []string) string {
	archive := &txtar.Archive{Files: files()}
	archive.Comment = fmt.Appendf(nil, "# %s\n%s\nshow\n", strings.Join(wrong, "\n# "), strings.Join(history, "\n"))
	return string(txtar.Format(archive))
}
