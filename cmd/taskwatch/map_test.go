package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// map shows what a module keeps in the kernel, and changes it.
func TestMap(t *testing.T) {
	testutil.Root(t)
	s := startServe(t, filepath.Join(t.TempDir(), "s"), nil)
	s.must(t, "insmod", "acct")
	if got := s.must(t, "map", "acct"); got != "users (Hash, 16384 entries; a key has 4 bytes, a value 40)\nwaits (Hash, 16384 entries; a key has 4 bytes, a value 32)\n" {
		t.Errorf("the maps: %q", got)
	}
	load(t, 3)
	eventually(t, "its user is in the map", func() bool {
		return strings.HasPrefix(s.tw(t, "map", "acct", "users", "get", "0").stdout, `0 = {"cpu_ns":`)
	})
	for _, args := range [][]string{{"map", "acct", "users"}, {"map", "acct", "users", "dump"}} {
		if got := s.must(t, args...); !strings.Contains("\n"+got, "\n0 = {") {
			t.Errorf("%q: %q", args, got)
		}
	}
	s.must(t, "map", "acct", "users", "set", "4242", `{"execs":7}`)
	var dump struct {
		Map     string
		Entries []struct {
			Key   uint32
			Value map[string]uint64
		}
		More bool
	}
	text := s.must(t, "map", "acct", "users", "get", "4242", "-f", "json")
	if err := json.Unmarshal([]byte(text), &dump); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if len(dump.Entries) != 1 || dump.Map != "users" || dump.More || dump.Entries[0].Key != 4242 || dump.Entries[0].Value["execs"] != 7 || dump.Entries[0].Value["forks"] != 0 {
		t.Errorf("%+v", dump)
	}
	s.must(t, "map", "acct", "users", "delete", "4242")
	for _, c := range []struct {
		args   []string
		status int
		says   string
	}{
		{[]string{"map", "acct", "users", "get", "4242"}, exitFailed, "no such entry: 4242"},
		{[]string{"map", "acct", "nosuch"}, exitFailed, "the module has users"},
		{[]string{"map", "nosuch", "users"}, exitFailed, "lsmod"},
		{[]string{"map", "acct", "users", "get", "root"}, exitFailed, "root is no value of type __u32"},
		{[]string{"map", "acct", "users", "set", "1", `{"exec":1}`}, exitFailed, "it has forks, execs"},
		{[]string{"map", "acct", "users", "get"}, exitUsage, "get takes a key"},
		{[]string{"map", "acct", "users", "get", "-3"}, exitUsage, "put -- before the arguments"},
		{[]string{"map", "acct", "users", "get", "--", "-3"}, exitFailed, "-3 is no value of type __u32: want a number from 0 to 4294967295"},
		{[]string{"map", "acct", "users", "look"}, exitUsage, "give dump, get, set or delete"},
		{[]string{"map", "acct", "users", "set", "--pid", "x"}, exitUsage, "--pid"},
		{[]string{"map", "acct", "users", "dump", "--pid", "7"}, exitUsage, "--pid is the key of an entry"},
		{[]string{"map", "acct", "--pid", "7"}, exitUsage, "--pid is the key of an entry"},
		{[]string{"map", "acct", "-f", "xml"}, exitUsage, "xml"},
	} {
		if r := s.tw(t, c.args...); r.status != c.status || !strings.Contains(r.stderr, c.says) {
			t.Errorf("%q: %+v, want status %d and %q", c.args, r, c.status, c.says)
		}
	}
	if got := s.must(t, "modinfo", "acct"); !strings.Contains(got, "map:           users (Hash, 16384 entries)") || !strings.Contains(got, " on average, ") {
		t.Errorf("modinfo: %s", got)
	}
	needsClang(t)
	s.must(t, "insmod", buildSource(t, "../../docs/examples/joblabel.c"))
	if got := s.must(t, "map", "joblabel"); !strings.Contains(got, "labels (TaskStorage, entries without a limit; a key has 4 bytes, a value 4)\n") {
		t.Errorf("the maps: %q", got)
	}
	self := strconv.Itoa(os.Getpid())
	s.must(t, "map", "joblabel", "labels", "set", "--pid", self, "7")
	for _, args := range [][]string{{"get", self}, {"get", "--pid", self}, {"--pid", self}} {
		if got, want := s.must(t, append([]string{"map", "joblabel", "labels"}, args...)...), self+" = 7\n"; got != want {
			t.Errorf("%q: %q, want %q", args, got, want)
		}
	}
	gone := exec.Command("true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	if r := s.tw(t, "map", "joblabel", "labels", "--pid", strconv.Itoa(gone.Process.Pid)); r.status != exitFailed || !strings.Contains(r.stderr, "there is no such task") {
		t.Errorf("a task that is gone: %+v", r)
	}
	_, wasm := buildBoth(t, "count", countModule)
	s.must(t, "insmod", "--name", "sandboxed", wasm)
	if got := s.must(t, "modinfo", "sandboxed"); strings.Contains(got, "on average") {
		t.Errorf("a time that is not measured: %s", got)
	}
	if r := s.tw(t, "map", "sandboxed", "rules"); r.status != exitFailed || !strings.Contains(r.stderr, "the module has none") {
		t.Errorf("a map that is not there in the sandbox: %+v", r)
	}

	// A module keeps the same in both, and the same commands read and set it.
	object, wasm := buildBoth(t, "kept", `
#include "task_watchers.h"
struct job { __u32 label; char name[8]; };
task_storage(jobs, struct job);
static int keep(unsigned long val, struct task_struct *tsk)
{
	jobs_inherit(tsk);
	return 0;
}
task_watcher_func(init, keep);
MODULE_LICENSE("GPL");
`)
	for _, c := range []struct{ name, file, has string }{
		{"inkernel", object, "jobs (TaskStorage, entries without a limit"}, {"insandbox", wasm, "jobs (TaskStorage, 14336 entries"},
	} {
		s.must(t, "insmod", "--name", c.name, c.file)
		if r := tw(t, "module", "info", c.file); !strings.Contains(r.stdout, c.has) {
			t.Errorf("%s: %+v, want %q", c.file, r, c.has)
		}
		for _, args := range [][]string{{"map", c.name}, {"modinfo", c.name}} {
			if got := s.must(t, args...); !strings.Contains(got, c.has) {
				t.Errorf("%q: %q, want %q", args, got, c.has)
			}
		}
		s.must(t, "map", c.name, "jobs", "set", "--pid", self, `{"label":8,"name":"a"}`)
		want := "\n" + self + ` = {"label":8,"name":"a"}` + "\n"
		for _, args := range [][]string{{"get", self}, {"get", "--pid", self}, {"--pid", self}, {"dump"}, {}} {
			if got := "\n" + s.must(t, append([]string{"map", c.name, "jobs"}, args...)...); !strings.Contains(got, want) {
				t.Errorf("%s, %q: %q, want %q", c.name, args, got, want)
			}
		}
		s.must(t, "map", c.name, "jobs", "delete", self)
		for _, f := range []struct {
			args []string
			says string
		}{
			{[]string{"get", self}, "no such entry: " + self}, {[]string{"get", "x"}, "that of task storage is a tid"},
			{[]string{"get", strconv.Itoa(gone.Process.Pid)}, "there is no such task"}, {[]string{"set", self, `{"labels":1}`}, "it has label, name"},
		} {
			if r := s.tw(t, append([]string{"map", c.name, "jobs"}, f.args...)...); r.status != exitFailed || !strings.Contains(r.stderr, f.says) {
				t.Errorf("%s, %q: %+v, want %q", c.name, f.args, r, f.says)
			}
		}
	}
}

