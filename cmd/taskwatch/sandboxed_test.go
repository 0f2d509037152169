package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/module/build"
)

// rule is a module that counts execs, and tells of those of a program called
// level times as often.
const rule = `#include "task_watchers.h"
module_param(level, __u32, 1);
MODULE_PARM_DESC(level, "how often to tell");
__u64 execs;
MODULE_GLOBAL(execs);
char last[32];
MODULE_GLOBAL(last);
static int tell(unsigned long val, struct task_struct *tsk)
{
	execs++;
	task_exe(tsk, last, sizeof(last));
	for (__u32 i = 0; i < level; i++)
		task_watcher_emit("{\"told\": [1, true]}", 19);
	return 0;
}
task_watcher_func(exec, tell);
static int fail(unsigned long val, struct task_struct *tsk)
{
	return val == 3 << 8 ? -TW_EAGAIN : 0;
}
task_watcher_func(exit, fail);
`

// forbid is a module that refuses to have true run.
const forbid = `#include "task_watchers.h"
static int forbid(unsigned long val, struct task_struct *tsk)
{
	char exe[64];
	int n = task_exe(tsk, exe, sizeof(exe));
	return n > 4 && exe[n-4] == 't' && exe[n-3] == 'r' && exe[n-2] == 'u' && exe[n-1] == 'e' ? -TW_EACCES : 0;
}
task_watcher_func(exec, forbid);
MODULE_VETO(exec);
`

// buildRule builds rule to a file.
func buildRule(t testing.TB, file string) { buildSandboxed(t, rule, file) }

func buildSandboxed(t testing.TB, text, file string) {
	t.Helper()
	testutil.Require(t, testutil.Need{
		What: "clang and wasm-ld", Remedy: "install the packages clang and lld", Promised: true,
		Met: func() bool { return build.WasmAvailable() == nil },
	})
	src := filepath.Join(t.TempDir(), "source.c")
	if err := os.WriteFile(src, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if r := tw(t, "module", "build", src, "-o", file); r.status != 0 || r.stdout+r.stderr != "" {
		t.Fatalf("module build: %+v", r)
	}
}

// A module in the sandbox is called by a run of nobody in particular, and by
// the replay of what was recorded then, which gives the same.
func TestRunAndReplayWithASandboxedModule(t *testing.T) {
	c := cmd(t, "run", "-f", "json", "-o", "events.jsonl", "-m", "rule.wasm,level=2", "--globals", "--",
		"sh", "-c", "/bin/true; /bin/true; (exit 3); exit 0")
	c.Dir = t.TempDir()
	asNobody(t, c)
	module, events := filepath.Join(c.Dir, "rule.wasm"), filepath.Join(c.Dir, "events.jsonl")
	buildRule(t, module)
	const globals = "rule: execs = 3\nrule: last = \"/usr/bin/true\"\n"
	if r := finish(t, c); r.status != 0 || r.stdout != "" || r.stderr != globals {
		t.Fatalf("run: %+v", r)
	}
	told, failed := linesOf(t, events)
	if len(told) != 6 || len(failed) != 1 {
		t.Errorf("%d records and %d errors in the recording, want 6 and 1", len(told), len(failed))
	}
	// A recording without what the module said, and its replay with the module.
	plain, again := filepath.Join(c.Dir, "plain.jsonl"), filepath.Join(c.Dir, "again.jsonl")
	withoutModules(t, events, plain)
	r := tw(t, "replay", "-m", module+",level=2", "--globals", "-f", "json", "-o", again, plain)
	if r.status != 0 || r.stdout != globals || r.stderr != "" {
		t.Errorf("replay: %+v", r)
	}
	if told, failed := linesOf(t, again); len(told) != 6 || len(failed) != 1 {
		t.Errorf("%d records and %d errors in the replay, want 6 and 1", len(told), len(failed))
	}
	// As text.
	r = tw(t, "replay", "-m", module, "-e", "exec", plain)
	if n := len(regexp.MustCompile(`(?m)^\S+ emit +\d+ .*rule: \{"told": \[1, true\]\}`).FindAllString(r.stdout, -1)); n != 3 {
		t.Errorf("%d records are shown, want 3, in\n%s", n, r.stdout)
	}
	if !strings.Contains(r.stdout, "exit: error of rule (fail): resource temporarily unavailable") {
		t.Errorf("the error is not shown in\n%s", r.stdout)
	}
	if r := tw(t, "replay", "-m", buildModule(t, "talker", talker), plain); r.status != exitFailed || !strings.Contains(r.stderr, "build a FILE.wasm") {
		t.Errorf("replay with a module for the kernel: %+v", r)
	}
}

// withoutModules copies a recording without the lines of modules.
func withoutModules(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	lines := slices.DeleteFunc(slices.Collect(strings.Lines(string(b))), func(l string) bool {
		return strings.HasPrefix(l, `{"event":"emit"`) || strings.HasPrefix(l, `{"event":"error"`)
	})
	if err := os.WriteFile(to, []byte(strings.Join(lines, "")), 0o644); err != nil {
		t.Fatal(err)
	}
}

// linesOf returns what is in a recording of the module rule.
func linesOf(t *testing.T, file string) (told, failed []string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		var l struct {
			Event, Module, Watcher, On, Errno_Name string
			JSON                                   struct{ Told []any }
			Task                                   struct{ Exe string }
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		switch {
		case l.Event == "emit" && l.Module == "rule" && slices.Equal(l.JSON.Told, []any{1.0, true}) && l.Task.Exe != "":
			told = append(told, line)
		case l.Event == "error" && l.Module == "rule" && l.Watcher == "fail" && l.On == "exit" && l.Errno_Name == "EAGAIN":
			failed = append(failed, line)
		case l.Event == "emit", l.Event == "error":
			t.Errorf("a line that is not the module's: %s", line)
		}
	}
	return told, failed
}

// What a module in the sandbox refuses is refused where the source can, and
// said where it cannot.
func TestSandboxedModuleRefuses(t *testing.T) {
	module := filepath.Join(t.TempDir(), "forbid.wasm")
	buildSandboxed(t, forbid, module)
	const refused = "exec refused by forbid (forbid): permission denied: /bin/true"
	r := tw(t, "run", "-m", module, "--", "sh", "-c", "/bin/true; exit $?")
	if r.status != 126 || strings.Count(r.stderr, refused) != 1 {
		t.Errorf("run: %+v", r)
	}
	r = tw(t, "run", "-m", module, "--dry-run", "--", "sh", "-c", "/bin/true; exit $?")
	if r.status != 0 || !strings.Contains(r.stderr, "forbid (forbid): permission denied: /bin/true") || strings.Contains(r.stderr, refused) {
		t.Errorf("run --dry-run: %+v", r)
	}
	if r := tw(t, "watch", "--source", "connector", "-m", module); r.status != exitFailed || !strings.Contains(r.stderr, "--allow-observe-only") {
		t.Errorf("watch: %+v", r)
	}
}
