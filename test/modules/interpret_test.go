package modules

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testmodule"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/module/kernel"
	"github.com/taskwatch/taskwatch/module/kernel/trial"
	"github.com/taskwatch/taskwatch/record"
	"github.com/taskwatch/taskwatch/source/replay"
)

// interpret has a module for the kernel interpreted for a recording. each, if it is
// set, is called after each item.
func interpret(t testing.TB, src string, params map[string]string, recording []byte, each func(*trial.Trial, taskwatch.Item)) *trial.Trial {
	t.Helper()
	o, err := kernel.Parse("interpreted", testmodule.Object(t, src))
	if err != nil {
		t.Fatal(err)
	}
	tried, err := trial.New(o, trial.Options{Params: params})
	if err != nil {
		t.Fatal(err)
	}
	tape, err := replay.New(replay.Config{Reader: bytes.NewReader(recording), Name: "recording"})
	if err != nil {
		t.Fatal(err)
	}
	var reg taskwatch.Registry
	if err := reg.Attach(tried); err != nil {
		t.Fatal(err)
	}
	if each != nil {
		after := taskwatch.NewSink(taskwatch.WantAll(taskwatch.AllKinds), func(it taskwatch.Item) { each(tried, it) })
		if err := reg.Attach(after); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(tape.Run(context.Background(), &reg), reg.Detach(context.Background(), tried)); err != nil {
		t.Fatal(err)
	}
	return tried
}

// recordOurselves records what this process and its descendants do, until enough has
// come.
func recordOurselves(t *testing.T, work func(), enough func(it taskwatch.Item) bool) []byte {
	t.Helper()
	var live taskwatch.Registry
	var recording bytes.Buffer
	writer := record.NewWriter(&recording, taskwatch.WantAll(taskwatch.AllKinds))
	var done atomic.Bool
	counter := taskwatch.NewSink(taskwatch.WantAll(taskwatch.AllKinds), func(it taskwatch.Item) {
		if enough(it) {
			done.Store(true)
		}
	})
	if err := errors.Join(live.Attach(writer), live.Attach(counter)); err != nil {
		t.Fatal(err)
	}
	watchOurselves(t, &live)
	work()
	for end := time.Now().Add(time.Minute); !done.Load() && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if !done.Load() {
		t.Fatal("not all was recorded")
	}
	if err := live.Detach(context.Background(), writer); err != nil {
		t.Fatal(err)
	}
	return recording.Bytes()
}

// The exec of a program or of a script looks to a module that is interpreted as it does in the kernel:
// path, working directory and arguments.
func TestInterpretedExecs(t *testing.T) {
	testutil.Root(t)
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	cases := execCases(t, dir)
	for i := range cases {
		cases[i].dir = dir
	}
	ours := func(it taskwatch.Item) bool {
		return it.Event != nil && it.Event.Kind == taskwatch.Exec && it.Event.Task.GID[taskwatch.RealID] == execGroup
	}
	seenExecs := 0
	recording := recordOurselves(t, func() {
		for _, c := range cases {
			c.run(t)
		}
	}, func(it taskwatch.Item) bool {
		if ours(it) {
			seenExecs++
		}
		return seenExecs == len(cases)
	})
	params := map[string]string{"gid": fmt.Sprint(execGroup), "want": filepath.Join(dir, "wanted"), "below": dir + "/"}
	n := 0
	interpret(t, "testdata/modules/execs.c", params, recording, func(tried *trial.Trial, it taskwatch.Item) {
		if !ours(it) {
			return
		}
		c := cases[n]
		n++
		globals, err := tried.Globals()
		if got, want := seenIn(t, globals, err), c.want(n); !maps.Equal(got, want) {
			t.Errorf("%s: the module saw\n%v, want\n%v", c.name, got, want)
		}
	})
	if n != len(cases) {
		t.Errorf("%d programs were run, and %d recorded", len(cases), n)
	}
}

// A value for each task is inherited, read to the last watcher, and dropped.
func TestInterpretedStorage(t *testing.T) {
	testutil.Root(t)
	work, err := filepath.EvalSymlinks(testutil.BuildC(t, "-static", "testdata/work.c"))
	if err != nil {
		t.Fatal(err)
	}
	n := testutil.Size(20, 100, 1000)
	made := uint64(4*n + 1)
	frees := uint64(0)
	recording := recordOurselves(t, func() {
		if out, err := exec.Command(work, fmt.Sprint(n)).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}, func(it taskwatch.Item) bool {
		if it.Event != nil && it.Event.Kind == taskwatch.Free {
			frees++
		}
		return frees >= made+1
	})
	want := seen{
		"begun": uint64(1), "inherited": made, "exits": made + 1, "generations": made, "execs": uint64(n + 1),
		"deleted": uint64(2 * n), "freed": uint64(2*n + 2), "full": uint64(0),
	}
	tried := interpret(t, "testdata/modules/storage.c", map[string]string{"program": work}, recording, nil)
	globals, err := tried.Globals()
	if got := seenIn(t, globals, err); !maps.Equal(got, want) {
		t.Errorf("the module saw\n%v, want\n%v", got, want)
	}
}
