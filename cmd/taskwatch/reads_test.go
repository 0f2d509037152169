package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// lookText looks at a program that is called with --look.
const lookText = `#include "task_watchers.h"

char parent[128];
MODULE_GLOBAL(parent);
int sid, looks;
MODULE_GLOBAL(sid);
MODULE_GLOBAL(looks);
__u32 auid;
MODULE_GLOBAL(auid);

static int look(unsigned long val, struct task_struct *tsk, struct linux_binprm *bprm)
{
	char arg[8];

	task_exec_arg(tsk, bprm, 1, arg, sizeof(arg));
	if (!task_string_is(arg, sizeof(arg), "--look"))
		return 0;
	sid = task_sid(tsk);
	auid = task_auid(tsk);
	task_parent_exe(tsk, parent, sizeof(parent));
	looks++;
	return 0;
}
task_exec_watcher_func(look);
MODULE_READS_ONLY();
MODULE_LICENSE("GPL");
`

// A module gets the optional fields that it reads, and the program of the parent, from
// each source and from a recording, and nobody else gets them; the same source does in
// the kernel.
func TestModuleReads(t *testing.T) {
	needsClang(t)
	object, sandboxed := buildBoth(t, "look", lookText)
	const reads = "reads:         argv, auid, sid, parent_exe\nunread:        exe, cwd, cgroup, old_exe, rusage\n"
	if r := tw(t, "module", "info", sandboxed); !strings.Contains(r.stdout, reads) {
		t.Errorf("info: %+v", r)
	}
	var info moduleDescription
	r := tw(t, "modinfo", "-f", "json", sandboxed)
	if err := json.Unmarshal([]byte(r.stdout), &info); err != nil || !slices.Equal(info.Unread, []string{"exe", "cwd", "cgroup", "old_exe", "rusage"}) {
		t.Errorf("info as JSON: %v, %q: %+v", err, info.Unread, r)
	}
	if r := tw(t, "module", "info", object); r.status != 0 || strings.Contains(r.stdout, "read") {
		t.Errorf("in the kernel: %+v", r)
	}
	const script = `cut -d' ' -f6 /proc/$$/stat; echo "$(cat /proc/self/loginuid 2>/dev/null || echo 4294967295)"; readlink /proc/$$/exe; /bin/true --look; :`
	check := func(what string, r result, said string) {
		t.Helper()
		truth := strings.Fields(said)
		if r.status != 0 || len(truth) != 3 {
			t.Fatalf("%s: %+v", what, r)
		}
		for _, want := range []string{"sid = " + truth[0], "auid = " + truth[1], fmt.Sprintf("parent = %q", truth[2]), "looks = 1"} {
			if !strings.Contains(r.stdout+r.stderr, "look: "+want+"\n") {
				t.Errorf("%s: %+v, want %q", what, r, want)
			}
		}
	}
	eachAttaching(t, func(t *testing.T, source string) {
		modules := []string{sandboxed + ",deadline=1m"} // the machine may be busy
		if source == "bpf" {
			testutil.Root(t)
			modules = append(modules, object)
		}
		for _, module := range modules {
			events := filepath.Join(t.TempDir(), "events.jsonl")
			r := tw(t, "run", "--source", source, "-f", "json", "-o", events, "--globals", "-m", module, "--", "sh", "-c", script)
			check(filepath.Base(module)+" of "+source, r, r.stdout)
			if strings.Contains(string(readFile(t, events)), `"sid":`) {
				t.Errorf("%s of %s: what the module asks for is recorded", module, source)
			}
		}
		// A recording has it where it was asked for then.
		events := filepath.Join(t.TempDir(), "events.jsonl")
		r := tw(t, "run", "--source", source, "--fields", "sid,auid", "-o", events, "--", "sh", "-c", script)
		said := r.stdout
		check("the recording of "+source, tw(t, "replay", "-m", sandboxed, "--globals", "-o", os.DevNull, events), said)
	})
}
