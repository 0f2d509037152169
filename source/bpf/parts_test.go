package bpf

import (
	"reflect"
	"slices"
	"testing"

	"github.com/taskwatch/taskwatch"
)

// The end of an argv is in the exec's record, what is before it in pieces.
func TestPartsOfAnArgv(t *testing.T) {
	for name, c := range map[string]struct {
		pieces []record
		exec   record
		want   []string
		cut    bool
	}{
		"one record":     {nil, record{argv: []byte("a\x00b\x00")}, []string{"a", "b"}, false},
		"two pieces":     {[]record{{argv: []byte("a\x00b")}, {argv: []byte("c\x00"), argvOff: 3}}, record{argv: []byte("d\x00"), argvOff: 5}, []string{"a", "bc", "d"}, false},
		"the first lost": {[]record{{argv: []byte("c\x00"), argvOff: 3}}, record{argv: []byte("d\x00"), argvOff: 5}, []string{}, true},
		"one lost":       {[]record{{argv: []byte("a\x00b")}}, record{argv: []byte("d\x00"), argvOff: 5}, []string{"a", "b"}, true},
		"of an exec that was lost, in front of a birth": {
			[]record{{argv: []byte("x\x00")}, {kind: recordClone}}, record{argv: []byte("a\x00")}, []string{"a"}, false},
		"of an exec that was lost, in front of another": {
			[]record{{argv: []byte("x\x00")}}, record{argv: []byte("a\x00")}, []string{"a"}, false},
		"of another task": {[]record{{argv: []byte("x\x00"), task: 9}}, record{argv: []byte("a\x00")}, []string{"a"}, false},
		"left out":        {[]record{{argv: []byte("x\x00")}}, record{flags: flagArgvLeft}, nil, false},
	} {
		p := newParts()
		for i := range c.pieces {
			r := &c.pieces[i]
			if r.kind == 0 {
				r.kind = recordArgv
			}
			if whole := p.take(r); whole != (r.kind == recordClone) {
				t.Errorf("%s: kind %d is whole: %v", name, r.kind, whole)
			}
		}
		c.exec.kind = recordExec
		if !p.take(&c.exec) {
			t.Fatalf("%s: an exec was kept", name)
		}
		if !slices.Equal(c.exec.args, c.want) || c.exec.argsCut != c.cut {
			t.Errorf("%s: %q, cut %v, want %q, %v", name, c.exec.args, c.exec.argsCut, c.want, c.cut)
		}
		if delete(p.argv, 9); len(p.argv) != 0 {
			t.Errorf("%s: pieces of %d tasks are left", name, len(p.argv))
		}
	}
}

// What is told before a record belongs to the next one of its task, once, and to
// none where something was lost in between.
func TestPartsOfARecord(t *testing.T) {
	told := func(p *parts) {
		p.take(&record{kind: recordExtra, task: 1, extra: taskwatch.Extra{Nice: 5, Given: taskwatch.FieldNice}})
		p.take(&record{kind: recordProgram, task: 1, exe: []byte("sh\x00bin\x00"), argv: []byte("A=1\x00"), flags: flagCwdCut})
	}
	p := newParts()
	told(&p)
	other, exec, again := record{kind: recordExit, task: 2}, record{kind: recordExec, task: 1}, record{kind: recordExit, task: 1}
	p.take(&other)
	if other.told != nil {
		t.Errorf("another task was told %+v", other.told)
	}
	p.take(&exec)
	if x := exec.told; x == nil || x.Nice != 5 || x.ExeHost != "/bin/sh" || !slices.Equal(x.Env, []string{"A=1"}) ||
		x.Given != taskwatch.FieldNice|taskwatch.FieldExeHost|taskwatch.FieldEnv {
		t.Errorf("told %+v", exec.told)
	}
	if p.take(&again); again.told != nil {
		t.Errorf("told twice: %+v", again.told)
	}
	told(&p)
	lost := record{kind: recordExit, task: 1, dropped: 1}
	if p.take(&lost); lost.told != nil {
		t.Errorf("told behind a loss: %+v", lost.told)
	}
}

// A working directory is known by its number, until two others have come to its
// place.
func TestPartsKeepDirectories(t *testing.T) {
	p := newParts()
	const a, b, c = 1, 2, 3 // of one place
	told := func(number uint64, name string, flags recordFlags) {
		p.take(&record{kind: recordCwd, dir: number, cwd: []byte(name), flags: flags})
	}
	is := func(number uint64, path string, known bool) {
		t.Helper()
		if got, ok := p.cwd(&record{dir: number}); got != path || ok != known {
			t.Errorf("%d is at %q, known: %v; want %q, %v", number, got, ok, path, known)
		}
	}
	is(0, "", false)
	is(a, "", false)
	told(a, "tmp\x00", 0)
	is(a, "/tmp", true)
	is(b, "", false)
	told(b, "b\x00tmp\x00", flagCwdGone)
	told(b, "b\x00tmp\x00", flagCwdGone)
	is(a, "/tmp", true)
	is(b, "/tmp/b (deleted)", true)
	told(c, "", flagCwdCut)
	is(a, "", false)
	is(b, "/tmp/b (deleted)", true)
	is(c, "", false)
	p.take(&record{kind: recordExit, dropped: 1})
	is(b, "/tmp/b (deleted)", true)
	is(0, "", false)
}

// What is told of a task is of its next record, and no directory is known by it.
func TestToldOfATask(t *testing.T) {
	p := newParts()
	told := record{kind: recordAbout, task: 1, cwd: []byte("tmp\x00"), exe: []byte("true\x00bin\x00"), argv: []byte("a\x00b\x00")}
	emit, other := record{kind: recordEmit, task: 1}, record{kind: recordEmit, task: 2}
	is := func(r *record, want about) {
		t.Helper()
		if got := p.about(r); !reflect.DeepEqual(got, want) {
			t.Errorf("told of task %d: %+v, want %+v", r.task, got, want)
		}
	}
	p.take(&told)
	is(&other, about{})
	is(&emit, about{exe: "/bin/true", cwd: "/tmp", args: []string{"a", "b"}})
	is(&emit, about{})
	told.flags = flagExeCut | flagArgvLeft
	p.take(&told)
	is(&emit, about{cwd: "/tmp"})
	told.flags = flagCwdCut | flagArgvCut
	p.take(&told)
	is(&emit, about{exe: "/bin/true", args: []string{"a", "b"}, argsCut: true})
	p.take(&told)
	p.take(&record{kind: recordExit, task: 2, dropped: 1}) // it may have been of another record
	is(&emit, about{})
}
