package record

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/taskwatch/taskwatch"
)

// badLines pairs what cannot be used with words that the error must have.
var badLines = []struct{ text, reason, remedy string }{
	{`hello`, "not JSON", "taskwatch run -f json"},
	{`16:30:49.123 exec 161 true`, "not JSON", "taskwatch run -f json"},
	{`{"event":"exec"} x`, "not JSON, at byte 18", ""},
	{`{"event":"exec"]`, "not JSON, at byte 16", ""},
	{`{`, "does not end", "jq -c ."},
	{`[{"event":"lost"}]`, "JSON array", "jq -c '.[]'"},
	{`"exec"`, "the line is a JSON string, where an object belongs", ""},
	{`{"event":"emit","data":"4"}`, `data is "4", not bytes in hexadecimal`, ""},
	{`{"event":"emit","data":"00","time":"noon"}`, `time is "noon"`, ""},
	{`{"event":"emit","task":{"id":"x"}}`, `task.id is "x"`, ""},
	{`null`, `no "event"`, ""},
	{`{}`, `no "event"`, ""},
	{"\x1f\x8b\x08\x00", "compressed", "decompress"},
	{"\x28\xb5\x2f\xfd\x00", "compressed", "decompress"},
	{"{\"event\":\"\xff\"}", "not valid UTF-8", ""},
	{`{"event":7}`, "event is a JSON number, where a string belongs", ""},
	{`{"event":"reboot"}`, `"event" is "reboot"`, "version"},
	{`{"event":"error","on":"lost"}`, `"on" is "lost"`, "version"},
	{`{"event":"exec"}`, `no "task"`, "task.id"},
	{`{"event":"exec","task":{"pid":1}}`, `no "task" with an "id"`, "task.id"},
	{`{"event":"exec","task":{"id":"1"}}`, "task.id", ""},
	{`{"event":"exec","task":{"id":"1-1","parent_id":"x"}}`, "task.parent_id", ""},
	{`{"event":"exec","task":{"id":"1-1","pid":99999999999}}`, "task.pid", ""},
	{`{"event":"exec","task":{"id":"1-1","uid":[1,2,3]}}`, "task.uid has 3 ids", "[real, effective, saved, fs]"},
	{`{"event":"exec","task":{"id":"1-1","gid":[1,2,3,4,5]}}`, "task.gid has 5 ids", ""},
	{`{"event":"exec","task":{"id":"1-1","gid":[1,2,3,-4]}}`, "task.gid", ""},
	{`{"event":"gid","task":{"id":"1-1"},"old":{"gid":[]}}`, "old.gid has 0 ids", ""},
	{`{"event":"uid","task":{"id":"1-1"},"cause":"magic"}`, `cause is "magic"`, ""},
	{`{"event":"exec","time":"yesterday","task":{"id":"1-1"}}`, `time is "yesterday"`, ""},
	{`{"event":"exec","time":"9999-12-31T23:59:59-23:00","task":{"id":"1-1"}}`, "year", ""},
	{`{"event":"exec","seq":-1,"task":{"id":"1-1"}}`, "seq is a JSON number -1", ""},
	{`{"event":"exec","seq":1.5,"task":{"id":"1-1"}}`, "seq is a JSON number 1.5", ""},
	{`{"event":"exec","task":{"id":"1-1","argv":"x"}}`, "task.argv is a JSON string, where a list belongs", ""},
	{`{"event":"exec","task":{"id":"1-1","uid":[1,null,1,1]}}`, "null stands in a list of numbers", ""},
	{`{"event":"exec","task":{"id":"1-1","groups":[null]}}`, "null stands in a list of numbers", ""},
	{`{"event":"exec","task":{"id":"1-1","caps":{"effective":"0x1f"}}}`, `a mask is "0x1f"`, ""},
	{`{"event":"start","format":3,"command":"make","events":[]}`, "the recording is of format 3", "version"},
	{`{"event":"start","format":1e300}`, "the recording is of format 1e300", "version"},
	{`{"event":"start","format":"3"}`, "format is a JSON string, where a whole number", ""},
	{"\xfd7zXZ\x00\x00", "compressed", "decompress"},
	{"BZh91AY&SY\xa0", "compressed", "decompress"},
	{"\x00\x00\x00", "not JSON", ""},
	{strings.Repeat(`{"a":`, 20000), "depth", ""},
}