// Maps get their first entries from files, in the daemon and in watch.
func TestMapContents(t *testing.T) {
	testutil.Root(t)
	dir := t.TempDir()
	s := startServe(t, filepath.Join(dir, "s"), nil)
	file, bad := filepath.Join(dir, "users.jsonl"), filepath.Join(dir, "bad.jsonl")
	for name, text := range map[string]string{file: `{"key":4242,"value":{"execs":7}}` + "\n", bad: `{"key":"root","value":{}}`} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.must(t, "insmod", "acct", "users=@"+file)
	if got := s.must(t, "map", "acct", "users", "get", "4242"); !strings.Contains(got, `"execs":7`) {
		t.Errorf("the entry: %q", got)
	}
	for _, c := range []struct{ value, says string }{
		{"@" + bad, `content of map users: entry 1: the key "root"`}, {"@" + file + ".none", "no such file"}, {"7", "users is a map, and users=@FILE gives it its first entries"},
	} {
		if r := s.tw(t, "insmod", "--replace", "acct", "users="+c.value); r.status != exitFailed || !strings.Contains(r.stderr, c.says) {
			t.Errorf("users=%s: %+v, want %q", c.value, r, c.says)
		}
		if r := tw(t, "watch", "-m", "acct,users="+c.value); r.status != exitFailed && r.status != exitUsage || !strings.Contains(r.stderr, c.says) {
			t.Errorf("watch, users=%s: %+v, want %q", c.value, r, c.says)
		}
	}
	if got := s.must(t, "map", "acct", "users", "get", "4242"); !strings.Contains(got, `"execs":7`) {
		t.Errorf("the entry, with the module that was not replaced: %q", got)
	}
}
