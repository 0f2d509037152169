package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/record"
)

// readRecording reads the events of a recording.
func readRecording(t *testing.T, file string) (list []*taskwatch.Event) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for r := record.NewReader(f, file); ; {
		it, err := r.Next()
		if err == io.EOF {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		if it.Event != nil {
			list = append(list, it.Event.Clone())
		}
	}
}

// makeRecording records a script under ptrace.
func makeRecording(t *testing.T, script string, flags ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "events.jsonl")
	args := append([]string{"run", "--source", "ptrace", "-f", "json", "-o", file}, flags...)
	if r := tw(t, append(args, "--", "/bin/sh", "-c", script)...); r.status != 0 {
		t.Fatalf("run: %+v", r)
	}
	return file
}

// testModule runs module test with a recording.
func testModule(t *testing.T, recording string, args ...string) result {
	t.Helper()
	c := cmd(t, append([]string{"module", "test"}, args...)...)
	f, err := os.Open(recording)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c.Stdin = f
	return finish(t, c)
}

const testedScript = `/bin/true; for i in 1 2 3; do /bin/sh -c 'exit 3' --force; done; (:) ; /bin/sh -c '/bin/true; kill -9 $$'; exit 0`

// Modules that know no recordings count in one what is in it.
func TestModuleTestCounts(t *testing.T) {
	needsClang(t)
	t.Parallel()
	file := makeRecording(t, testedScript, "--fields", "auid,sessionid,cgroup_id")
	events := readRecording(t, file)
	n := map[taskwatch.Kind]int{}
	execs := map[taskwatch.TaskID]int{}
	sessions := map[uint32]int{}
	cgroups := map[uint64]int{}
	var uid uint32
	var cpu int64
	var sh string // the shell's program
	ended, shells, killed := 0, 0, 0
	for _, e := range events {
		n[e.Kind]++
		switch e.Kind {
		case taskwatch.Exec:
			uid = e.Task.UID[taskwatch.RealID]
			execs[e.Task.ID]++
			sessions[e.Extra.SessionID]++
			if strings.HasSuffix(e.Task.Argv[0], "sh") {
				sh = e.Task.Exe
				shells++
			}
		case taskwatch.Clone:
			cgroups[e.Extra.CgroupID]++
		case taskwatch.Exit:
			cpu += e.Rusage.UTimeNS + e.Rusage.STimeNS
			if execs[e.Task.ID] > 0 {
				ended++
			}
			if e.Exit.Signal > 0 {
				killed++
			}
		}
	}
	if n[taskwatch.Exec] < 7 || n[taskwatch.Clone] < 7 || killed != 1 || ended == 0 {
		t.Fatalf("the recording has %v, %d ends and %d of them by signals", n, ended, killed)
	}
	t.Run("the template", func(t *testing.T) {
		template := filepath.Join(t.TempDir(), "count.c")
		if r := tw(t, "module", "new", template); r.status != 0 {
			t.Fatalf("module new: %+v", r)
		}
		object := buildSource(t, template)
		for params, want := range map[string]int{"": n[taskwatch.Exec], fmt.Sprintf(",uid=%d", uid): n[taskwatch.Exec], ",uid=54321": 0} {
			r := testModule(t, file, object+params, "--expect", fmt.Sprintf("execs=%d", want))
			if r.status != 0 || !strings.Contains(r.stdout, fmt.Sprintf("calls:         %d\n", n[taskwatch.Exec])) || r.stderr != "" {
				t.Errorf("%q: %+v", params, r)
			}
		}
		r := testModule(t, file, object, "--expect", "execs=1", "--expect", "exec=1", "--expect-denied", "1", "--expect-errors", "2", "--expect-records", "3")
		for _, want := range []string{
			fmt.Sprintf("--expect execs=1: it is %d\n", n[taskwatch.Exec]), `no variable "exec"; it has execs, uid`,
			"--expect-denied 1: 0 operations are denied\n", "--expect-errors 2: 0 calls return an error\n", "--expect-records 3: 0 records are sent\n",
		} {
			if r.status != 1 || !strings.Contains(r.stderr, want) {
				t.Errorf("what is not met: %+v, want %q", r, want)
			}
		}
	})
	t.Run("acct", func(t *testing.T) {
		user := fmt.Sprintf("users[%d]", uid)
		r := testModule(t, file, "acct", "--expect", fmt.Sprintf("%s.execs=%d", user, n[taskwatch.Exec]), "--expect", fmt.Sprintf("%s.forks=%d", user, n[taskwatch.Clone]),
			"--expect", fmt.Sprintf("%s.exits=%d", user, n[taskwatch.Exit]), "--expect", user+".killed=1", "--expect", fmt.Sprintf("%s.cpu_ns=%d", user, cpu), "--expect", "dropped=0")
		if r.status != 0 {
			t.Errorf("%+v", r)
		}
		if r := testModule(t, file, "acct", "--expect", "users[54321].execs=1"); r.status != 1 || !strings.Contains(r.stderr, "no such entry: 54321") {
			t.Errorf("an entry that is not there: %+v", r)
		}
	})
	t.Run("lifetimes", func(t *testing.T) {
		r := testModule(t, file, buildSource(t, "../../docs/examples/lifetimes.c"), "-f", "json")
		var got struct {
			Globals []struct {
				Name  string
				Value []int
			}
		}
		if err := json.Unmarshal([]byte(r.stdout), &got); err != nil || r.status != 0 {
			t.Fatalf("%v of %+v", err, r)
		}
		sum := 0
		for _, slot := range got.Globals[0].Value {
			sum += slot
		}
		if sum != ended {
			t.Errorf("%d lifetimes, and %d programs ended", sum, ended)
		}
	})
	t.Run("argrule", func(t *testing.T) {
		object := buildSource(t, "../../docs/examples/argrule.c") + ",arg=--force,program="
		if r := testModule(t, file, object+sh, "--expect-denied", "3", "--expect", "matched=3"); r.status != 0 || strings.Count(r.stdout, "check on exec: EPERM at event") != 3 {
			t.Errorf("%+v", r)
		}
		if r := testModule(t, file, object+"/bin/none", "--expect-denied", "0", "--expect", "matched=0"); r.status != 0 {
			t.Errorf("%+v", r)
		}
	})
	t.Run("lineage", func(t *testing.T) {
		// The first shell is above all others, and not below itself.
		r := testModule(t, file, buildSource(t, "../../docs/examples/lineage.c")+",root="+sh+",denied="+sh, "--expect-denied", fmt.Sprint(shells-1), "--expect", fmt.Sprintf("matched=%d", shells-1))
		if r.status != 0 {
			t.Errorf("%+v", r)
		}
	})
	t.Run("sessions", func(t *testing.T) {
		args := []string{buildSource(t, "../../docs/examples/sessions.c")}
		for id, count := range sessions {
			args = append(args, "--expect", fmt.Sprintf("sessions[%d].execs=%d", id, count))
		}
		if r := testModule(t, file, args...); r.status != 0 {
			t.Errorf("%+v", r)
		}
	})
	t.Run("forkrate", func(t *testing.T) {
		args := []string{buildSource(t, "../../docs/examples/forkrate.c") + ",limit=0"}
		for id, count := range cgroups {
			args = append(args, "--expect", fmt.Sprintf("cgroups[%d].forks=%d", id, count))
		}
		if r := testModule(t, file, args...); r.status != 0 {
			t.Errorf("%+v", r)
		}
	})
}