func TestBadLines(t *testing.T) {
	for _, c := range badLines {
		in := NewReader(strings.NewReader(lostLine+"\n\n"+c.text+"\n"+lostLine+"\n"), "x.jsonl")
		if _, err := in.Next(); err != nil {
			t.Fatalf("the good line before %q: %v", c.text, err)
		}
		_, err := in.Next()
		var syntax *SyntaxError
		if !errors.As(err, &syntax) {
			t.Errorf("%.80q: error %v, want a *SyntaxError", c.text, err)
			continue
		}
		if syntax.File != "x.jsonl" || syntax.Line != 3 {
			t.Errorf("%.80q: file %q line %d", c.text, syntax.File, syntax.Line)
		}
		if strings.Contains(syntax.Reason, "record:") || !strings.Contains(syntax.Reason, c.reason) || !strings.Contains(syntax.Remedy, c.remedy) {
			t.Errorf("%.80q: reason %q and remedy %q, want %q and %q", c.text, syntax.Reason, syntax.Remedy, c.reason, c.remedy)
		}
		for _, part := range []string{`"x.jsonl"`, "line 3", syntax.Reason, syntax.Remedy} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q does not say %q", err, part)
			}
		}
		if _, again := in.Next(); again != err {
			t.Errorf("%.80q: the next error is %v", c.text, again)
		}
	}
}

func TestCutRecording(t *testing.T) {
	// Wherever a recorder was stopped, what it had finished is good.
	last := strings.Replace(execLine, `"argv":["true"]`, `"argv":["é🎉"]`, 1)
	for i := range 2 * len(last) {
		cut, behind := i/2, ""
		if i%2 == 1 {
			behind = "\x00\x00\x00" // the machine went down
		}
		in := NewReader(iotest.HalfReader(strings.NewReader(exitLine+"\n"+last[:cut]+behind)), "x.jsonl")
		if _, err := in.Next(); err != nil {
			t.Fatalf("cut at %d: the whole line: %v", cut, err)
		}
		_, err := in.Next()
		if cut == 0 {
			if err != io.EOF {
				t.Errorf("cut between lines: %v", err)
			}
			continue
		}
		var syntax *SyntaxError
		if !errors.As(err, &syntax) || syntax.Line != 2 || !strings.Contains(syntax.Reason, "ends in the middle") {
			t.Errorf("cut at %d: %v", cut, err)
		}
	}
	for _, cut := range []int{strings.Index(last, "é") + 1, strings.Index(last, "🎉") + 3} { // inside a character
		_, err := NewReader(strings.NewReader(last[:cut]), "x.jsonl").Next()
		if err == nil || !strings.Contains(err.Error(), "ends in the middle") {
			t.Errorf("cut at byte %d: %v", cut, err)
		}
	}
}

