package record

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

func mustID(t testing.TB, s string) taskwatch.TaskID {
	t.Helper()
	id, err := taskwatch.ParseTaskID(s)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// sample is the event of the design's example.
func sample(t testing.TB) *taskwatch.Event {
	return &taskwatch.Event{
		Kind: taskwatch.Exec, Seq: 812, MonoNS: 5411692016, Source: "bpf",
		Time: time.Date(2026, 11, 23, 16, 30, 49, 123456789, time.UTC),
		Task: &taskwatch.Task{
			ID: mustID(t, "2k7f-a1"), ParentID: mustID(t, "2k7f-9a"), PID: 161, TID: 161, PPID: 154,
			StartNS: 5411600000, Comm: "true", Exe: "/usr/bin/true", Argv: []string{"true"}, Cwd: "/srv",
			Cgroup: "/user.slice",
		},
		OldExe: "/usr/bin/bash",
	}
}

// The lines of the design, unfolded. What it elides with "..." is facts.
const (
	facts = `"seq":812,"time":"2026-11-23T16:30:49.123456789Z","mono_ns":5411692016,` +
		`"source":"bpf","task":{"id":"2k7f-a1","parent_id":"2k7f-9a","pid":161,"tid":161,"ppid":154,` +
		`"start_ns":5411600000,"comm":"true",` +
		`"exe":"/usr/bin/true","argv":["true"],"cwd":"/srv","uid":[0,0,0,0],"gid":[0,0,0,0],` +
		`"cgroup":"/user.slice"}`
	execLine = `{"event":"exec","val":0,` + facts + `,"old_exe":"/usr/bin/bash"}`
	uidLine  = `{"event":"uid","val":0,` + facts + `,"old":{"uid":[0,0,0,0]},"cause":"syscall"}`
	gidLine  = `{"event":"gid","val":0,` + facts + `,"old":{"gid":[5,6,7,8]},"cause":"exec"}`
	exitLine = `{"event":"exit","val":256,` + facts + `,"exit":{"code":1,"signal":0,"core":false,"group":true},` +
		`"rusage":{"utime_ns":0,"stime_ns":812000,"maxrss_bytes":1372160,"minflt":80,"majflt":0,"nvcsw":1,"nivcsw":0,"read_bytes":0,"write_bytes":0}}`
	freeLine = `{"event":"free","val":256,` + facts + `,"lifetime_ns":92016000,"inferred":true}`
	initLine = `{"event":"init","val":17,"seq":812,"time":"2026-11-23T16:30:49.123456789Z","mono_ns":5411692016,` +
		`"source":"bpf","task":{"id":"2k7f-a1","parent_id":"2k7f-9a","ppid":154,"comm":"true",` +
		`"exe":"/usr/bin/true","argv":["true","x"],"argv_cut":true,"cwd":"/srv","uid":[0,0,0,0],"gid":[0,0,0,0]},"missing":["cgroup"]}`
	lostLine    = `{"event":"lost","count":17,"seq":900}`
	unknownLoss = `{"event":"lost","seq":900}`
	errorLine   = `{"event":"error","on":"exec","module":"guard","watcher":"main.deny","errno":1,"errno_name":"EPERM",` +
		`"message":"operation not permitted","veto":true,"val":0,` + facts + `,"old_exe":"/usr/bin/bash"}`
	kernelErrorLine = `{"event":"error","on":"exec","module":"guard","watcher":"deny","errno":1,"errno_name":"EPERM",` +
		`"message":"operation not permitted","veto":true,"val":0,"task":{"pid":7,"comm":"sh"},"old_exe":"/usr/bin/bash",` +
		`"missing":["parent_id","tid","ppid","start_ns","exe","argv","cwd","uid","gid","cgroup"]}`
	emitLine = `{"event":"emit","module":"sample","data":"00ff2a","time":"2026-11-23T16:30:49.123456789Z","mono_ns":5411692016,` +
		`"source":"bpf","task":{"id":"2k7f-a1","parent_id":"2k7f-9a","pid":161,"tid":161,"ppid":154,` +
		`"start_ns":5411600000,"comm":"true","exe":"/usr/bin/true","cwd":"/srv","uid":[0,0,0,0],"gid":[0,0,0,0]},` +
		`"missing":["argv","cgroup"]}`
	jsonEmitLine = `{"event":"emit","module":"sample","json":{"path":"/ä\n","n":[1,2.50]},` +
		`"missing":["parent_id","pid","tid","ppid","start_ns","comm","exe","argv","cwd","uid","gid","cgroup"]}`
	bareEmitLine = `{"event":"emit","module":"sample","data":"",` +
		`"missing":["parent_id","pid","tid","ppid","start_ns","comm","exe","argv","cwd","uid","gid","cgroup"]}`
)

// goldens pairs the lines with what they say.
func goldens(t testing.TB) map[string]taskwatch.Item {
	uid, gid, exit, free, early := sample(t), sample(t), sample(t), sample(t), sample(t)
	for _, ev := range []*taskwatch.Event{uid, gid, exit, free, early} {
		ev.OldExe = ""
	}
	uid.Kind, uid.Cause = taskwatch.UID, taskwatch.CauseSyscall
	gid.Kind, gid.Cause, gid.OldIDs = taskwatch.GID, taskwatch.CauseExec, taskwatch.IDs{5, 6, 7, 8}
	exit.Kind, exit.Val = taskwatch.Exit, 256
	exit.Exit = taskwatch.DecodeExit(256)
	exit.Exit.Group = true
	exit.Rusage = taskwatch.Rusage{STimeNS: 812000, MaxRSS: 1372160, MinFlt: 80, NVCSw: 1}
	free.Kind, free.Val, free.LifetimeNS, free.Inferred = taskwatch.Free, 256, 92016000, true
	early.Kind, early.Val, early.Missing = taskwatch.Init, 17, taskwatch.FieldCgroup
	early.Task.PID, early.Task.TID, early.Task.StartNS, early.Task.Cgroup = 0, 0, 0, ""
	early.Task.Argv, early.Task.ArgvCut = []string{"true", "x"}, true
	emitter := sample(t)
	emitter.Task.Argv, emitter.Task.Cgroup = nil, ""
	denied := &Error{Errno: 1, Name: "EPERM", Message: "operation not permitted"}
	return map[string]taskwatch.Item{
		kernelErrorLine: {Failure: &taskwatch.Failure{Module: "guard", Watcher: "deny", Kind: taskwatch.Exec, Err: denied,
			Verdict: taskwatch.Denied, Event: &taskwatch.Event{
				Kind: taskwatch.Exec, Task: &taskwatch.Task{PID: 7, Comm: "sh"}, OldExe: "/usr/bin/bash",
				Missing: taskwatch.FieldsTask &^ taskwatch.FieldPID &^ taskwatch.FieldComm,
			}}},
		emitLine: {Record: &taskwatch.Record{Module: "sample", Data: []byte{0, 255, 42}, Time: emitter.Time, MonoNS: emitter.MonoNS,
			Source: "bpf", Task: emitter.Task, Missing: taskwatch.FieldArgv | taskwatch.FieldCgroup}},
		bareEmitLine: {Record: &taskwatch.Record{Module: "sample", Data: []byte{}, Missing: taskwatch.FieldsTask}},
		jsonEmitLine: {Record: &taskwatch.Record{Module: "sample", Data: []byte(`{"path":"/ä\n","n":[1,2.50]}`), Missing: taskwatch.FieldsTask}},
		execLine:     {Event: sample(t)},
		uidLine:      {Event: uid},
		gidLine:      {Event: gid},
		exitLine:     {Event: exit},
		freeLine:     {Event: free},
		initLine:     {Event: early},
		lostLine:     {Loss: &taskwatch.Loss{Count: 17, Seq: 900}},
		unknownLoss:  {Loss: &taskwatch.Loss{Seq: 900}},
		errorLine: {Failure: &taskwatch.Failure{Module: "guard", Watcher: "main.deny", Kind: taskwatch.Exec, Err: denied,
			Verdict: taskwatch.Denied, Event: sample(t)}},
	}
}

func TestGoldenLines(t *testing.T) {
	for text, line := range goldens(t) {
		if got := string(Append(nil, line)); got != text+"\n" {
			t.Errorf("encoded\n%swant\n%s", got, text)
		}
		got, err := Decode([]byte(text))
		if err != nil {
			t.Errorf("%v\nin %s", err, text)
		} else if !reflect.DeepEqual(got, line) {
			t.Errorf("decoded %+v\nwant %+v\nfrom %s", got, line, text)
		}
	}
}

func TestDesignSampleWithoutOldExe(t *testing.T) {
	// The design's exec line leaves old_exe out, so it is unknown.
	want := sample(t)
	want.OldExe, want.Missing = "", taskwatch.FieldOldExe
	got, err := Decode([]byte(strings.Replace(execLine, `,"old_exe":"/usr/bin/bash"`, "", 1)))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got.Event, want) {
		t.Errorf("decoded %+v\nwant %+v", got.Event, want)
	}
}

