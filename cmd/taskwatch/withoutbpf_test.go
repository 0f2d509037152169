package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/doctor"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

// TestWithoutTypes hides the kernel's type information from taskwatch, in mounts
// that it alone sees, which stands in for a kernel that was built without.
func TestWithoutTypes(t *testing.T) {
	const types = "/sys/kernel/btf"
	testutil.Root(t)
	withoutBPF(t, func(c *exec.Cmd) error {
		if _, err := os.Stat(types); err != nil {
			return c.Start()
		}
		return inAThread(func() error {
			if err := mountOver(types); err != nil {
				return err
			}
			return c.Start() // by this thread, so with its mounts
		})
	}, "CONFIG_DEBUG_INFO_BTF")
}

// TestLockedDown runs where the kernel keeps its memory from everybody, which
// takes a machine that was booted so: lsm=lockdown,... lockdown=confidentiality.
func TestLockedDown(t *testing.T) {
	testutil.Root(t)
	testutil.Require(t, testutil.Need{
		What: "a kernel in lockdown", Remedy: "boot with lockdown in the lsm= list and lockdown=confidentiality",
		Met: func() bool {
			mode, err := os.ReadFile("/sys/kernel/security/lockdown")
			return err == nil && strings.Contains(string(mode), "[confidentiality]")
		},
	})
	withoutBPF(t, (*exec.Cmd).Start, "lockdown")
}

// withoutBPF tests what is said, and done instead, where BPF cannot work. start
// starts the program so, and reason is the word that has to be in every text.
func withoutBPF(t *testing.T, start func(*exec.Cmd) error, reason string) {
	run := func(t *testing.T, args ...string) result {
		t.Helper()
		var stdout, stderr bytes.Buffer
		c := cmd(t, args...)
		c.Stdout, c.Stderr = &stdout, &stderr
		if err := start(c); err != nil {
			t.Fatal(err)
		}
		if err := c.Wait(); err != nil && !errors.As(err, new(*exec.ExitError)) {
			t.Fatal(err)
		}
		r := result{shellStatusOf(c.ProcessState), stdout.String(), stderr.String()}
		t.Logf("%q: status %d\n%s", args, r.status, r.stderr)
		return r
	}
	clear := func(t *testing.T, text string) {
		t.Helper()
		if !strings.Contains(text, reason) || strings.Contains(text, `\t`) {
			t.Errorf("no clear word of %s in %q", reason, text)
		}
	}
	t.Run("run", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "events.jsonl")
		r := run(t, "run", "-o", file, "-f", "json", "--", "true")
		recording, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		events := 0
		for _, l := range lines(t, bytes.NewReader(recording)) {
			if l.Event != nil {
				events++
				if l.Event.Source != "ptrace" {
					t.Errorf("an event is of the source %q", l.Event.Source)
				}
			}
		}
		if r.status != 0 || events == 0 {
			t.Errorf("status %d, %d events", r.status, events)
		}
	})
	t.Run("run by bpf", func(t *testing.T) {
		r := run(t, "run", "--source", "bpf", "--", "true")
		if r.status != exitRunFailed {
			t.Errorf("status %d", r.status)
		}
		clear(t, r.stderr)
	})
	t.Run("watch by bpf", func(t *testing.T) {
		r := run(t, "watch", "--source", "bpf")
		if r.status != exitFailed {
			t.Errorf("status %d", r.status)
		}
		clear(t, r.stderr)
	})
	t.Run("watch", func(t *testing.T) {
		w := &watcher{cmd: cmd(t, "watch", "-f", "json", "-e", "exec")}
		w.cmd.Stdout, w.cmd.Stderr = &w.stdout, &w.stderr
		if err := start(w.cmd); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it watches", func() bool { return strings.Contains(w.stderr.String(), "taskwatch: watching ") })
		load(t, 1)
		w.stop(t, unix.SIGINT)
		if !strings.Contains(w.stderr.String(), "with the source connector (not with a better one: bpf: ") {
			t.Errorf("standard error is %q", w.stderr.String())
		}
		clear(t, w.stderr.String())
		seen := false
		for _, l := range lines(t, strings.NewReader(w.stdout.String())) {
			seen = seen || l.Event != nil && l.Event.Kind == taskwatch.Exec || l.Loss != nil
		}
		if !seen {
			t.Errorf("nothing was seen of the load: %s", w.stdout.String())
		}
	})
	t.Run("doctor", func(t *testing.T) {
		r := run(t, "doctor", "-f", "json")
		var d doctor.Diagnosis
		if err := json.Unmarshal([]byte(r.stdout), &d); err != nil || r.status != 0 {
			t.Fatalf("status %d, %v: %s", r.status, err, r.stdout)
		}
		for _, s := range d.Sources {
			if s.Works != (s.Name != "bpf") {
				t.Errorf("source %s works: %v", s.Name, s.Works)
			}
			if s.Name == "bpf" {
				clear(t, s.Why)
			}
		}
	})
}

// inAThread calls fn in a thread of its own, which ends with it and takes its
// mounts along.
func inAThread(fn func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked
		done <- fn()
	}()
	return <-done
}

// mountOver hides a directory from the calling thread and what it starts.
func mountOver(dir string) error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("unshare mounts: %w", err)
	}
	// What is mounted there is not to be seen by others. The mount point is the
	// nearest directory above that is one.
	for at := dir; ; at = path.Dir(at) {
		err := unix.Mount("", at, "", unix.MS_PRIVATE, "")
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EINVAL) || at == "/" {
			return fmt.Errorf("make the mount at %s private: %w", at, err)
		}
	}
	return unix.Mount("none", dir, "tmpfs", 0, "")
}