func TestReaderForms(t *testing.T) {
	for name, text := range map[string]string{
		"as written":       execLine + "\n" + lostLine + "\n",
		"no last newline":  execLine + "\n" + lostLine,
		"DOS line ends":    execLine + "\r\n" + lostLine + "\r\n",
		"empty lines":      "\n \n" + execLine + "\n\n\n" + lostLine + "\n \t ",
		"spaces":           " " + execLine + " \n\t" + lostLine + "\n",
		"byte order mark":  "\ufeff" + execLine + "\n" + lostLine + "\n",
		"one byte a read ": execLine + "\n" + lostLine + "\n",
	} {
		in := NewReader(iotest.OneByteReader(strings.NewReader(text)), "x.jsonl")
		first, err := in.Next()
		if err != nil || !reflect.DeepEqual(first.Event, sample(t)) {
			t.Errorf("%s: first line %+v, %v", name, first, err)
		}
		second, err := in.Next()
		if err != nil || second.Loss == nil {
			t.Errorf("%s: second line %+v, %v", name, second, err)
		}
		if _, err := in.Next(); err != io.EOF {
			t.Errorf("%s: end: %v", name, err)
		}
	}
	if _, err := NewReader(strings.NewReader(""), "empty").Next(); err != io.EOF {
		t.Errorf("empty file: %v", err)
	}
}

func TestLinesOfAnyLength(t *testing.T) {
	ev := sample(t)
	for n := 1; n < 1<<20; n *= 3 {
		ev.Task.Argv = append(ev.Task.Argv, strings.Repeat("\xff", n))
	}
	text := Append(nil, taskwatch.Item{Event: ev})
	in := NewReader(bytes.NewReader(append(bytes.Clone(text), text...)), "x.jsonl")
	for range 2 {
		l, err := in.Next()
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(l.Event, ev) {
			t.Fatal("a long line is not read back as it was written")
		}
	}
}

// endless gives the same byte for ever.
type endless byte

func (e endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(e)
	}
	return len(p), nil
}

func TestEndlessLine(t *testing.T) {
	_, err := NewReader(endless('x'), "/dev/zero").Next()
	var syntax *SyntaxError
	if !errors.As(err, &syntax) || syntax.Line != 1 || !strings.Contains(syntax.Reason, "longer than") {
		t.Errorf("%v", err)
	}
}

func TestReadError(t *testing.T) {
	cause := errors.New("the disk is on fire")
	in := NewReader(io.MultiReader(strings.NewReader(lostLine+"\n"+execLine), iotest.ErrReader(cause)), "x.jsonl")
	if _, err := in.Next(); err != nil {
		t.Fatal(err)
	}
	_, err := in.Next()
	if !errors.Is(err, cause) || !strings.Contains(err.Error(), `"x.jsonl": line 2`) {
		t.Errorf("%v", err)
	}
}

