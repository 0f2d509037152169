// Package modules has the tests that run one module as several kinds: in Go,
// in the sandbox and in the kernel.
package modules

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testmodule"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/module"
	"github.com/taskwatch/taskwatch/module/kernel"
	"github.com/taskwatch/taskwatch/module/wasm"
	"github.com/taskwatch/taskwatch/record"
	"github.com/taskwatch/taskwatch/source/bpf"
	"github.com/taskwatch/taskwatch/source/replay"
)

// answers are the variables of a module by name, and "errors": how many of
// its calls failed.
type answers map[string]uint64

func answersOf(t testing.TB, globals []module.Global, err error, failed uint64) answers {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	a := answers{"errors": failed}
	for _, g := range globals {
		if !g.Param {
			a[g.Name] = g.Value.(uint64)
		}
	}
	return a
}

const (
	group = 34560 // of the workload: nobody else has it
	user  = 4242  // complained of
)

var params = map[string]string{"gid": fmt.Sprint(group), "uid": fmt.Sprint(user)}

// goModule is answers.c in Go.
type goModule struct {
	taskwatch.Module

	mu sync.Mutex // guards a: another goroutine reads it
	a  answers
}

func newGoModule() *goModule {
	m := &goModule{Module: taskwatch.Module{Name: "answers"}, a: answers{"errors": 0}}
	for _, name := range strings.Fields("inits clones execs uids gids exits frees flags codes leaders started relatives owners named") {
		m.a[name] = 0
	}
	for k := range taskwatch.Kind(taskwatch.NumKinds) {
		m.Watch(k, func(ev *taskwatch.Event) error {
			m.mu.Lock()
			defer m.mu.Unlock()
			if ev.Task.GID[taskwatch.RealID] != group {
				return nil
			}
			err := m.watch(ev)
			if err != nil {
				m.a["errors"]++
			}
			return err
		})
	}
	return m
}

func (m *goModule) watch(ev *taskwatch.Event) error {
	t := ev.Task
	m.a[ev.Kind.String()+"s"]++
	switch ev.Kind {
	case taskwatch.Init:
		m.a["flags"] += ev.Val
	case taskwatch.Clone:
		m.a["flags"] += ev.Val
		m.a["relatives"] += uint64(t.TID + t.PID + t.PPID)
	case taskwatch.Exec:
		m.a["execs"] += ev.Val
		if t.UID[taskwatch.RealID] == user {
			return syscall.EACCES
		}
	case taskwatch.UID:
		m.owned(ev.OldIDs, t.UID)
		if t.UID[taskwatch.EffectiveID] == user {
			return syscall.EPERM
		}
	case taskwatch.GID:
		m.owned(ev.OldIDs, t.GID)
		if ev.Cause == taskwatch.CauseSyscall && ev.OldIDs[taskwatch.EffectiveID] != group {
			return syscall.EPERM
		}
	case taskwatch.Exit:
		m.a["codes"] += ev.Val
		m.a["started"] += uint64(t.StartNS)
		m.a["relatives"] += uint64(t.TID + t.PID)
		if t.TID == t.PID {
			m.a["leaders"]++
		}
		for _, c := range []byte(t.Comm) {
			m.a["named"] += uint64(c)
		}
		if ev.Val&0x7f != 0 {
			return syscall.EAGAIN
		}
	}
	return nil
}

func (m *goModule) owned(old, now taskwatch.IDs) {
	for _, ids := range []taskwatch.IDs{old, now} {
		m.a["owners"] += uint64(ids[taskwatch.RealID]) + uint64(ids[taskwatch.EffectiveID])
	}
}

func (m *goModule) answers() answers {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.a)
}

// sandboxed loads answers.wasm and registers it.
func sandboxed(t testing.TB, reg *taskwatch.Registry) (ended func() answers) {
	t.Helper()
	o, err := wasm.Parse("sandboxed", testmodule.Wasm(t, "testdata/modules/answers.c"))
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	m, err := o.Load(wasm.LoadOptions{Params: params, Deadline: time.Minute, Queue: 1 << 16})
	if err != nil {
		t.Fatal(err)
	}
	closeAtEnd(t, m)
	watchers := m.Watchers(0)
	if err := reg.Register(watchers); err != nil {
		t.Fatal(err)
	}
	return func() answers {
		t.Helper()
		for m.Stats().Queued > 0 { // unregistering works it off too, with a limit
			time.Sleep(time.Millisecond)
		}
		if err := reg.Unregister(watchers); err != nil {
			t.Fatal(err)
		}
		s := m.Stats()
		if s.Drops != 0 || s.Crashes != 0 {
			t.Errorf("the sandbox dropped %d events and saw %d crashes", s.Drops, s.Crashes)
		}
		globals, err := m.Globals(t.Context())
		return answersOf(t, globals, err, s.Errors)
	}
}

