package wasm

import (
	"os"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/wire"
)

// A module that was built when the record was shorter goes on working: it gets
// the beginning that it knows, as big as it asks for.
func TestModulesOfBeforeLoadAndCount(t *testing.T) {
	b, err := os.ReadFile("testdata/older/count.wasm")
	if err != nil {
		t.Fatal(err)
	}
	o, err := Parse("count", b)
	if err != nil {
		t.Fatal(err)
	}
	m := load(t, o, LoadOptions{Synchronous: true})
	var r taskwatch.Registry
	register(t, &r, m.Watchers(0))
	task := &taskwatch.Task{Comm: "fifteen bytes..", Exe: "/bin/true", Argv: []string{"true", "--help"}, UID: taskwatch.IDs{7, 8, 9, 10}}
	for _, ev := range []*taskwatch.Event{
		{Kind: taskwatch.Exec, Seq: 41, Task: task, Missing: taskwatch.FieldCwd},
		{Kind: taskwatch.Exec, Seq: 42, Task: task, Missing: taskwatch.FieldCwd, Extra: &taskwatch.Extra{Given: taskwatch.FieldCgroupID, CgroupID: 1 << 62}},
		{Kind: taskwatch.Exit, Seq: 43, Task: task, Exit: taskwatch.ExitStatus{Code: 3}, Rusage: taskwatch.Rusage{UTimeNS: 40, STimeNS: 2}},
		{Kind: taskwatch.Exit, Seq: 44, Task: task},
	} {
		if err := r.Feed().Notify(ev); err != nil {
			t.Fatal(err)
		}
	}
	oldest := wire.Sizes[len(wire.Sizes)-1]
	for name, want := range map[string]any{
		"execs": uint64(2), "exits": uint64(2), "failed": uint64(1), "seq": uint64(42), "cpu": uint64(42), "size": uint64(oldest), "uid": uint64(7),
		"comm": "fifteen bytes..", "exe": "/bin/true", "arg": "--help", "no_cwd": true,
	} {
		if got := global(t, m, name); got != want {
			t.Errorf("%s is %v (%[2]T), want %v (%[3]T)", name, got, want)
		}
	}
}
