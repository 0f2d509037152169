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
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

var capture = flag.Bool("capture", false, "as root, replace testdata/*.rec and records.txt by what this kernel tells")

// The records in testdata were captured, but for the addresses in them. They
// are also what FuzzDecode begins with.
func TestGoldenRecords(t *testing.T) {
	const golden = "testdata/records.txt"
	if *capture {
		captureRecords(t)
	}
	files, err := filepath.Glob("testdata/*.rec")
	if err != nil || len(files) < taskwatch.NumKinds {
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
	plain := *r
	plain.comm, plain.exe, plain.cwd, plain.argv = nil, nil, nil, nil
	return fmt.Sprintf("%+v\n\tcomm %q, exe %q, cwd %q, argv %q\n",
		plain, r.comm, appendPath(nil, r.exe), appendPath(nil, r.cwd), splitArgs(r.argv))
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
	if _, err := k.watch(taskwatch.AllKinds); err != nil {
		t.Fatal(err)
	}
	found := map[recordKind][]byte{}
	keep := func(b []byte) {
		var r record
		if err := r.decode(b); err != nil {
			t.Fatal(err)
		}
		if string(r.comm) == "load" && found[r.kind] == nil || r.kind == recordCgroup {
			found[r.kind] = withoutAddresses(b, &r)
		}
	}
	stays := run("stay")
	eventually(t, "it runs", func() bool {
		argv, ok := readArgv(stays.Process.Pid, 0)
		return ok && argv[0] == program
	})
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
	eventually(t, "all kinds but long argvs and what modules send", func() bool {
		for b, _ := k.ring.Next(); b != nil; b, _ = k.ring.Next() {
			keep(b)
		}
		k.ring.Release()
		return len(found) == int(numRecordKinds)-3
	})
	for kind, b := range found {
		if err := os.WriteFile(fmt.Sprintf("testdata/%d.rec", kind), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// withoutAddresses returns a copy of a record that names no place in the
// kernel's memory and has nothing behind what it says.
func withoutAddresses(b []byte, r *record) []byte {
	b = bytes.Clone(b[:r.kind.minSize()+len(r.exe)+len(r.cwd)+len(r.argv)])
	for n, at := range []int{32, 48} { // task and creator
		if binary.NativeEndian.Uint64(b[at:]) != 0 {
			binary.NativeEndian.PutUint64(b[at:], uint64(0x1000*(n+1)))
		}
	}
	return b
}
