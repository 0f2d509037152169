package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/module/host"
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

// forbid is a module that denies true.
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
	r := finish(t, c)
	why, rest, _ := strings.Cut(r.stderr, "\n")
	if r.status != 0 || r.stdout != "" || rest != globals || !strings.Contains(why, "the source ptrace, not with a better one: bpf: ") {
		t.Fatalf("run: %+v", r)
	}
	told, failed := linesOf(t, events)
	if len(told) != 6 || len(failed) != 1 {
		t.Errorf("%d records and %d errors in the recording, want 6 and 1", len(told), len(failed))
	}
	// A recording without what the module said, and its replay with the module.
	plain, again := filepath.Join(c.Dir, "plain.jsonl"), filepath.Join(c.Dir, "again.jsonl")
	withoutModules(t, events, plain)
	r = tw(t, "replay", "-m", module+",level=2", "--globals", "-f", "json", "-o", again, plain)
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
	lines := slices.DeleteFunc(slices.Collect(strings.Lines(string(readFile(t, from)))), func(l string) bool {
		return strings.HasPrefix(l, `{"event":"emit"`) || strings.HasPrefix(l, `{"event":"error"`)
	})
	if err := os.WriteFile(to, []byte(strings.Join(lines, "")), 0o644); err != nil {
		t.Fatal(err)
	}
}

// linesOf returns what is in a recording of the module rule.
func linesOf(t *testing.T, file string) (told, failed []string) {
	t.Helper()
	for line := range strings.Lines(string(readFile(t, file))) {
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

// What a module in the sandbox denies is denied where the source can, and
// said where it cannot.
func TestSandboxedModuleDenies(t *testing.T) {
	module := filepath.Join(t.TempDir(), "forbid.wasm")
	buildSandboxed(t, forbid, module)
	const denied = "exec denied by forbid (forbid): permission denied: /bin/true"
	r := tw(t, "run", "-m", module, "--", "sh", "-c", "/bin/true; exit $?")
	if r.status != 126 || strings.Count(r.stderr, denied) != 1 {
		t.Errorf("run: %+v", r)
	}
	r = tw(t, "run", "-m", module, "--dry-run", "--", "sh", "-c", "/bin/true; exit $?")
	if r.status != 0 || !strings.Contains(r.stderr, "forbid (forbid): permission denied: /bin/true") || strings.Contains(r.stderr, denied) {
		t.Errorf("run --dry-run: %+v", r)
	}
	// Whatever only observes says so in the same words, with the remedy.
	for source, args := range map[string][]string{
		"connector": {"watch", "--source", "connector", "-m", module},
		"bpf":       {"run", "--source", "bpf", "-m", module, "--", "true"},
		"daemon":    {"run", "--source", "daemon", "-m", module, "--", "true"},
	} {
		want := `module "forbid": it wants to deny exec, which is impossible here: no veto on exec: the source ` + source +
			" denies nothing outside of the kernel; with --allow-observe-only (allow_observe_only) it runs anyway, and denies nothing"
		if r := tw(t, args...); r.status == 0 || !strings.Contains(r.stderr, want) {
			t.Errorf("%s: %+v\nwant %q", source, r, want)
		}
	}
}

// same is a module of counters and verdicts that uses the header's functions
// only, so that it runs in the kernel and in the sandbox.
const same = `#include "task_watchers.h"
module_param(uid, int, 0);
__u64 clones, flags, execs, exits, codes, pids, names, leaders, ids;
MODULE_GLOBAL(clones); MODULE_GLOBAL(flags); MODULE_GLOBAL(execs); MODULE_GLOBAL(exits); MODULE_GLOBAL(codes);
MODULE_GLOBAL(pids); MODULE_GLOBAL(names); MODULE_GLOBAL(leaders); MODULE_GLOBAL(ids);
#define ADD(var, n) __sync_fetch_and_add(&var, n)
static int on_clone(unsigned long val, struct task_struct *tsk)
{
	if (task_uid(tsk) != uid)
		return 0;
	ADD(clones, 1);
	ADD(flags, task_val(val, tsk));
	return 0;
}
task_watcher_func(clone, on_clone);
static int on_exec(unsigned long val, struct task_struct *tsk)
{
	char comm[16] = {};
	if (task_uid(tsk) != uid)
		return 0;
	task_comm(tsk, comm);
	for (int i = 0; i < 16; i++)
		ADD(names, (__u64)comm[i] << i);
	ADD(execs, 1);
	ADD(pids, (__u64)task_pid(tsk) * task_tid(tsk));
	if (task_is_leader(tsk))
		ADD(leaders, 1);
	return (__u32)task_pid(tsk) % 3 ? 0 : -TW_EACCES;
}
task_watcher_func(exec, on_exec);
static int on_exit(unsigned long val, struct task_struct *tsk)
{
	if (task_uid(tsk) != uid || task_euid(tsk) != uid || task_gid(tsk) != uid || task_egid(tsk) != uid)
		return 0;
	ADD(exits, 1);
	ADD(codes, val);
	return val ? -TW_EAGAIN : 0;
}
task_watcher_func(exit, on_exit);
static int on_uid(unsigned long val, struct task_struct *tsk, const struct task_ids *now)
{
	if (now->now[TASK_ID_REAL] == uid)
		ADD(ids, now->old[TASK_ID_EFFECTIVE] + now->now[TASK_ID_EFFECTIVE]);
	return 0;
}
task_ids_watcher_func(uid, on_uid);
MODULE_LICENSE("GPL");
`

// One source gives the same counters and the same verdicts in the kernel and
// in the sandbox, on the same load, and again in the sandbox on its recording.
func TestOneSourceInKernelAndSandbox(t *testing.T) {
	testutil.Root(t)
	needsClang(t)
	dir := t.TempDir()
	object, twin, events := buildModule(t, "same", same), filepath.Join(dir, "twin.wasm"), filepath.Join(dir, "events.jsonl")
	buildSandboxed(t, same, twin)
	param := ",uid=" + strconv.Itoa(stranger)
	// Not of others' storms, which may fill the buffer.
	w := startWatch(t, 0, "-f", "json", "-o", events, "--globals", "-m", object+param, "-m", twin+param, "--pid", strconv.Itoa(os.Getpid()))
	const n = 60
	load(t, n)
	c := exec.Command("sh", "-c", "for i in 1 2 3 4 5 6 7; do (exit $i); sh -c 'kill -9 $$'; done; true")
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: stranger, Gid: stranger}}
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	w.stop(t, unix.SIGINT)
	var kernel, sandbox []string
	for line := range strings.Lines(w.stdout.String()) {
		if rest, ok := strings.CutPrefix(line, "same: "); ok {
			kernel = append(kernel, rest)
		}
		if rest, ok := strings.CutPrefix(line, "twin: "); ok {
			sandbox = append(sandbox, rest)
		}
	}
	if len(kernel) != 9 || !slices.Equal(kernel, sandbox) {
		t.Errorf("the kernel counts\n%q\nand the sandbox\n%q", kernel, sandbox)
	}
	// The load's n, its shell, and the seven shells of the other and itself.
	if want := fmt.Sprintf("execs = %d\n", n+1+7+1); !slices.Contains(kernel, want) {
		t.Errorf("counted %q, want %q", kernel, want)
	}
	verdicts := map[string][]string{}
	want := 0
	for _, l := range lines(t, bytes.NewReader(readFile(t, events))) {
		if ev := l.Event; ev != nil && ev.Task.UID == [4]uint32{stranger, stranger, stranger, stranger} {
			if ev.Kind == taskwatch.Exec && ev.Task.PID%3 == 0 || ev.Kind == taskwatch.Exit && (ev.Exit.Code != 0 || ev.Exit.Signal != 0) {
				want++
			}
		}
		if e := l.Failure; e != nil {
			verdicts[e.Module] = append(verdicts[e.Module], fmt.Sprint(e.Event.Task.PID, e.Event.Kind, e.Watcher, unix.ErrnoName(taskwatch.Errno(e.Err)), e.Verdict == taskwatch.Denied))
		}
		if l.Loss != nil {
			t.Errorf("%d events were lost", l.Loss.Count)
		}
	}
	for _, list := range verdicts {
		slices.Sort(list)
	}
	if len(verdicts["same"]) != want || want < 14 || !slices.Equal(verdicts["same"], verdicts["twin"]) {
		t.Errorf("the kernel's verdicts are\n%q\nand the sandbox's\n%q", verdicts["same"], verdicts["twin"])
	}
	r := tw(t, "replay", "-m", twin+param, "--globals", "-o", os.DevNull, events)
	if want := "twin: " + strings.Join(sandbox, "twin: "); r.stdout != want {
		t.Errorf("the replay counts\n%s\nand the load gave\n%s", r.stdout, want)
	}
}