func TestMissingFieldsAreNotWritten(t *testing.T) {
	for k := range taskwatch.Kind(taskwatch.NumKinds) {
		all := taskwatch.FieldsOf(k)
		for rest := all; rest != 0; rest &= rest - 1 {
			field := rest & -rest
			ev := sample(t)
			ev.Kind, ev.Missing = k, field|^(all|taskwatch.OptionalOf(k)) // what is none of the event's cannot be missing from it
			l, err := Decode(Append(nil, taskwatch.Item{Event: ev}))
			if err != nil {
				t.Fatal(err)
			}
			if l.Event.Missing != field {
				t.Errorf("%s without %s: read back without %s", k, field, l.Event.Missing)
			}
		}
	}
}

func TestUnseenParentIsNotMissing(t *testing.T) {
	ev := sample(t)
	ev.Task.ParentID = taskwatch.TaskID{}
	text := Append(nil, taskwatch.Item{Event: ev})
	if !strings.Contains(string(text), `"parent_id":""`) {
		t.Errorf("encoded %s", text)
	}
	l, err := Decode(text)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(l.Event, ev) {
		t.Errorf("decoded %+v, want %+v", l.Event, ev)
	}
}

func TestAppendDoesNotAllocate(t *testing.T) {
	for text, line := range goldens(t) {
		if testutil.Race && strings.Contains(text, `"json":`) {
			continue // encoding/json takes from a sync.Pool
		}
		buf := make([]byte, 0, 4096)
		if n := testing.AllocsPerRun(100, func() { buf = Append(buf[:0], line) }); n != 0 {
			t.Errorf("%v allocations for %s", n, text)
		}
	}
	ev := sample(t)
	ev.Missing = taskwatch.FieldsOf(taskwatch.Exec) &^ taskwatch.FieldArgv
	ev.Task.Argv = pieces
	ev.Time = ev.Time.In(time.FixedZone("", 3600))
	buf := make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(100, func() { buf = Append(buf[:0], taskwatch.Item{Event: ev}) }); n != 0 {
		t.Errorf("%v allocations for an event with missing fields, bytes and a time zone", n)
	}
}

