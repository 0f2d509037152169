package wasm

import (
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/module/wasm/internal/wasmfile"
)

// held is a module that crashes when it is called, and logs a line when it
// starts, which the test may keep from being taken.
func held(t *testing.T, params map[string]string) (m *Module, hold *atomic.Bool, release chan struct{}) {
	t.Helper()
	f := wasmfile.Good()
	f.Types = append(f.Types, "\x60\x03\x7f\x7f\x7f\x00")
	f.Imports = []string{wasmfile.Str(hostModule) + wasmfile.Str("log") + "\x00\x05"}
	f.Exports = nil
	for i, name := range []string{exportABI, exportInfo, exportVars, exportTask, "__task_watcher_exec_fn", "_initialize"} {
		f.Exports = append(f.Exports, wasmfile.Export(name, 0, uint32(i+1)))
	}
	f.Exports = append(f.Exports, wasmfile.Export("memory", 2, 0))
	f.Funcs[1].Code = "\x42" + wasmfile.LEB(2048<<32|9)
	f.Funcs[4].Code = "\x00"
	f.Funcs = append(f.Funcs, wasmfile.Func{Type: wasmfile.TypeVoid, Code: number(1) + number(16) + number(8) + "\x10\x00"})
	f.Data = append(f.Data, wasmfile.Data(2048, "veto=exec"))
	o, err := Parse("held", f.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.Close() })
	hold, release = &atomic.Bool{}, make(chan struct{})
	m, err = o.Load(LoadOptions{Params: params, Log: func(_ slog.Level, text string) {
		if strings.HasPrefix(text, "author") && hold.Load() {
			<-release
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	return m, hold, release
}

// A crashed module starts anew in the background. Whoever calls it meanwhile
// waits no longer than for a call, and then goes by onerror.
func TestRestartInTheBackground(t *testing.T) {
	defer func(d time.Duration) { readTime = d }(readTime)
	readTime = 10 * time.Millisecond
	m, hold, release := held(t, params("onerror=deny", "deadline=10ms"))
	defer m.Close()
	var r taskwatch.Registry
	register(t, &r, m.Watchers(taskwatch.KindsOf(taskwatch.Exec)))
	hold.Store(true)
	if err := denying(&r).NotifyBefore(event(taskwatch.Exec)); !errors.Is(err, ErrTrap) {
		t.Errorf("got %v", err)
	}
	eventually(t, "it starts in the background", func() bool { return m.sandbox.dog.state.Load()&paused != 0 })
	for range 6 {
		err := denying(&r).NotifyBefore(event(taskwatch.Exec))
		if !errors.Is(err, ErrDeadline) || !errors.Is(err, syscall.EACCES) || !strings.Contains(err.Error(), "not ready yet") {
			t.Errorf("while it starts: %v", err)
		}
	}
	if _, err := m.Globals(t.Context()); !errors.Is(err, ErrBusy) {
		t.Errorf("variables of a module that starts: %v", err)
	}
	if s := m.Stats(); s.Calls != 1 || s.Drops != 6 || s.Crashes != 1 || s.State != Running {
		t.Errorf("%+v", s)
	}
	hold.Store(false)
	close(release)
	eventually(t, "it is called again", func() bool { return errors.Is(denying(&r).NotifyBefore(event(taskwatch.Exec)), ErrTrap) })
}

// A module that cannot end, because what it logs is not taken, is not waited
// for without end, and the error says what it is at.
func TestCloseOfAStuckModule(t *testing.T) {
	defer func(d time.Duration) { closeTime = d }(closeTime)
	closeTime = 10 * time.Millisecond
	m, hold, release := held(t, params("deadline=10ms"))
	var r taskwatch.Registry
	tm := m.Watchers(taskwatch.KindsOf(taskwatch.Exec))
	register(t, &r, tm)
	hold.Store(true)
	if err := denying(&r).NotifyBefore(event(taskwatch.Exec)); !errors.Is(err, ErrTrap) {
		t.Errorf("got %v", err)
	}
	eventually(t, "it waits for its line", func() bool { return m.sandbox.dog.state.Load()&paused != 0 })
	if err := m.Close(); !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), `module "held"`) {
		t.Errorf("closing: %v", err)
	}
	close(release)
	<-m.ended // in the background
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}