// inKernel loads answers.o and registers it.
func inKernel(t testing.TB, table *kernel.Table) (ended func() answers) {
	t.Helper()
	o, err := kernel.Parse("inkernel", testmodule.Object(t, "testdata/modules/answers.c"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := o.Load(kernel.LoadOptions{Params: params})
	if err != nil {
		t.Fatal(err)
	}
	if err := table.Register(m, kernel.RegisterOptions{}); err != nil {
		t.Fatal(err)
	}
	return func() answers {
		t.Helper()
		infos, err := table.Modules()
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(infos, func(info kernel.ModuleInfo) bool { return info.Name == "inkernel" })
		failed := infos[i].Errors
		if err := table.Unregister(m); err != nil {
			t.Fatal(err)
		}
		globals, err := m.Globals()
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		return answersOf(t, globals, err, failed)
	}
}

// One module, in Go, in the sandbox and, by each way that the kernel has, in the
// kernel, gives the same answers of the same workload: live, and from a recording that
// was made meanwhile.
func TestSameAnswers(t *testing.T) {
	testutil.Root(t)
	work := testutil.BuildC(t, "-static", "testdata/work.c")
	n := 100
	if testing.Short() {
		n = 20
	}

	ready := make(chan struct{})
	src, err := bpf.New(bpf.Config{PID: os.Getpid(), OnReady: func() { close(ready) }})
	if err != nil {
		t.Fatal(err)
	}
	var live taskwatch.Registry
	var recording bytes.Buffer
	writer := record.NewWriter(&recording, taskwatch.WantAll(taskwatch.AllKinds))
	inGo := newGoModule()
	if err := errors.Join(live.Attach(writer), live.Register(&inGo.Module)); err != nil {
		t.Fatal(err)
	}
	sandboxedAnswers := sandboxed(t, &live)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- src.Run(ctx, &live) }()
	t.Cleanup(cancel)
	select {
	case <-ready:
	case err := <-ended:
		t.Fatal(err)
	}
	kernelAnswers := inKernel(t, src.Table())
	inTiers := map[string]func() answers{}
	lossless := map[string]bool{}
	for _, tier := range tiers(t) {
		how := "in the kernel, by " + tier.name
		inTiers[how], lossless[how] = inKernel(t, tableOf(t, tier)), tier.FEntry == nil
	}

	cmd := exec.Command(work, fmt.Sprint(n))
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Gid: group}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	made := uint64(4*n + 1)
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if inGo.answers()["frees"] == made+1 {
			break
		}
	}
	got := map[string]answers{"in the kernel": kernelAnswers()}
	lossless["in the kernel"] = everyFree(t)
	for how, answers := range inTiers {
		got[how] = answers()
	}
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	got["in the sandbox"] = sandboxedAnswers()
	if err := writer.Close(context.Background()); err != nil {
		t.Fatal(err)
	}

	var replayed taskwatch.Registry
	again := newGoModule()
	if err := replayed.Register(&again.Module); err != nil {
		t.Fatal(err)
	}
	replayedAnswers := sandboxed(t, &replayed)
	tape, err := replay.New(replay.Config{Reader: bytes.NewReader(recording.Bytes()), Name: "recording"})
	if err != nil {
		t.Fatal(err)
	}
	if err := tape.Run(context.Background(), &replayed); err != nil {
		t.Fatal(err)
	}
	got["in the sandbox, replayed"] = replayedAnswers()
	trial := interpret(t, "testdata/modules/answers.c", params, recording.Bytes(), nil)
	globals, err := trial.Globals()
	got["interpreted"] = answersOf(t, globals, err, trial.Counts().Errors)
	got["in Go, replayed"] = again.answers()

	// What the workload does is known.
	want := inGo.answers()
	for name, count := range map[string]uint64{
		"inits": made, "clones": made, "execs": uint64(n + 2), "exits": made + 1, "frees": made + 1,
		"leaders": uint64(3*n + 2), "uids": uint64(2*n + 1), "gids": uint64(2*n + 1),
		// Those killed, the changes back to the group and the one to it, the
		// exec of the user and the change to it.
		"errors": uint64(2*n + 3),
	} {
		if want[name] != count {
			t.Errorf("in Go %s is %d; the workload made it %d", name, want[name], count)
		}
	}
	for how, a := range got {
		if every, inKernel := lossless[how]; inKernel && !every && a["frees"] < want["frees"] {
			a["frees"] = want["frees"] // sched_process_free misses some
		}
		if !maps.Equal(a, want) {
			t.Errorf("%s the answers are\n%v\nand in Go\n%v", how, a, want)
		}
	}
}

// everyFree reports whether this kernel reports every free.
func everyFree(t testing.TB) bool {
	t.Helper()
	s, err := probed()
	if err != nil {
		t.Fatal(err)
	}
	return s.FEntry == nil
}
