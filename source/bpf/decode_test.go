package bpf

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/cilium/ebpf/btf"

	"github.com/taskwatch/taskwatch"
)

// members returns the offsets of the members of a struct of c/record.h, in the
// object that is loaded, and its size.
func members(t *testing.T, name string) (map[string]uint32, int) {
	t.Helper()
	spec, err := loadStream()
	if err != nil {
		t.Fatal(err)
	}
	var s *btf.Struct
	if err := spec.Types.TypeByName(name, &s); err != nil {
		t.Fatal(err)
	}
	m := map[string]uint32{}
	for _, member := range s.Members {
		m[member.Name] = member.Offset.Bytes()
	}
	return m, int(s.Size)
}

func TestDecodeAgreesWithTheObject(t *testing.T) {
	rec, size := members(t, "tw_rec")
	if size != recSize {
		t.Fatalf("struct tw_rec has %d bytes, decode.go says %d", size, recSize)
	}
	if rec["creator"] != freeSize {
		t.Fatalf("a free has %d bytes, decode.go says %d", rec["creator"], freeSize)
	}
	exit, size := members(t, "tw_exit")
	if size != exitSize {
		t.Fatalf("struct tw_exit has %d bytes, decode.go says %d", size, exitSize)
	}
	ids, size := members(t, "tw_ids")
	if size != idsSize {
		t.Fatalf("struct tw_ids has %d bytes, decode.go says %d", size, idsSize)
	}
	data, size := members(t, "tw_data")
	if size != dataSize {
		t.Fatalf("struct tw_data has %d bytes, decode.go says %d", size, dataSize)
	}

	le := binary.NativeEndian
	b := make([]byte, 4096)
	le.PutUint16(b[rec["kind"]:], uint16(taskwatch.Exit))
	le.PutUint16(b[rec["flags"]:], uint16(flagGroup|flagNoIO))
	for i, f := range []string{"pid", "tid", "ppid", "lost", "dropped"} {
		le.PutUint32(b[rec[f]:], uint32(1+i))
	}
	for i, f := range []string{"time", "task", "start", "val", "creator", "cgroup"} {
		le.PutUint64(b[rec[f]:], uint64(11+i))
	}
	for i := range uint32(4) {
		le.PutUint32(b[rec["uid"]+4*i:], 21+i)
		le.PutUint32(b[rec["gid"]+4*i:], 31+i)
	}
	copy(b[rec["comm"]:], "a name\x00garbage")
	for i, f := range []string{"utime", "stime", "runtime", "maxrss", "minflt", "majflt", "nvcsw", "nivcsw", "read_bytes", "write_bytes"} {
		le.PutUint64(b[exit[f]:], uint64(41+i))
	}
	var got record
	if err := got.decode(b[:exitSize]); err != nil {
		t.Fatal(err)
	}
	want := record{
		kind: recordExit, flags: flagGroup | flagNoIO,
		pid: 1, tid: 2, ppid: 3, lost: 4, dropped: 5,
		timeNS: 11, task: 12, start: 13, val: 14, creator: 15, cgroup: 16,
		uid: taskwatch.IDs{21, 22, 23, 24}, gid: taskwatch.IDs{31, 32, 33, 34},
		utime: 41, stime: 42, runtime: 43, maxrss: 44, minflt: 45, majflt: 46, nvcsw: 47, nivcsw: 48, readBytes: 49, writeBytes: 50,
	}
	if comm := string(got.comm); comm != "a name" {
		t.Errorf("comm is %q", comm)
	}
	got.comm = nil
	if !equal(&got, &want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}

	le.PutUint16(b[rec["kind"]:], uint16(taskwatch.GID))
	for i := range uint32(4) {
		le.PutUint32(b[ids["old"]+4*i:], 51+i)
	}
	le.PutUint32(b[ids["cause"]:], uint32(taskwatch.CauseExec))
	if err := got.decode(b[:idsSize]); err != nil {
		t.Fatal(err)
	}
	if want := (taskwatch.IDs{51, 52, 53, 54}); got.old != want || got.cause != taskwatch.CauseExec {
		t.Errorf("old ids %v by %v, want %v by exec", got.old, got.cause, want)
	}

	le.PutUint16(b[rec["kind"]:], uint16(taskwatch.Exec))
	le.PutUint32(b[data["exe_len"]:], 3)
	le.PutUint32(b[data["cwd_len"]:], 4)
	le.PutUint32(b[data["argv_len"]:], 5)
	le.PutUint32(b[data["argv_off"]:], 6)
	copy(b[dataSize:], "exeqcwdargv!")
	if err := got.decode(b); err != nil {
		t.Fatal(err)
	}
	if string(got.exe) != "exe" || string(got.cwd) != "qcwd" || string(got.argv) != "argv!" || got.argvOff != 6 {
		t.Errorf("exe %q, cwd %q, argv %q at %d", got.exe, got.cwd, got.argv, got.argvOff)
	}
}