// The leader of a session is the one that was recorded.
func TestModuleTestSessionLeader(t *testing.T) {
	needsClang(t)
	// In a session of its own: the one of the test may be 0, if its leader is not
	// in the test's pid namespace, or is the kernel's.
	file := filepath.Join(t.TempDir(), "events.jsonl")
	c := cmd(t, "run", "--source", "ptrace", "--fields", "sid", "-f", "json", "-o", file, "--", "/bin/sh", "-c", testedScript)
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if r := finish(t, c); r.status != 0 {
		t.Fatalf("run: %+v", r)
	}
	own, n := 0, 0
	for _, e := range readRecording(t, file) {
		if e.Kind != taskwatch.Exec {
			continue
		}
		if n++; n == 1 {
			own = e.Extra.SID
		}
		if e.Extra.SID != own || own == 0 {
			t.Fatalf("exec %d is of the session %d, and the first one of %d", n, e.Extra.SID, own)
		}
	}
	module := buildModule(t, "leader", `#include "task_watchers.h"
module_param(own, int, 0);
int same;
static int look(unsigned long val, struct task_struct *tsk) { same += task_sid(tsk) == own; return 0; }
task_watcher_func(exec, look);
MODULE_LICENSE("GPL");`)
	if r := testModule(t, file, fmt.Sprintf("%s,own=%d", module, own), "--expect", fmt.Sprintf("same=%d", n)); r.status != 0 || n == 0 {
		t.Errorf("%d execs of session %d: %+v", n, own, r)
	}
}

