package wasm

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/randevent"
	"github.com/taskwatch/taskwatch/internal/wire"
)

// A module gets every field of the record, of every event, as it was.
func TestRecordArrives(t *testing.T) {
	var got []byte
	m := hear(load(t, parse(t, "mirror.c"), LoadOptions{Synchronous: true}), func(data []byte) { got = bytes.Clone(data) })
	var r taskwatch.Registry
	register(t, &r, m.Watchers(0))
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 700 {
		ev := randevent.New(random, taskwatch.Kind(i%taskwatch.NumKinds))
		ev.Missing = taskwatch.Fields(random.Uint64())
		if err := r.Feed().Notify(ev); err != nil {
			t.Fatal(err)
		}
		var want [wire.Size]byte
		wire.Put(&want, ev)
		if !bytes.Equal(got, want[:]) {
			t.Fatalf("got %x, want %x", got, want)
		}
	}
}

// A module gets strings in full, also those that are longer than its record,
// and what the source could not give as missing.
func TestStrings(t *testing.T) {
	o := parse(t, "mirror.c")
	long := "/" + strings.Repeat("long", 1000)
	ev := &taskwatch.Event{Kind: taskwatch.Exec, Seq: 7, OldExe: "/bin/old", Task: &taskwatch.Task{
		Comm: "a comm", Exe: long, Cwd: "/cwd", Cgroup: "/cg", Argv: []string{"zero", "", long + "2"},
	}}
	for _, c := range []struct {
		params  []string
		missing taskwatch.Fields
		want    string
		length  int64 // or an errno
	}{
		{[]string{"string=0"}, 0, "a comm", 6},
		{[]string{"string=1"}, 0, long, int64(len(long))},
		{[]string{"string=1", "size=10"}, 0, long[:9], int64(len(long))},
		{[]string{"string=1", "size=1"}, 0, "", int64(len(long))},
		{[]string{"string=2"}, 0, "zero", 4},
		{[]string{"string=2", "index=1"}, 0, "", 0},
		{[]string{"string=2", "index=2"}, 0, long + "2", int64(len(long)) + 1},
		{[]string{"string=2", "index=3"}, 0, "", -int64(syscall.ENOENT)},
		{[]string{"string=2", "index=4294967295"}, 0, "", -int64(syscall.ENOENT)},
		{[]string{"string=3"}, 0, "/cwd", 4},
		{[]string{"string=4"}, 0, "/cg", 3},
		{[]string{"string=5"}, 0, "/bin/old", 8},
		{[]string{"string=11"}, 0, "", -int64(syscall.EINVAL)},  // one more than there are
		{[]string{"string=256"}, 0, "", -int64(syscall.ENOENT)}, // of a module that does not ask for it
		{[]string{"string=2147483647"}, 0, "", -int64(syscall.EINVAL)},
		{[]string{"string=0"}, taskwatch.FieldComm, "", -int64(syscall.ENOENT)},
		{[]string{"string=1"}, taskwatch.FieldExe, "", -int64(syscall.ENOENT)},
		{[]string{"string=2"}, taskwatch.FieldArgv, "", -int64(syscall.ENOENT)},
		{[]string{"string=3"}, taskwatch.FieldCwd, "", -int64(syscall.ENOENT)},
		{[]string{"string=4"}, taskwatch.FieldCgroup, "", -int64(syscall.ENOENT)},
		{[]string{"string=5"}, taskwatch.FieldOldExe, "", -int64(syscall.ENOENT)},
		{[]string{"string=5"}, taskwatch.FieldExe, "/bin/old", 8},
	} {
		// Asked for in place and from the queue.
		for _, synchronous := range []bool{true, false} {
			var got []byte
			var r taskwatch.Registry
			m := load(t, o, LoadOptions{Params: params(c.params...), Synchronous: synchronous, Feed: r.Feed()})
			sink := taskwatch.NewSink(nil, func(it taskwatch.Item) {
				rec := it.Record
				got = bytes.Clone(rec.Data)
				if rec.Task.Exe != ev.Task.Exe || !reflect.DeepEqual(rec.Task.Argv, ev.Task.Argv) || rec.Seq != ev.Seq || rec.Module != m.Name() ||
					rec.Missing != taskwatch.FieldsTask&c.missing {
					t.Errorf("%q: the record is %+v of the task %+v", c.params, rec, rec.Task)
				}
			})
			if err := r.Attach(sink); err != nil {
				t.Fatal(err)
			}
			tm := m.Watchers(0)
			register(t, &r, tm)
			ev.Missing = c.missing
			if err := r.Feed().Notify(ev); err != nil {
				t.Fatal(err)
			}
			unregister(t, &r, tm)
			if length := global(t, m, "length"); string(got) != c.want || length != c.length {
				t.Errorf("%q, without %v: got %.20q of length %v, want %.20q of %d", c.params, c.missing.Names(), got, length, c.want, c.length)
			}
		}
	}
}

