package wasm

import (
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tetratelabs/wazero/api"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/module/wasm/internal/wasmfile"
)

// typeBytes is a signature as it stands in a file.
func typeBytes(t string) string {
	params, results, _ := strings.Cut(t, ">")
	list := func(s string) string {
		b := ""
		for _, c := range s {
			b += map[rune]string{'i': "\x7f", 'I': "\x7e", ',': ""}[c]
		}
		return wasmfile.Str(b)
	}
	return "\x60" + list(params) + list(results)
}

// importing is a good module that imports these functions of WASI, which are
// its first, and whose watcher has this code.
func importing(code string, names ...string) *wasmfile.File {
	f := wasmfile.Good()
	f.Memory[0] = "\x00" + wasmfile.U32(256)
	for _, name := range names {
		typ := wasi[name].typ
		if typ == "" {
			typ = "i>i"
		}
		f.Imports = append(f.Imports, wasmfile.Str(wasiModule)+wasmfile.Str(name)+"\x00"+wasmfile.U32(uint32(len(f.Types))))
		f.Types = append(f.Types, typeBytes(string(typ)))
	}
	f.Exports = nil
	for i, name := range []string{exportABI, exportInfo, exportVars, exportTask, "__task_watcher_exec_fn"} {
		f.Exports = append(f.Exports, wasmfile.Export(name, 0, uint32(i+len(names))))
	}
	f.Exports = append(f.Exports, wasmfile.Export("memory", 2, 0))
	f.Funcs[4].Code = code
	return f
}