// What a recording does not have is said, with the watcher and the line.
func TestModuleTestRejects(t *testing.T) {
	needsClang(t)
	t.Parallel()
	file := makeRecording(t, testedScript)
	for _, c := range []struct{ module, why string }{
		{buildModule(t, "number", `#include "task_watchers.h"
long number;
static int look(unsigned long val, struct task_struct *tsk) { number = task_syscall(tsk); return 0; }
task_watcher_func(exec, look);
MODULE_LICENSE("GPL");`), "it calls bpf_task_pt_regs(), which a simulation does not have"},
		{buildModule(t, "session", `#include "task_watchers.h"
int session;
static int look(unsigned long val, struct task_struct *tsk) { session = task_sid(tsk); return 0; }
task_watcher_func(exec, look);
MODULE_LICENSE("GPL");`), "it reads struct signal_struct.pids, which the recording does not have here"},
		{buildSource(t, "../../docs/examples/sessions.c"), "it reads struct task_struct.sessionid, which the recording does not have here"},
		{buildSource(t, "../../docs/examples/sessions.c"), "hint: record with '--fields sessionid'"},
		{buildSource(t, "../../docs/examples/forkrate.c"), "hint: record with '--fields cgroup_id'"},
		{"forkguard", "struct cred___nproc.ucounts, which recordings do not have"},
		{buildModule(t, "power", `#include "task_watchers.h"
static int kill(unsigned long val, struct task_struct *tsk) { return bpf_send_signal(9); }
task_watcher_func(exec, kill);
MODULE_POWER(signal);
MODULE_LICENSE("GPL");`), "it calls bpf_send_signal(), which a simulation does not have"},
		{buildModule(t, "strong", `#include "task_watchers.h"
void bpf_rcu_read_lock(void) __ksym;
static int lock(unsigned long val, struct task_struct *tsk) { bpf_rcu_read_lock(); return 0; }
task_watcher_func(exec, lock);
MODULE_LICENSE("GPL");`), "it calls bpf_rcu_read_lock() of the kernel, which a simulation does not have"},
		{buildModule(t, "ring", `#include "task_watchers.h"
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 4096); } ring SEC(".maps");
static int send(unsigned long val, struct task_struct *tsk) { void *r = bpf_ringbuf_reserve(&ring, 8, 0); if (r) bpf_ringbuf_discard(r, 0); return 0; }
task_watcher_func(exec, send);
MODULE_LICENSE("GPL");`), "map ring is of type RingBuf, which a simulation does not have"},
	} {
		if r := testModule(t, file, c.module); r.status != 1 || !strings.Contains(r.stderr, c.why) || r.stdout != "" {
			t.Errorf("%s: %+v, want %q", c.module, r, c.why)
		}
	}
	if r := testModule(t, os.DevNull, "acct", "--expect-denied", "0"); r.status != 1 || !strings.Contains(r.stderr, "is empty") || r.stdout != "" {
		t.Errorf("an empty recording: %+v", r)
	}
	if r := testModule(t, file, "count.wasm"); r.status != 1 {
		t.Errorf("a file that is not there: %+v", r)
	}
	if r := testModule(t, file, "acct", "--expect", "users=1"); r.status != 1 || !strings.Contains(r.stderr, "that is a map: expect something of an entry, as in users[KEY]=VALUE") {
		t.Errorf("an expectation of a map as a whole: %d %s", r.status, r.stderr)
	}
	if r := testModule(t, file, "acct", "--expect", "users"); r.status != 2 || !strings.Contains(r.stderr, "want NAME=VALUE") {
		t.Errorf("an expectation without a value: %+v", r)
	}
}

// A process that ends while a child of it goes on is told from one that waits.
func TestModuleTestChildren(t *testing.T) {
	needsClang(t)
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	object := buildSource(t, "../../docs/examples/doublefork.c")
	for script, records := range map[string]string{
		`(read x <` + fifo + ` &); echo >` + fifo:                     "1", // the one in brackets ends first
		`(read x <` + fifo + ` & wait $!) & echo >` + fifo + "; wait": "0",
	} {
		if r := testModule(t, makeRecording(t, script), object, "--expect-records", records); r.status != 0 {
			t.Errorf("%s: %+v", script, r)
		}
	}
}

// A change of ids is told with the ids, from a recording that root makes.
func TestModuleTestIDs(t *testing.T) {
	testutil.Root(t)
	needsClang(t)
	setpriv := testutil.RequireTool(t, "setpriv")
	file := makeRecording(t, setpriv+" --reuid 4242 --clear-groups /bin/true; "+setpriv+" --euid 4243 --clear-groups "+setpriv+" --euid 0 --keep-groups /bin/true")
	gains := 0
	for _, e := range readRecording(t, file) {
		if e.Kind == taskwatch.UID && e.OldIDs[taskwatch.EffectiveID] != 0 && e.Task.UID[taskwatch.EffectiveID] == 0 {
			gains++
		}
	}
	if gains == 0 {
		t.Fatal("nobody became root")
	}
	r := testModule(t, file, buildSource(t, "../../docs/examples/rootgain.c"), "--expect", fmt.Sprintf("gains=%d", gains), "--expect-records", fmt.Sprint(gains))
	if r.status != 0 {
		t.Errorf("%+v", r)
	}
}