// What is said of a module in the sandbox, and whether it would be taken.
func TestModuleInfoAndCheckOfASandboxedModule(t *testing.T) {
	file := filepath.Join(t.TempDir(), "rule.wasm")
	buildRule(t, file)
	const info = `name:          rule
kind:          wasm
watchers:      exec: tell
watchers:      exit: fail
param:         level (u32, default 1): how often to tell
memory:        128 KiB to begin with
`
	if r := tw(t, "modinfo", file); r.status != 0 || r.stdout != info || r.stderr != "" {
		t.Errorf("modinfo: %+v", r)
	}
	var d moduleDescription
	if err := json.Unmarshal([]byte(tw(t, "module", "info", "-f", "json", file).stdout), &d); err != nil {
		t.Fatal(err)
	}
	if d.Kind != "wasm" || d.Memory != 128<<10 || len(d.Params) != 1 || !slices.Equal(d.Watchers, []host.Watcher{{Event: "exec", Function: "tell"}, {Event: "exit", Function: "fail"}}) {
		t.Errorf("module info -f json: %+v", d)
	}
	if r := tw(t, "module", "check", file+",level=2,deadline=5ms"); r.status != 0 || r.stdout != "rule: the sandbox accepts it\n" {
		t.Errorf("module check: %+v", r)
	}
	for param, says := range map[string]string{
		"level=many": "want a number from 0 to 4294967295", "other=1": `no parameter "other"; its parameters are level (u32, default 1)`,
		"memory=64K": "memory=128K gives it as much", "onerror=never": "want open or deny",
	} {
		if r := tw(t, "module", "check", file+","+param); r.status != exitFailed || !strings.Contains(r.stderr, says) || strings.Count(r.stderr, "\n") != 1 {
			t.Errorf("module check with %s: %+v", param, r)
		}
	}
}

// A module that watches no event, but attach or execed, leaves no column empty.
func TestListedWithoutEvents(t *testing.T) {
	var b bytes.Buffer
	list := moduleTable{listedModule{Name: "count", Kind: "kernel", Events: []string{"exec"}, State: "live"}, listedModule{Name: "tasks", Kind: "kernel", State: "live"}}
	if err := list.write(&b); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	if len(lines) != 3 {
		t.Fatalf("%q", lines)
	}
	for _, line := range lines[1:] {
		if head := strings.Fields(lines[0]); len(strings.Fields(line)) != len(head) {
			t.Errorf("%q has no value for each of %q", line, head)
		}
	}
}