func notifyOnce(t *testing.T, f *wasmfile.File, opts LoadOptions) error {
	t.Helper()
	o, err := Parse("wasi", f.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	opts.Synchronous = true
	m := load(t, o, opts)
	var r taskwatch.Registry
	register(t, &r, m.Watchers(0))
	return r.Feed().Notify(event(taskwatch.Exec))
}

// What a module can have done for it by the host ends at the deadline like
// what it does itself.
func TestHostCallsEndAtTheDeadline(t *testing.T) {
	loop := func(code string) string { return "\x03\x40" + code + "\x1a\x0c\x00\x0b\x41\x00" }
	vector := wasmfile.Words(0, 16<<20)
	subscriptions := func(n int) string { // that wait for an hour
		one := make([]byte, subscriptionSize)
		one[16] = 1
		copy(one[24:], wasmfile.Words(0, 1<<9))
		return strings.Repeat(string(one), n)
	}
	for what, c := range map[string]struct{ name, args, data string }{
		"large writes": {"fd_write", number(1) + number(4096) + number(1000) + number(0), strings.Repeat(vector, 1000)},
		"randomness":   {"random_get", number(0) + number(16<<20), ""},
		"long waits":   {"poll_oneoff", number(4096) + number(100_000) + number(60) + number(0), subscriptions(60)},
		"many waits":   {"poll_oneoff", number(4096) + number(100_000) + number(200_000) + number(0), subscriptions(1)},
	} {
		t.Run(what, func(t *testing.T) {
			f := importing(loop(c.args+"\x10\x00"), c.name)
			f.Data = append(f.Data, wasmfile.Data(4096, c.data))
			err := notifyOnce(t, f, LoadOptions{Deadline: 50 * time.Millisecond, Log: func(slog.Level, string) {}})
			if !errors.Is(err, ErrDeadline) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// What WASI answers: a watcher returns its error number.
func TestWASIAnswers(t *testing.T) {
	for _, c := range []struct {
		name, args string
		want       wasiErrno
	}{
		{"args_sizes_get", number(0) + number(4), wasiOK},
		{"environ_sizes_get", number(0) + number(-1), wasiFault},
		{"clock_time_get", number(0) + "\x42\x00" + number(0), wasiOK},
		{"clock_time_get", number(9) + "\x42\x00" + number(0), wasiInval},
		{"random_get", number(0) + number(1<<20), wasiOK},
		{"random_get", number(0) + number(-1), wasiFault},
		{"fd_write", number(1) + number(0) + number(0) + number(0), wasiOK},
		{"fd_write", number(3) + number(0) + number(0) + number(0), wasiBadFD},
		{"fd_write", number(1) + number(-8) + number(1) + number(0), wasiFault},
		{"fd_read", number(0) + number(0) + number(0) + number(0), wasiOK},
		{"fd_fdstat_get", number(2) + number(0), wasiOK},
		{"fd_prestat_get", number(3) + number(0), wasiBadFD},
		{"fd_seek", number(1) + "\x42\x00" + number(0) + number(0), wasiIsPipe},
		{"path_open", number(3) + number(0) + number(0) + number(0) + number(0) + "\x42\x00\x42\x00" + number(0) + number(0), wasiNoSys},
		{"sock_accept", number(3) + number(0) + number(0), wasiNoSys},
		{"something_new", number(3), wasiNoSys},
	} {
		f := importing(number(0)+c.args+"\x10\x00\x6b", c.name) // 0 - errno
		err := notifyOnce(t, f, LoadOptions{})
		var got syscall.Errno
		if errors.As(err, &got); got != syscall.Errno(c.want) {
			t.Errorf("%s%q: got %v, want %d", c.name, c.args, err, c.want)
		}
	}
	if err := notifyOnce(t, importing(number(3)+"\x10\x00\x41\x00", "proc_exit"), LoadOptions{}); !errors.Is(err, ErrTrap) ||
		!strings.Contains(err.Error(), "it exited with status 3") {
		t.Errorf("exit: %v", err)
	}
}

// A poll returns what has come, and says which.
func TestPoll(t *testing.T) {
	one := func(userdata, clock uint32, ns uint32) string {
		return wasmfile.Words(userdata, 0, 0, 0, clock, 0, ns, 0, 0, 0, 0, 0)
	}
	// It returns the number of events and the userdata of the first.
	code := number(4096) + number(8192) + number(3) + number(0) + "\x10\x00\x1a" +
		number(0) + number(0) + "\x28\x02\x00" + number(100) + "\x6c" + number(8192) + "\x28\x02\x00\x6a\x6b"
	f := importing(code, "poll_oneoff")
	f.Data = append(f.Data, wasmfile.Data(4096, one(7, 1, 1<<31)+one(8, 1, 1000)+one(9, 1, 1<<31)))
	var got syscall.Errno
	if err := notifyOnce(t, f, LoadOptions{Deadline: 10 * time.Second}); !errors.As(err, &got) || got != 108 {
		t.Errorf("got %v, want one event of the second clock", err)
	}
}

// Modules that import all of WASI load, as the libraries of Rust and TinyGo
// may have them do.
func TestAllOfWASICanBeImported(t *testing.T) {
	f := importing("\x41\x00", slices.Sorted(maps.Keys(wasi))...)
	if err := notifyOnce(t, f, LoadOptions{}); err != nil {
		t.Error(err)
	}
}

// flag is a global without a module.
type flag struct {
	api.MutableGlobal
	set atomic.Bool
}

func (f *flag) Set(uint64) { f.set.Store(true) }

// The clock of a call stands still in the host and goes on behind: a call
// that goes to the host again and again ends, and one that is kept there for
// long does not.
func TestClockInTheHost(t *testing.T) {
	var d watchdog
	const limit = 40 * time.Millisecond
	d.start(limit)
	defer d.stop()
	stop := &flag{}
	d.target.Store(&instance{stop: stop})
	d.arm(0)
	if !d.outside(func() { time.Sleep(5 * limit) }) || d.stopping() {
		t.Error("it was stopped for the host's time")
	}
	for until := time.Now().Add(30 * time.Second); !d.stopping() && time.Now().Before(until); {
		d.outside(func() {})
	}
	if !d.disarm() {
		t.Error("a call that goes to the host all the time was not stopped")
	}
	eventually(t, "the module has its flag", stop.set.Load) // which comes after the state
	if d.arm(0); d.disarm() {
		t.Error("the next call was stopped, too")
	}
}