// The functions of the header say what the event says, and watchers are called
// in the order of the source.
func TestHeader(t *testing.T) {
	o := parse(t, "facts.c")
	if got, want := o.Watchers[taskwatch.Free], []string{"first", "second", "third"}; !reflect.DeepEqual(got, want) {
		t.Errorf("watchers of free %q", got)
	}
	if o.License != "GPL" || o.Author != "nobody" || o.Version != "1.2" || o.Description != "facts" ||
		o.Veto != taskwatch.KindsOf(taskwatch.UID) || o.Kinds() != taskwatch.KindsOf(taskwatch.Exec, taskwatch.UID, taskwatch.GID, taskwatch.Free) {
		t.Errorf("got %+v", o)
	}
	m := load(t, o, LoadOptions{Synchronous: true})
	var r taskwatch.Registry
	register(t, &r, m.Watchers(0))
	task := &taskwatch.Task{
		PID: 10, TID: 11, PPID: 12, StartNS: 13, Comm: "fifteen bytes..", Exe: "/usr/bin/cc", Cwd: "/srv", Argv: []string{"cc", "-c"},
		UID: taskwatch.IDs{20, 21, 22, 23}, GID: taskwatch.IDs{30, 31, 32, 33},
	}
	const val = 0x3_0000_0001
	notify := func(ev *taskwatch.Event) {
		t.Helper()
		ev.Task = task
		if err := r.Feed().Notify(ev); err != nil {
			t.Error(err)
		}
	}
	notify(&taskwatch.Event{Kind: taskwatch.Exec, Val: val, OldExe: "/bin/sh",
		Rusage: taskwatch.Rusage{UTimeNS: 40, STimeNS: 2}, Missing: taskwatch.FieldCgroup})
	notify(&taskwatch.Event{Kind: taskwatch.Free})
	for name, want := range map[string]any{
		"order": uint64(123), "val64": uint64(val), "low": uint64(val & 0xffffffff), "start": uint64(13), "cpu": uint64(42),
		"pid": int64(10), "tid": int64(11), "ppid": int64(12), "uid": uint64(20), "euid": uint64(21), "gid": uint64(30), "egid": uint64(31),
		"sid": int64(0), "no_sid": true, "leader": false, "missing": false, "comm": "fifteen bytes..", "exe": "/usr/bi", "cwd": "/srv", "cgroup": "", "arg": "-c", "old_exe": "/bin/sh",
	} {
		if got := global(t, m, name); got != want {
			t.Errorf("%s is %v (%[2]T), want %v (%[3]T)", name, got, want)
		}
	}
	if got, want := global(t, m, "lengths"), []any{int64(11), int64(4), int64(-2), int64(2), int64(7)}; !reflect.DeepEqual(got, want) {
		t.Errorf("lengths %v, want %v", got, want)
	}
	notify(&taskwatch.Event{Kind: taskwatch.Exec, Extra: &taskwatch.Extra{Given: taskwatch.FieldSID, SID: 14}})
	if sid, none := global(t, m, "sid"), global(t, m, "no_sid"); sid != int64(14) || none != false {
		t.Errorf("the session is %v, missing: %v", sid, none)
	}
	for kind, now := range map[taskwatch.Kind][]any{
		taskwatch.UID: {uint64(20), uint64(21), uint64(22), uint64(23)},
		taskwatch.GID: {uint64(30), uint64(31), uint64(32), uint64(33)},
	} {
		notify(&taskwatch.Event{Kind: kind, OldIDs: taskwatch.IDs{1, 2, 3, 4}, Cause: taskwatch.CauseExec})
		if got := global(t, m, "ids_now"); !reflect.DeepEqual(got, now) {
			t.Errorf("%s: new ids %v", kind, got)
		}
		if got := global(t, m, "ids_old"); !reflect.DeepEqual(got, []any{uint64(1), uint64(2), uint64(3), uint64(4)}) || global(t, m, "ids_cause") != uint64(2) {
			t.Errorf("%s: old ids %v, cause %v", kind, got, global(t, m, "ids_cause"))
		}
	}
	// A thread that is the first of its process, of a source that lacks a field.
	task.TID = 10
	notify(&taskwatch.Event{Kind: taskwatch.Exec, Missing: taskwatch.FieldCwd})
	if global(t, m, "leader") != true || global(t, m, "missing") != true {
		t.Error("leader or missing is false")
	}
}