// A start tells of its run, an end that nothing is lacking; a reader says where
// a recording has none, also where another goes on behind half a line.
func TestRecordingsSayWhereTheyEnd(t *testing.T) {
	start := &taskwatch.Start{
		Time: time.Unix(5, 6).UTC(), MonoNS: 7, Host: "h\x80st", Machine: "m", Boot: "b", Kernel: "Linux 6", TimeZone: "Europe/Berlin",
		Source: "bpf", Scope: "the machine", Command: []string{"make", "", "\x80"},
		Events: [taskwatch.NumKinds]taskwatch.StartEvent{
			taskwatch.Exec: {Delivered: true, Veto: true, Missing: taskwatch.FieldCgroup, MayMiss: taskwatch.FieldExe | taskwatch.FieldCgroupID, Hook: "h"},
			taskwatch.Free: {Why: "not"},
		},
	}
	failed := &taskwatch.FailedExec{Path: "/no\x80ne", Argv: []string{"a", "b"}, ArgvCut: true, Errno: syscall.ENOENT, Seq: 4, Time: time.Unix(8, 9).UTC(),
		Source: "ptrace", Task: &taskwatch.Task{PID: 5, TID: 6}, Missing: taskwatch.FieldsTask &^ (taskwatch.FieldPID | taskwatch.FieldTID)}
	var b bytes.Buffer
	w := NewWriter(&b, taskwatch.WantAll(taskwatch.AllKinds), WithStart(start))
	w.Take(taskwatch.Item{Failed: failed})
	if err := w.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	whole := b.String()
	lines := strings.SplitAfter(whole, "\n")
	if len(lines) != 4 {
		t.Fatalf("it is\n%s", whole)
	}
	for _, c := range []struct {
		name, text string
		want       []EarlyEnd
		losses     int
	}{
		{"a whole one", whole, nil, 0},
		{"two whole ones", whole + whole, nil, 0},
		{"an empty line behind it", whole + "\n", nil, 0},
		{"no start, as a filter may leave it", lines[1], nil, 0},
		{"no end", lines[0] + lines[1], []EarlyEnd{{Line: 2}}, 0},
		{"no end, for the machine went down", lines[0] + lines[1] + "\x00\x00", []EarlyEnd{{Line: 2}}, 0},
		{"the machine went down, and another one", lines[0] + lines[1][:20] + "\x00\x00\n" + whole, []EarlyEnd{{Line: 2, Partial: true, More: true}}, 1},
		{"a start alone", lines[0], []EarlyEnd{{Line: 1}}, 0},
		{"no end, and another one", lines[0] + lines[1] + whole, []EarlyEnd{{Line: 2, More: true}}, 0},
		{"cut off, and another one", lines[0] + lines[1][:20] + "\n" + whole, []EarlyEnd{{Line: 2, Partial: true, More: true}}, 1},
		{"a line of the future", lines[0] + `{"event":"weather","optional":true,"rain":[]}` + "\n" + lines[1] + lines[2], nil, 0},
	} {
		r := NewReader(strings.NewReader(c.text), c.name)
		losses := 0
		for {
			it, err := r.Next()
			if err == io.EOF {
				break
			}
			switch {
			case err != nil:
				t.Fatalf("%s: %v", c.name, err)
			case it.Start != nil:
				it.Start.AfterEnd = false // see TestRunsStayWhole
				if !reflect.DeepEqual(it.Start, start) {
					t.Errorf("%s: start %+v", c.name, it.Start)
				}
			case it.Failed != nil && !reflect.DeepEqual(it.Failed, failed):
				t.Errorf("%s: failed exec %+v", c.name, it.Failed)
			case it.Loss != nil:
				losses++
				if it.Loss.Seq != 1 { // the first one of its run
					t.Errorf("%s: a loss at %d", c.name, it.Loss.Seq)
				}
			}
		}
		if got := r.EarlyEnds(); !slices.Equal(got, c.want) || losses != c.losses {
			t.Errorf("%s: ends early at %v, with %d losses", c.name, got, losses)
		}
	}
	for _, bad := range []string{
		`{"event":"weather"}`,                   // not known, and not optional
		`{"event":"start","format":3}`,          // of the future
		`{"event":"start"}`,                     //
		`{"event":"exec","optional":true}`,      // known: it has to be right
		`{"event":"weather","optional":"true"}`, //
	} {
		if it, err := Decode([]byte(bad)); err == nil {
			t.Errorf("%s is %+v", bad, it)
		}
	}
}

// A whole line that cannot be used is an error also where a start is next: only
// what was cut off may be left out, and is said to be lost.
func TestWholeLinesAreNotLeftOut(t *testing.T) {
	start := string(Append(nil, taskwatch.Item{Start: &taskwatch.Start{Host: "h"}}))
	for _, c := range badLines {
		whole := json.Valid([]byte(c.text))
		r := NewReader(strings.NewReader(start+c.text+"\n"+start), "x.jsonl")
		var err error
		for err == nil {
			_, err = r.Next()
		}
		var syntax *SyntaxError
		if said := errors.As(err, &syntax) && syntax.Line == 2; said != whole || !whole && err != io.EOF {
			t.Errorf("%.80q before a start: %v", c.text, err)
		}
	}
}

