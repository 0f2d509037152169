package taskwatch

import (
	"bytes"
	"errors"
	"fmt"
	"math/bits"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

func TestKindsRoundTrip(t *testing.T) {
	for s := range Kinds(1 << NumKinds) {
		if s == 0 {
			continue
		}
		if got, err := ParseKinds(s.String()); got != s || err != nil {
			t.Errorf("%q read as %s, %v", s, got, err)
		}
		if KindsOf(s.List()...) != s || len(s.List()) != bits.OnesCount8(uint8(s)) {
			t.Errorf("%q lists %v", s, s.List())
		}
		for k := range Kind(NumKinds) {
			if s.Has(k) != strings.Contains(","+s.String()+",", ","+k.String()+",") {
				t.Errorf("%q and %s", s, k)
			}
		}
	}
	if Kinds(0).String() != "" || KindsOf() != 0 || KindsOf(7, 8, 255) != 0 {
		t.Error("the empty set")
	}
	if got, err := ParseKinds(" exit , init,exit"); got != KindsOf(Init, Exit) || err != nil {
		t.Errorf("spaces: %s, %v", got, err)
	}
	for list, want := range map[string]Kinds{"all": AllKinds, "exec, ALL": AllKinds, "Exec,EXIT": KindsOf(Exec, Exit)} {
		if got, err := ParseKinds(list); got != want || err != nil {
			t.Errorf("%q read as %s, %v", list, got, err)
		}
	}
	for _, bad := range []string{"", ",", "exec,", "all,", "exec exit", "kind(7)", "alle"} {
		if got, err := ParseKinds(bad); err == nil || got != 0 || !strings.Contains(err.Error(), "init, clone, exec, uid, gid, exit, free") {
			t.Errorf("%q read as %s, %v", bad, got, err)
		}
	}
}

func TestKindNames(t *testing.T) {
	for k := range Kind(NumKinds) {
		if got, err := ParseKind(k.String()); got != k || err != nil {
			t.Errorf("%s read as %s, %v", k, got, err)
		}
	}
	if got := Kind(200).String(); got != "kind(200)" {
		t.Error(got)
	}
}

func FuzzParseKinds(f *testing.F) {
	f.Add("exec,exit")
	f.Add(" init ,, ")
	f.Fuzz(func(t *testing.T, list string) {
		s, err := ParseKinds(list)
		if err != nil {
			return
		}
		if again, err := ParseKinds(s.String()); s == 0 || s&^AllKinds != 0 || again != s || err != nil {
			t.Errorf("%q is %s, which is %s, %v", list, s, again, err)
		}
	})
}

func TestFieldNames(t *testing.T) {
	seen := map[string]bool{}
	for i := range numFields {
		f := Fields(1) << i
		name := f.String()
		if got, err := ParseField(name); got != f || err != nil || name == "" || seen[name] {
			t.Errorf("field %d is %q, read as %s, %v", i, name, got, err)
		}
		seen[name] = true
	}
	all := Fields(1)<<numFields - 1
	if !all.Has(FieldsExit|FieldsRusage|FieldsTask) || len(all.Names()) != numFields || (all<<1).String() == all.String() {
		t.Errorf("all fields: %s", all)
	}
	if FieldExe.Has(FieldExe|FieldCwd) || Fields(0).String() != "" {
		t.Error("Has, or the empty set")
	}
	for _, bad := range []string{"", "EXE", "exe,cwd", "exit"} {
		if got, err := ParseField(bad); err == nil || got != 0 {
			t.Errorf("%q read as %s", bad, got)
		}
	}
}

// Every field belongs to some kind, and every kind's own fields to it alone.
func TestFieldsOf(t *testing.T) {
	var all Fields
	for k := range Kind(NumKinds) {
		all |= FieldsOf(k) | OptionalOf(k)
	}
	if all != 1<<numFields-1 || FieldsOf(NumLists) != 0 {
		t.Errorf("in no kind: %s", (1<<numFields-1)&^all)
	}
	for f, kinds := range map[Fields]Kinds{
		FieldPID | FieldTID | FieldStart:               AllKinds &^ KindsOf(Init), // the task has none yet
		FieldVal | FieldParentID | FieldExe | FieldUID: AllKinds,
		FieldOldExe:               KindsOf(Exec),
		FieldOld | FieldCause:     KindsOf(UID, GID),
		FieldsExit | FieldsRusage: KindsOf(Exit),
		FieldLifetime:             KindsOf(Free),
	} {
		for k := range Kind(NumKinds) {
			if has := FieldsOf(k).Has(f); has != kinds.Has(k) || !has && FieldsOf(k)&f != 0 {
				t.Errorf("%s has %s: %t", k, f, has)
			}
		}
	}
}

func TestErrno(t *testing.T) {
	for _, c := range []struct {
		err  error
		want syscall.Errno
	}{
		{nil, syscall.EPERM},
		{errors.New("no"), syscall.EPERM},
		{syscall.Errno(0), syscall.EPERM},
		{syscall.EAGAIN, syscall.EAGAIN},
		{fmt.Errorf("no more: %w", syscall.ENOMEM), syscall.ENOMEM},
		{&Failure{Err: fmt.Errorf("x: %w", syscall.EACCES)}, syscall.EACCES},
		{errors.Join(errors.New("no"), syscall.EBUSY), syscall.EBUSY},
	} {
		if got := Errno(c.err); got != c.want {
			t.Errorf("%v: %v, want %v", c.err, got, c.want)
		}
	}
}

func TestErrorsNameTheThing(t *testing.T) {
	cause := errors.New("the cause")
	for _, c := range []struct {
		err  error
		want []string
	}{
		{&ModuleError{"register", "m", cause}, []string{"register", `"m"`, "the cause"}},
		{&Failure{Module: "m", Watcher: "pkg.fn", Kind: UID, Err: cause}, []string{`"m"`, "pkg.fn", "uid", "the cause"}},
		{&Failure{Watcher: "pkg.fn", Kind: Exit, Err: cause, Event: event(Exit)}, []string{"built-in", "pkg.fn", "exit", "the cause"}},
	} {
		for _, want := range c.want {
			if !strings.Contains(c.err.Error(), want) {
				t.Errorf("%q does not say %s", c.err, want)
			}
		}
		if !errors.Is(c.err, cause) {
			t.Errorf("%q hides its cause", c.err)
		}
	}
	if got := watcherName(nil); got != "unknown" {
		t.Errorf("a nil function is called %q", got)
	}
	if got := watcherName(namedWatcher); got != "taskwatch.namedWatcher" {
		t.Errorf("called %q", got)
	}
}

func namedWatcher(*Event) error { return nil }

// The shell decodes wait statuses too: let it say what the kernel's are.
func TestDecodeExit(t *testing.T) {
	for script, want := range map[string]ExitStatus{
		"exit 0":                               {},
		"exit 3":                               {Code: 3},
		"exit 255":                             {Code: 255},
		"kill -TERM $$":                        {Signal: 15},
		"kill -KILL $$":                        {Signal: 9},
		"trap 'exit 4' TERM; kill -TERM $$; :": {Code: 4},
	} {
		cmd := exec.Command("sh", "-c", script)
		cmd.Run()
		status := cmd.ProcessState.Sys().(syscall.WaitStatus)
		if got := DecodeExit(uint64(status)); got != want {
			t.Errorf("%q: %+v, want %+v", script, got, want)
		}
	}
	for status := range uint64(1 << 16) { // all that the 16 bits can say and the standard library decodes
		ws := syscall.WaitStatus(status)
		got := DecodeExit(status)
		if ws.Exited() && got != (ExitStatus{Code: ws.ExitStatus()}) && status&0x80 == 0 ||
			ws.Signaled() && (got.Signal != int(ws.Signal()) || got.Core != ws.CoreDump()) {
			t.Fatalf("status %#x: %+v", status, got)
		}
	}
}

func TestCauseNames(t *testing.T) {
	var b bytes.Buffer
	for c := range Cause(5) {
		fmt.Fprint(&b, c, " ")
	}
	if got := b.String(); got != "unknown syscall exec setgroups cause(4) " {
		t.Error(got)
	}
}
