package bpf

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/procfs"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

var capture = flag.Bool("capture", false, "as root, replace testdata/*.rec and records.txt by what this kernel tells")

// wanted are the kinds that are captured: all that every kernel sends without
// long argvs and modules.
var wanted = []recordKind{
	recordClone, recordExec, recordUID, recordGID,
	recordExit, recordFree, recordCgroup, recordTask,
}

// The records in testdata were captured, but for the addresses in them. They
// are also what FuzzDecode begins with.
func TestGoldenRecords(t *testing.T) {
	const golden = "testdata/records.txt"
	if *capture {
		captureRecords(t)
	}
	files, err := filepath.Glob("testdata/*.rec")
	if err != nil || len(files) < len(wanted) {
		t.Fatalf("%d files, %v", len(files), err)
	}
	var text strings.Builder
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var r record
		if err := r.decode(b); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		fmt.Fprintf(&text, "%s: %s", filepath.Base(file), describe(&r))
	}
	if *capture {
		if err := os.WriteFile(golden, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if text.String() != string(want) {
		t.Errorf("the records say\n%s\nand not\n%s", text.String(), want)
	}
}

// describe returns all of a record in words.
func describe(r *record) string {
	return fmt.Sprintf("kind %d, flags %#x, pid %d, tid %d, ppid %d, lost %d, dropped %d, time %d, task %#x, start %d, val %d, creator %#x, cgroup %d, dir %#x\n"+
		"\tuid %v, gid %v, old %v, cause %v, comm %q, exe %q, cwd %q, argv %q at %d\n"+
		"\tutime %d, stime %d, runtime %d, maxrss %d, faults %d %d, switches %d %d, I/O %d %d\n",
		r.kind, r.flags, r.pid, r.tid, r.ppid, r.lost, r.dropped, r.timeNS, r.task, r.start, r.val, r.creator, r.cgroup, r.dir,
		r.uid, r.gid, r.old, r.cause, r.comm, appendPath(nil, r.exe), appendPath(nil, r.cwd), splitArgs(r.argv), r.argvOff,
		r.utime, r.stime, r.runtime, r.maxrss, r.minflt, r.majflt, r.nvcsw, r.nivcsw, r.readBytes, r.writeBytes)
}

// captureRecords writes one record of each kind that a small load causes.
func captureRecords(t *testing.T) {
	testutil.Root(t)
	cfg := Config{PID: os.Getpid()}
	if err := cfg.check(); err != nil {
		t.Fatal(err)
	}
	program := testutil.BuildC(t, "testdata/load.c")
	run := func(args ...string) *exec.Cmd {
		cmd := exec.Command(program, args...)
		cmd.Dir = "/" // names no place of ours
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	k, err := loadHalf(&cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer k.close()
	if _, err := k.watch(taskwatch.AllKinds, taskwatch.AllFields); err != nil {
		t.Fatal(err)
	}
	found := map[recordKind][]byte{}
	loads := map[uint64]bool{} // by address
	keep := func(b []byte) {
		var r record
		if err := r.decode(b); err != nil {
			t.Fatal(err)
		}
		if string(r.comm) == "load" {
			loads[r.task] = true
		}
		if (loads[r.task] || r.kind == recordCgroup) && found[r.kind] == nil {
			found[r.kind] = withoutAddresses(b, &r)
		}
	}
	stays := run("stay")
	eventually(t, "it runs", func() bool {
		var proc procfs.Reader
		argv, err := proc.Cmdline(stays.Process.Pid)
		return err == nil && argv[0] == program
	})
	if err := k.loadIter(); err != nil {
		t.Fatal(err)
	}
	it, err := k.iter.Open() // which also puts us into the tree
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	b, err := io.ReadAll(it)
	if err != nil {
		t.Fatal(err)
	}
	for len(b) > 0 {
		var r record
		if err := r.decode(b); err != nil {
			t.Fatal(err)
		}
		size := dataSize + len(r.exe) + len(r.cwd) + len(r.argv)
		keep(b[:size])
		b = b[size:]
	}
	stays.Process.Kill()
	_ = stays.Wait() // killed
	for _, args := range [][]string{{"exec", "1"}, {"ids", "2"}} {
		if err := run(args...).Wait(); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all kinds", func() bool {
		for b, _ := k.ring.Next(); b != nil; b, _ = k.ring.Next() {
			keep(b)
		}
		k.ring.Release()
		return !slices.ContainsFunc(wanted, func(k recordKind) bool { return found[k] == nil })
	})
	for _, kind := range wanted {
		if err := os.WriteFile(fmt.Sprintf("testdata/%d.rec", kind), found[kind], 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// withoutAddresses returns a copy of a record that names no place in the
// kernel's memory and has nothing behind what it says.
func withoutAddresses(b []byte, r *record) []byte {
	b = bytes.Clone(b[:r.kind.minSize(r.flags)+len(r.exe)+len(r.cwd)+len(r.argv)])
	for n, at := range []int{32, 56, 120} { // task, creator, and dir, which is made of some
		if at+8 <= r.kind.minSize(r.flags) && binary.NativeEndian.Uint64(b[at:]) != 0 {
			binary.NativeEndian.PutUint64(b[at:], uint64(0x1000*(n+1)))
		}
	}
	return b
}