func TestTimesAreUTC(t *testing.T) {
	ev := sample(t)
	ev.Time = ev.Time.In(time.FixedZone("", -7*3600))
	if got := string(Append(nil, taskwatch.Item{Event: ev})); got != execLine+"\n" {
		t.Errorf("encoded %s", got)
	}
}

// What a failure is recorded as, and that it is recorded again as the same.
func TestFailures(t *testing.T) {
	ev := sample(t)
	both, plain := errors.Join(errors.New("no"), syscall.EACCES), errors.New("no")
	for _, c := range []struct {
		name    string
		failure taskwatch.Failure
		want    string
	}{
		{"denied with an errno", taskwatch.Failure{Err: both, Verdict: taskwatch.Denied, Event: ev},
			`"errno":13,"errno_name":"EACCES","message":"no\npermission denied","veto":true,"val"`},
		{"denied without an errno fails with EPERM", taskwatch.Failure{Err: plain, Verdict: taskwatch.Denied, Event: ev},
			`"errno":1,"errno_name":"EPERM","message":"no","veto":true,"val"`},
		{"dry run", taskwatch.Failure{Err: plain, Verdict: taskwatch.WouldDeny, Event: ev},
			`"errno":1,"errno_name":"EPERM","message":"no","dry_run":true,"val"`},
		{"counted", taskwatch.Failure{Err: plain, Event: ev}, `"w","message":"no","val"`},
		{"counted, with an errno", taskwatch.Failure{Err: both, Event: ev},
			`"errno":13,"errno_name":"EACCES","message":"no\npermission denied","val"`},
		{"crash", taskwatch.Failure{Err: errors.New("panic: boom"), Crash: true, Panic: "boom", Event: ev},
			`"w","message":"panic: boom","panic":true,"val"`},
		{"no event", taskwatch.Failure{Err: plain, Verdict: taskwatch.Denied}, `"veto":true,"missing":["val"`},
	} {
		f := c.failure
		f.Module, f.Watcher, f.Kind = "m", "w", taskwatch.Exec
		line := Append(nil, taskwatch.Item{Failure: &f})
		if !strings.Contains(string(line), c.want) {
			t.Errorf("%s: recorded as %s, which lacks %s", c.name, line, c.want)
		}
		back, err := Decode(line)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		} else if again := Append(nil, back); !bytes.Equal(again, line) {
			t.Errorf("%s: recorded again as %s, want %s", c.name, again, line)
		}
	}
}

func TestUnknownFieldsAreIgnored(t *testing.T) {
	text := strings.Replace(execLine, `"val":0`, `"colour":{"deep":[1,2]},"val":0`, 1)
	text = strings.Replace(text, `"comm"`, `"mood":null,"comm"`, 1)
	text = strings.TrimSuffix(text, "}") + `,"missing":["mood"]}`
	got, err := Decode([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if want := sample(t); !reflect.DeepEqual(got.Event, want) {
		t.Errorf("decoded %+v, want %+v", got.Event, want)
	}
}

func TestTimesAreWrittenAsTheLibraryDoes(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	times := []time.Time{{}, time.Unix(0, 0), time.Unix(0, 999_999_999), time.Date(9999, 12, 31, 23, 59, 59, 1, time.UTC),
		time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC),
		time.Date(2024, 2, 29, 12, 0, 0, 0, time.FixedZone("east", 5*3600))}
	for range 10000 {
		times = append(times, time.Unix(r.Int64N(4e9)-1e9, r.Int64N(1e9)))
	}
	for _, at := range times {
		if got, want := string(appendTime(nil, at)), at.UTC().Format(timeLayout); got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
	}
}

// Recordings of former versions are read as they always were.
func TestRecordingsOfFormat1(t *testing.T) {
	files, err := filepath.Glob("testdata/format1-*.jsonl")
	if err != nil || len(files) < 2 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var again []byte
		in := NewReader(bytes.NewReader(b), file)
		for {
			it, err := in.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			again = Append(again, it)
		}
		if !bytes.Equal(again, b) {
			t.Errorf("%s: read and written again it is\n%s", file, again)
		}
	}
}
