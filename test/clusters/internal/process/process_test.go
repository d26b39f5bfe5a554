package process

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestMain(m *testing.M) {
	Trampoline(os.Args)
	os.Exit(m.Run())
}

func newTable(t *testing.T) Table {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	table := Table{Self: self, Records: t.TempDir(), Logs: t.TempDir(), Identity: "test-" + filepath.Base(t.TempDir()) + t.Name()}
	t.Cleanup(func() {
		for _, record := range table.Strays() {
			if err := record.Stop(context.Background(), time.Second); err != nil {
				t.Error(err)
			}
		}
	})
	return table
}

func start(t *testing.T, table Table, name string, args ...string) Record {
	t.Helper()
	path, err := exec.LookPath(args[0])
	if err != nil {
		t.Skip(err)
	}
	record, err := table.Start(Spec{Name: name, Path: path, Args: args[1:], Env: []string{"PATH=" + os.Getenv("PATH")}})
	if err != nil {
		t.Fatal(err)
	}
	return record
}

func await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		case <-tick.C:
		}
	}
}

func TestStartAndStop(t *testing.T) {
	table := newTable(t)
	record := start(t, table, "sleeper", "sleep", "100")
	if !record.Alive() {
		t.Fatal("a started process is not alive")
	}
	found, ok := table.Find("sleeper")
	if diff := cmp.Diff(record, found); !ok || diff != "" {
		t.Errorf("find: -want +got:\n%s", diff)
	}
	if err := record.Stop(context.Background(), 5*time.Second); err != nil {
		t.Fatal(err)
	}
	if record.Alive() {
		t.Error("a stopped process is alive")
	}
	if err := record.Stop(context.Background(), 0); err != nil {
		t.Errorf("stop again: %v", err)
	}
}

func TestStopKillsTheDeaf(t *testing.T) {
	table := newTable(t)
	record := start(t, table, "deaf", "sh", "-c", "trap '' TERM; echo armed; while :; do sleep 1; done")
	await(t, "the trap", func() bool { return table.Tail("deaf", 1) == "armed" })
	if err := record.Stop(context.Background(), 50*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if record.Alive() {
		t.Error("it is alive after SIGKILL")
	}
}

// A pid that the kernel gave to another process must never be signaled.
func TestStopSparesStrangers(t *testing.T) {
	table := newTable(t)
	record := start(t, table, "stranger", "sleep", "100")
	old := record
	old.Start = "another boot/1"
	if old.Alive() {
		t.Error("a reused pid counts as alive")
	}
	if err := old.Stop(context.Background(), 0); err != nil {
		t.Fatal(err)
	}
	if !record.Alive() {
		t.Error("the stranger was killed")
	}
}

func TestStraysFindTheUnrecorded(t *testing.T) {
	table := newTable(t)
	record := start(t, table, "lost", "sleep", "100")
	// Until then it is the trampoline, which ends when its record is gone.
	await(t, "the program itself", func() bool {
		running, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", record.PID))
		return err == nil && running != table.Self
	})
	if err := table.Forget("lost"); err != nil {
		t.Fatal(err)
	}
	await(t, "the stray", func() bool {
		for _, stray := range table.Strays() {
			if stray.PID == record.PID && stray.Start == record.Start {
				return true
			}
		}
		return false
	})
	if records, err := table.All(); err != nil || len(records) != 0 {
		t.Errorf("forgotten record is back: %v %v", records, err)
	}
}

func TestFilesAreInherited(t *testing.T) {
	table := newTable(t)
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Skip(err)
	}
	_, err = table.Start(Spec{Name: "writer", Path: shell, Args: []string{"-c", "echo through >&3"}, Files: []*os.File{writer}})
	_ = writer.Close()
	if err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 64)
	n, err := reader.Read(buffer)
	if diff := cmp.Diff("through\n", string(buffer[:n])); err != nil || diff != "" {
		t.Errorf("%v: -want +got:\n%s", err, diff)
	}
}

func TestRun(t *testing.T) {
	cases := map[string]struct {
		reason  string
		script  string
		want    string
		wantErr string
	}{
		"Output": {reason: "standard input and output pass through", script: "tr a-z A-Z", want: "HELLO"},
		"Error":  {reason: "standard error explains a failure", script: "echo broken >&2; exit 3", wantErr: "broken"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			table := newTable(t)
			shell, err := exec.LookPath("sh")
			if err != nil {
				t.Skip(err)
			}
			spec := Spec{Name: "once", Path: shell, Args: []string{"-c", tc.script}, Env: []string{"PATH=" + os.Getenv("PATH")}}
			out, err := table.Run(context.Background(), spec, strings.NewReader("hello"))
			if (err != nil) != (tc.wantErr != "") || err != nil && !strings.Contains(err.Error(), tc.wantErr) {
				t.Errorf("%s: error %v, want one with %q", tc.reason, err, tc.wantErr)
			}
			if diff := cmp.Diff(tc.want, string(out)); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// What a node does below its overlay must not reach the machine.
func TestPrivateMounts(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mount namespaces need root")
	}
	table := newTable(t)
	lower := t.TempDir()
	if err := os.WriteFile(filepath.Join(lower, "text"), []byte("machine"), 0o644); err != nil {
		t.Fatal(err)
	}
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Skip(err)
	}
	// A mount in the bound folder is not in its source as well.
	script := "cat text; echo; mkdir made; ls; cat bound/inner; mount --bind made bound/empty; grep -c 'made ' /proc/self/mountinfo"
	bound := t.TempDir()
	if err := os.WriteFile(filepath.Join(bound, "inner"), []byte("inner\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(bound, "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	out, err := table.Run(context.Background(), Spec{
		Name: "private",
		Path: shell,
		Args: []string{"-c", "cd " + lower + "; " + script},
		Env:  []string{"PATH=" + os.Getenv("PATH")},
		Enter: Enter{Private: []Mount{
			{Kind: Overlay, Source: filepath.Join(t.TempDir(), "layers"), Target: lower},
			{Kind: Bind, Source: bound, Target: filepath.Join(lower, "bound")},
			{Kind: Content, Source: "fixed", Target: filepath.Join(lower, "text")},
			{Kind: Content, Source: "unseen", Target: filepath.Join(lower, "absent")},
		}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("fixed\nbound\nmade\ntext\ninner\n1\n", string(out)); diff != "" {
		t.Errorf("inside: -want +got:\n%s", diff)
	}
	entries, err := os.ReadDir(lower)
	if err != nil || len(entries) != 1 {
		t.Errorf("outside: %v %v, want only text", entries, err)
	}
}
