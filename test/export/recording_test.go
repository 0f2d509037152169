package export

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/record"
)

func TestMain(m *testing.M) { testutil.Main(m) }

// The recording is of a build of bzip2 1.0.8 out of Debian's source package, by
//
//	taskwatch run --source ptrace -o bzip2.jsonl -- make -s -j2 CFLAGS=-O0 libbz2.a bzip2 bzip2recover

func recording(t *testing.T) []byte {
	t.Helper()
	f, err := os.Open("testdata/bzip2.jsonl.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	// All went well in it. Two processes are made to fail.
	for _, how := range []string{`"exit":{"code":2,"signal":0,`, `"exit":{"code":0,"signal":11,`} {
		const well = `"exit":{"code":0,"signal":0,`
		if !bytes.Contains(text, []byte(well)) {
			t.Fatal("no process of the recording ends well")
		}
		text = bytes.Replace(text, []byte(well), []byte(how), 1)
	}
	return text
}

// export has a sink take the recording.
func export(t *testing.T, sink taskwatch.Sink) {
	t.Helper()
	if err := exportError(t, sink); err != nil {
		t.Fatal(err)
	}
}

// take has a sink take the recording, and does not close it.
func take(t *testing.T, sink taskwatch.Sink) {
	t.Helper()
	r := record.NewReader(bytes.NewReader(recording(t)), "bzip2.jsonl")
	for {
		it, err := r.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		sink.Take(it)
	}
}

// exportError is export, and returns the error of the sink.
func exportError(t *testing.T, sink taskwatch.Sink) error {
	t.Helper()
	take(t, sink)
	return sink.Close(t.Context())
}

// line is what the tests read of a line by themselves.
type line struct {
	Event  string
	Val    uint64
	MonoNS int64 `json:"mono_ns"`
	Task   struct {
		PID, TID, PPID int
		Exe            string
		Argv           []string
	}
	Exit struct {
		Code, Signal int
		Group        bool
	}
	Rusage struct {
		UTime int64 `json:"utime_ns"`
		STime int64 `json:"stime_ns"`
	}
}

// lines returns the lines of the recording.
func lines(t *testing.T) (list []line) {
	t.Helper()
	in := bufio.NewScanner(bytes.NewReader(recording(t)))
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		var l line
		if err := json.Unmarshal(in.Bytes(), &l); err != nil {
			t.Fatal(err)
		}
		list = append(list, l)
	}
	return list
}

// span is a program of a process, as the lines tell it.
type span struct {
	pid        int
	exe        string // "" of a fork that has run nothing yet
	start, end int64
}

// truth is what the lines say, without any code of the exporters.
type truth struct {
	spans     []span
	processes int // that were born or seen first
	forks     int
	execs     int
	cpuNS     int64
	workNS    int64 // the time of processes without live children, added up
	most      int   // processes that lived at once
	ids       int   // changes of ids
	failed    int   // processes that ended with a failure
}

func truthOf(t *testing.T) truth {
	t.Helper()
	var tr truth
	type proc struct {
		span   span
		parent int
	}
	live := map[int]*proc{}
	children := map[int]int{}
	idle, last := 0, int64(0) // live processes without children
	count := func() {
		idle = 0
		for pid := range live {
			if children[pid] == 0 {
				idle++
			}
		}
	}
	for _, l := range lines(t) {
		if last > 0 {
			tr.workNS += int64(idle) * (max(l.MonoNS, last) - last)
		}
		last = max(last, l.MonoNS)
		switch l.Event {
		case "clone":
			if l.Task.PID != l.Task.TID {
				continue
			}
			tr.forks++
			live[l.Task.PID] = &proc{span{l.Task.PID, "", l.MonoNS, 0}, l.Task.PPID}
			children[l.Task.PPID]++
		case "exec":
			tr.execs++
			p := live[l.Task.PID]
			if p == nil {
				p = &proc{span{pid: l.Task.PID}, 0}
				live[l.Task.PID] = p
			} else {
				p.span.end = l.MonoNS
				tr.spans = append(tr.spans, p.span)
			}
			p.span = span{l.Task.PID, l.Task.Exe, l.MonoNS, 0}
		case "uid", "gid":
			tr.ids++
		case "exit":
			tr.cpuNS += l.Rusage.UTime + l.Rusage.STime
			if !l.Exit.Group {
				continue
			}
			if l.Exit.Code != 0 || l.Exit.Signal != 0 {
				tr.failed++
			}
			p := live[l.Task.PID]
			p.span.end = l.MonoNS
			tr.spans = append(tr.spans, p.span)
			delete(live, l.Task.PID)
			children[p.parent]--
		}
		count()
		tr.most = max(tr.most, len(live))
	}
	tr.processes = tr.forks + 1 // the command itself
	if len(live) != 0 || tr.execs == 0 || tr.cpuNS == 0 {
		t.Fatalf("the recording is not as expected: %d live, %+v", len(live), tr)
	}
	return tr
}
