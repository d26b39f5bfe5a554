package scenario

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"golang.org/x/tools/txtar"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/podsync"
)

// A history is a script without any command that prints: what users, administrators,
// kubelets and faults do, with or without time between.

// Live plays a history, lets everything come to rest, and returns what went wrong.
func Live(t *testing.T, history []string) []string {
	t.Helper()
	return live(t, history).wrong
}

// lived is what became of a history.
type lived struct {
	wrong []string
	// before and after are what can be seen before and after its last line; before is
	// empty if that is the only one.
	before, after string
}

func live(t *testing.T, history []string) lived {
	t.Helper()
	var l lived
	synctest.Test(t, func(t *testing.T) {
		s := newScenario(t, &txtar.Archive{Files: files()})
		s.next.mirror, s.next.linger = true, podsync.CopyLinger
		s.remote.tells = true
		j := newJudge(s)
		s.start()
		fresh := whatIsHeld(s.akd.controller)
		for number, line := range history {
			if number > 0 && number == len(history)-1 {
				l.before = s.state()
			}
			words := strings.Fields(line)
			hadClasses := s.hasClasses()
			j.sees(words)
			// What cannot be, such as the deletion of a pod that is not there, is not.
			if err := s.do(words); errors.Is(err, errUnknown) {
				t.Errorf("%s: %v", line, err)
			}
			synctest.Wait()
			if s.hasClasses() && !hadClasses {
				fresh = whatIsHeld(s.akd.controller) // which knows the classes
			}
		}
		l.after = s.state()
		s.heal()
		s.pass(keepRunning)
		j.atRest()
		s.pass("7")
		_ = s.do(strings.Fields("wait 10m")) // for namespaces that nobody uses
		j.rests(true)
		_ = s.do(strings.Fields("wait 1h"))
		j.atRest()
		j.rests(false)
		s.removeAll()
		j.leavesNothing(fresh)
		s.akd.end()
		l.wrong = j.wrong
	})
	return l
}

// heal ends all faults. akd starts only if it does not run.
func (s *scenario) heal() {
	s.resume()
	for _, server := range []*fakeServer{s.local, s.remote} {
		server.controllers.halt(false)
		server.jam(false)
		server.accept()
		server.arrive()
		server.storage.catchUp()
	}
	_ = s.do(strings.Fields("cluster first"))
	if !s.next.storage && s.hasClasses() {
		_ = s.do(strings.Fields("storage"))
	}
	if s.akd.ended.Load() || s.akd.local.mayDie() {
		_ = s.do(strings.Fields("restart"))
	}
}

// pass lets some minutes pass. Pods that may end do so with that exit code.
func (s *scenario) pass(code string) {
	for range 6 {
		for _, namespace := range namespaces() {
			for _, name := range []string{"a", "b", "c"} {
				_ = s.do([]string{"remote", "in", contract.RemoteNamespace(Node, namespace), "kubelet", name, code})
			}
		}
		_ = s.do(strings.Fields("local sign"))
		_ = s.do(strings.Fields("wait 1m"))
	}
}

// removeAll removes everything that users have made, in both clusters, and waits until
// nothing is left.
func (s *scenario) removeAll() {
	for _, pod := range s.local.pods() {
		_ = s.do([]string{"local", "in", pod.Namespace, "finalize", pod.Name})
		_ = s.do([]string{"local", "in", pod.Namespace, "delete", pod.Name})
	}
	for _, pod := range s.remote.pods() {
		if pod.Labels[contract.LabelUID] == "" {
			_ = s.do([]string{"remote", "in", pod.Namespace, "delete", pod.Name, "0"})
		}
	}
	for _, kind := range append(copies(), "poddisruptionbudgets") {
		s.local.removeEverywhere(kind)
	}
	_ = s.do(strings.Fields("local in - remove clustertrustbundles corp"))
	s.pass("0")
	s.removeClaims()
	s.local.removeEverywhere("podcertificaterequests") // as the API server's cleaner does
	_ = s.do(strings.Fields("wait 10m"))
}

// removeEverywhere removes the objects of a kind in all local namespaces.
func (c *fakeServer) removeEverywhere(kind string) {
	for _, namespace := range namespaces() {
		c.storage.removeAll(resourceOf(kind), namespace)
	}
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
	archive := &txtar.Archive{Files: slices.DeleteFunc(files(), func(file txtar.File) bool {
		return !slices.ContainsFunc(history, func(line string) bool { return strings.HasSuffix(line, " apply "+file.Name) })
	})}
	archive.Comment = fmt.Appendf(nil, "# %s\n%s\nshow\n", strings.Join(wrong, "\n# "), strings.Join(history, "\n"))
	return string(txtar.Format(archive))
}