func TestParams(t *testing.T) {
	o := parse(t, "facts.c")
	set := map[string]any{
		"p_u8": uint64(255), "p_s8": int64(-128), "p_u16": uint64(0xffff), "p_s16": int64(32767), "p_u32": uint64(1), "p_int": int64(-1),
		"p_long": int64(-2147483648), "p_ulong": uint64(4294967295), "p_u64": uint64(1<<64 - 1), "p_s64": int64(-1 << 63),
		"p_bool": false, "p_char": int64(98), "p_string": "seven77",
	}
	m := load(t, o, LoadOptions{Params: params("p_u8=255", "p_s8=-128", "p_u16=0xffff", "p_s16=32767", "p_u32=1", "p_int=-1",
		"p_long=-2147483648", "p_ulong=4294967295", "p_u64=18446744073709551615", "p_s64=-9223372036854775808", "p_bool=no", "p_char=98", "p_string=seven77")})
	for name, want := range set {
		if got := global(t, m, name); got != want {
			t.Errorf("%s is %v (%[2]T), want %v (%[3]T)", name, got, want)
		}
	}
	// Nor does one loading change the next.
	if got := global(t, load(t, o, LoadOptions{}), "p_string"); got != "abc" {
		t.Errorf("p_string is %v after another loading", got)
	}
	for _, c := range []struct{ param, says string }{
		{"nosuch=1", `no parameter "nosuch"; its parameters are p_bool (bool, default true), p_char (s8, default 97), p_int`},
		{"order=1", `no parameter "order"`}, // a variable, but none
		{"p_u8=256", "p_u8=256: it is of type u8: want a number from 0 to 255; its parameters are"},
		{"p_int=many", "want a number"},
		{"p_bool=2", "want yes or no"},
		{"p_char=b", "want a number from -128 to 127"},
		{"p_string=eight888", "room for 7"},
		{"deadline=0", "deadline=0: want a time"},
		{"deadline=100", "want a time like 100ms"},
		{"deadline=1h", "a deadline of 1h0m0s: it may be 1ms to 1m0s"},
		{"memory=2T", "want a number of bytes like 16M"},
		{"memory=1", "a memory of 1 bytes"},
		{"memory=64K", "it begins with 128 KiB of memory, but may have only 64 KiB; memory=128K gives it as much"},
		{"queue=0", "want a number of events"},
		{"queue=10000000", "it may be 1 to"},
		{"onerror=maybe", "want open or deny"},
	} {
		m, err := o.Load(LoadOptions{Params: params(c.param)})
		if err == nil {
			m.Close()
			t.Errorf("%s was taken", c.param)
			continue
		}
		wantError(t, err, "load", c.says)
	}
	got, err := LoadOptions{Params: params("deadline=5ms", "memory=1M", "queue=7", "onerror=deny", "p_u8=1")}.resolve(true)
	if err != nil || got.Deadline.Milliseconds() != 5 || got.Memory != 1<<20 || got.Queue != 7 || got.OnError != Deny || len(got.Params) != 1 {
		t.Errorf("got %+v, %v", got, err)
	}
	for file, want := range map[string]int{"bench.c": DefaultQueue, "order.c": DefaultVetoQueue} {
		if m := load(t, parse(t, file), LoadOptions{}); m.queue.most != want {
			t.Errorf("%s has a queue for %d events, want %d", file, m.queue.most, want)
		}
	}
}