// Runs that are complete are so in a recording of their replay too, and the
// others are not.
func TestRunsStayWhole(t *testing.T) {
	start := string(Append(nil, taskwatch.Item{Start: &taskwatch.Start{Host: "h"}}))
	cut, whole := start+execLine+"\n", start+execLine+"\n"+string(AppendEnd(nil))
	for _, text := range []string{whole, cut, whole + whole, cut + whole, whole + cut, cut + cut, whole + whole + cut + whole} {
		var b bytes.Buffer
		w := NewWriter(&b, taskwatch.WantAll(taskwatch.AllKinds))
		r := NewReader(strings.NewReader(text), "x.jsonl")
		for {
			it, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			w.Take(it)
		}
		if early := r.EarlyEnds(); len(early) > 0 && !early[len(early)-1].More {
			w.Incomplete()
		}
		if err := w.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if b.String() != text {
			t.Errorf("read and written again it is\n%s, and was\n%s", b.String(), text)
		}
	}
}

// values are one of each type that JSON has.
var values = []string{`"x"`, `7`, `-7.5`, `1e400`, `true`, `null`, `[]`, `[null]`, `[{}]`, `{}`, `{"exec":[]}`}

// A newer recorder may use any name for something else: a line that it marks as
// optional is skipped all the same, and a start of a newer format says just that.
func TestLinesOfNewerRecorders(t *testing.T) {
	for _, m := range members(reflect.TypeFor[rawLine](), nil) {
		name := m.path[0]
		if name == "event" || name == "optional" {
			continue
		}
		for _, v := range values {
			for _, event := range []string{"weather", endName} {
				line := fmt.Sprintf(`{"event":%q,"optional":true,%q:%s}`, event, name, v)
				it, end, err := decode([]byte(line))
				if it != (taskwatch.Item{}) || end != (event == endName) || err != nil {
					t.Errorf("%s: %+v, end %t, %v", line, it, end, err)
				}
			}
			if name == "format" {
				continue
			}
			line := fmt.Sprintf(`{"event":"start","format":3,%q:%s}`, name, v)
			if _, err := Decode([]byte(line)); err == nil || !strings.Contains(err.Error(), "format 3") {
				t.Errorf("%s: %v", line, err)
			}
		}
	}
}

// An error says what belongs in the place of what is there.
func TestErrorsSayWhatBelongsThere(t *testing.T) {
	for _, m := range members(reflect.TypeFor[rawLine](), nil) {
		wrong, want := `"x"`, ""
		switch m.typ.Kind() {
		case reflect.String:
			wrong, want = "7", "a string"
		case reflect.Bool:
			want = "true or false"
		case reflect.Slice:
			want = "a list"
		case reflect.Struct, reflect.Map:
			want = "an object"
		case reflect.Uint16, reflect.Uint32, reflect.Uint64:
			want = "a whole number from 0 on"
		default:
			want = "a whole number ("
		}
		if m.typ == reflect.TypeFor[rawMask]() {
			wrong, want = "7", "a string"
		}
		line := wrong
		for _, key := range slices.Backward(m.path) {
			line = fmt.Sprintf("{%q:%s}", key, line)
		}
		_, err := Decode([]byte(line))
		where := strings.Join(m.path, ".") + " is a JSON "
		if err == nil || !strings.Contains(err.Error(), where) || !strings.Contains(err.Error(), ", where "+want) {
			t.Errorf("%s: %v, want %q and %q", line, err, where, want)
		}
	}
}

// aMember is something that a line may have.
type aMember struct {
	path []string
	typ  reflect.Type
}

// members returns what a line may have, and what that may have.
func members(typ reflect.Type, path []string) (list []aMember) {
	for f := range typ.Fields() {
		m := aMember{append(slices.Clone(path), f.Tag.Get("json")), f.Type}
		if m.typ.Kind() == reflect.Pointer {
			m.typ = m.typ.Elem()
		}
		if m.typ == reflect.TypeFor[json.RawMessage]() {
			continue // anything
		}
		list = append(list, m)
		if m.typ.Kind() == reflect.Struct {
			list = append(list, members(m.typ, m.path)...)
		}
	}
	return list
}