func equal(a, b *record) bool {
	x, y := *a, *b
	for _, r := range []*record{&x, &y} {
		r.comm, r.exe, r.cwd, r.argv = nil, nil, nil, nil
	}
	return bytes.Equal(a.comm, b.comm) && bytes.Equal(a.exe, b.exe) && bytes.Equal(a.cwd, b.cwd) && bytes.Equal(a.argv, b.argv) &&
		slices.Equal(x.uid[:], y.uid[:]) && slices.Equal(x.gid[:], y.gid[:]) &&
		[...]int{x.pid, x.tid, x.ppid, int(x.kind), int(x.flags)} == [...]int{y.pid, y.tid, y.ppid, int(y.kind), int(y.flags)} &&
		[...]uint64{x.task, x.creator, x.cgroup, x.val, x.maxrss, x.minflt, x.majflt, x.nvcsw, x.nivcsw, x.readBytes, x.writeBytes} ==
			[...]uint64{y.task, y.creator, y.cgroup, y.val, y.maxrss, y.minflt, y.majflt, y.nvcsw, y.nivcsw, y.readBytes, y.writeBytes} &&
		[...]int64{x.timeNS, x.start, x.utime, x.stime, x.runtime} == [...]int64{y.timeNS, y.start, y.utime, y.stime, y.runtime} &&
		x.lost == y.lost && x.dropped == y.dropped
}

// The words that Go and the programs share stand where Go thinks.
func TestControlAgreesWithTheObject(t *testing.T) {
	m, _ := members(t, "control")
	for name, word := range map[string]int{"kinds": controlKinds, "armed": controlArmed, "lost": controlLost, "dropped": controlDropped, "seed_tid": controlSeed, "killing": controlKilling, "named": controlNamed, "wanted": controlWanted} {
		if off, ok := m[name]; !ok || off != uint32(4*word) {
			t.Errorf("control.%s stands at %d, Go reads it at %d", name, off, 4*word)
		}
	}
	spec, err := loadStream()
	if err != nil {
		t.Fatal(err)
	}
	if bss := spec.Maps[".bss"]; bss == nil || len(spec.Variables) == 0 || spec.Variables[streamVarControl].Size() != bss.ValueSize {
		t.Error("control is not all there is in .bss, and so may not be at its start")
	}
}

func TestAppendPath(t *testing.T) {
	for names, want := range map[string]string{
		"":                     "/",
		"true\x00bin\x00":      "/bin/true",
		"a\x00":                "/a",
		"b c\x00\xff\x00d\x00": "/d/\xff/b c",
		"cut":                  "/cut",
	} {
		if got := string(appendPath([]byte("x"), []byte(names))); got != "x"+want {
			t.Errorf("%q: got %q, want %q", names, got, "x"+want)
		}
	}
}

func TestSplitArgs(t *testing.T) {
	for area, want := range map[string][]string{
		"":               {},
		"a\x00":          {"a"},
		"a\x00\x00b\x00": {"a", "", "b"},
		"a\x00cut":       {"a", "cut"},
		"\x00":           {""},
	} {
		if got := splitArgs([]byte(area)); !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", area, got, want)
		}
	}
}

func TestSplitCPU(t *testing.T) {
	for _, c := range []struct{ total, utime, stime, user, system int64 }{
		{100, 0, 0, 100, 0},
		{100, 4, 0, 100, 0},
		{100, 0, 4, 0, 100},
		{100, 1, 3, 25, 75},
		{math.MaxInt64 / 4, math.MaxInt64 / 4, math.MaxInt64 / 4, math.MaxInt64/4 - math.MaxInt64/8, math.MaxInt64 / 8},
	} {
		user, system := splitCPU(c.total, c.utime, c.stime)
		if user+system != c.total || math.Abs(float64(user-c.user)) > 1e-9*float64(c.total) {
			t.Errorf("%d by %d:%d: got %d and %d, want %d and %d", c.total, c.utime, c.stime, user, system, c.user, c.system)
		}
	}
}

func FuzzDecode(f *testing.F) {
	files, err := filepath.Glob("testdata/*.rec")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add(make([]byte, exitSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		var r record
		if err := r.decode(b); err != nil {
			return
		}
		if len(b) < r.kind.minSize(r.flags) || len(r.exe)+len(r.cwd)+len(r.argv) > len(b) {
			t.Fatalf("more was found in %d bytes than there is: %+v", len(b), r)
		}
		path := appendPath(nil, r.exe)
		if len(path) == 0 || path[0] != '/' || len(path) > len(r.exe)+1 {
			t.Fatalf("path %q of %q", path, r.exe)
		}
		n := 0
		for _, arg := range splitArgs(r.argv) {
			n += len(arg) + 1
		}
		if n != len(r.argv) && n != len(r.argv)+1 {
			t.Fatalf("arguments of %d bytes in an area of %d", n, len(r.argv))
		}
		if !bytes.Equal(b, before) {
			t.Fatal("decoding changed its input")
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	rec := make([]byte, exitSize)
	binary.NativeEndian.PutUint16(rec, uint16(taskwatch.Exit))
	var r record
	for b.Loop() {
		if err := r.decode(rec); err != nil {
			b.Fatal(err)
		}
	}
}
