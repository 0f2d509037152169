package report

import (
	"bytes"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch"
)

// shellScene returns the exec of a child that was born of a shell.
func shellScene(env []string, cut bool) []taskwatch.Item {
	exec := func(seq uint64, pid, ppid int, env []string, cut bool, argv ...string) taskwatch.Item {
		return taskwatch.Item{Event: &taskwatch.Event{Kind: taskwatch.Exec, Seq: seq, Task: &taskwatch.Task{
			ID: taskwatch.TaskID{Run: 1, N: uint64(pid)}, PID: pid, TID: pid, PPID: ppid, Exe: "/bin/" + argv[0], Argv: argv, Cwd: "/",
		}, Extra: &taskwatch.Extra{Given: taskwatch.FieldEnv, Env: env, EnvCut: cut}}}
	}
	born := taskwatch.Item{Event: &taskwatch.Event{Kind: taskwatch.Clone, Seq: 2, Task: &taskwatch.Task{ID: taskwatch.TaskID{Run: 1, N: 8}, PID: 8, TID: 8, PPID: 7}}}
	return []taskwatch.Item{exec(1, 7, 3, []string{"A=1", "B=2"}, false, "sh"), born, exec(3, 8, 7, env, cut, "make", "-j")}
}

func TestShellEnvironment(t *testing.T) {
	outside := func(pid int) ([]string, bool) {
		if pid != 3 {
			t.Errorf("the environment of %d is asked for", pid)
		}
		return []string{"A=1", "B=1"}, false
	}
	short := func(int) ([]string, bool) { return []string{"B=1", "A"}, true }
	for _, c := range []struct {
		opts ShellOptions
		env  []string
		cut  bool
		want string // both lines
	}{
		{ShellOptions{}, []string{"A=2"}, false, "(cd / && /bin/sh)\n(cd / && /bin/make -j)\n"},
		{ShellOptions{Env: true}, []string{"A=2", "B=it's", "-x=1"}, false, "(cd / && env -i A=1 B=2 /bin/sh)\n(cd / && env -i -- A=2 'B=it'\\''s' -x=1 /bin/make -j)\n"},
		{ShellOptions{Env: true}, []string{"A", "B=" + Redacted, "a b"}, false, "(cd / && env -i A=1 B=2 /bin/sh)\n(cd / && env -i A=\"$A\" B=\"$B\" /bin/make -j)\n"},
		{ShellOptions{Env: true}, []string{"A=2", "B="}, true, "(cd / && env -i A=1 B=2 /bin/sh)\n(cd / && env -i A=2 /bin/make -j) # more variables, which were not recorded\n"},
		{ShellOptions{EnvDiff: true, Environ: outside}, []string{"A=1", "C=3"}, false, "(cd / && env B=2 /bin/sh)\n(cd / && env -u B C=3 /bin/make -j)\n"},
		{ShellOptions{EnvDiff: true, Environ: outside}, []string{"A=1", "B=2"}, false, "(cd / && env B=2 /bin/sh)\n(cd / && /bin/make -j)\n"},
		{ShellOptions{EnvDiff: true, Environ: outside}, []string{"A=3", "B="}, true, "(cd / && env B=2 /bin/sh)\n(cd / && env A=3 /bin/make -j) # more variables, which were not recorded\n"},
		{ShellOptions{EnvDiff: true, Environ: short}, []string{"A=1", "B=2"}, false, "(cd / && env B=2 /bin/sh) # the parent has more variables, which were not recorded\n(cd / && /bin/make -j)\n"},
		{ShellOptions{EnvDiff: true}, []string{"A=1", "B=2"}, false, "(cd / && env -i A=1 B=2 /bin/sh) # the parent's environment is not known\n(cd / && /bin/make -j)\n"},
	} {
		var b bytes.Buffer
		s := NewShell(&b, c.opts)
		for _, it := range shellScene(c.env, c.cut) {
			s.Take(it)
		}
		if err := s.Close(t.Context()); err != nil || b.String() != c.want {
			t.Errorf("%+v, %q:\n%s%v, want\n%s", c.opts, c.env, b.String(), err, c.want)
		}
	}
}

// A shell line needs no terminal's mercy: whatever is in it prints.
func TestShellLinesPrint(t *testing.T) {
	items := shellScene([]string{"A=\x1b[2J", "\x1b=1"}, false)
	items[2].Event.Task.Exe, items[2].Event.Task.Argv[0], items[2].Event.Task.Cwd = "/bin/\x1b", "\x1b]0;x\a", "-\n"
	for _, opts := range []ShellOptions{{}, {Env: true}, {EnvDiff: true}} {
		var b bytes.Buffer
		s := NewShell(&b, opts)
		for _, it := range items {
			s.TakeUnsure(it)
		}
		s.Take(taskwatch.Item{Loss: &taskwatch.Loss{Count: 2}})
		if strings.ContainsAny(strings.ReplaceAll(b.String(), "\n", ""), "\x1b\a") || strings.Count(b.String(), "\n") != 3 || !strings.HasSuffix(b.String(), "\n# 2 events lost here\n") {
			t.Errorf("%+v: %q", opts, b.String())
		}
	}
}
