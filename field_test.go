package taskwatch

import (
	"slices"
	"strings"
	"testing"
)

// A field has a value exactly where it is there, of the type that it says.
func TestValues(t *testing.T) {
	for k := range Kind(NumKinds) {
		ev := event(k)
		ev.Extra = &Extra{Given: OptionalOf(k)}
		ev.Missing = FieldComm
		for _, f := range AllFields.List() {
			info := f.Info()
			v, ok := ev.Value(f)
			if want := info.Kinds.Has(k) && f != FieldComm; ok != want || ok && v.Type() != info.Type || !ok && v.Type() != 0 {
				t.Errorf("%s of %s: %v, %t: of type %s, want %t, %s", info.Name, k, v, ok, v.Type(), want, info.Type)
			}
			if n := testing.AllocsPerRun(10, func() { ev.Value(f) }); n != 0 && f != FieldParentID {
				t.Errorf("%s: %v allocations", info.Name, n)
			}
		}
		ev.Extra = nil
		if ev.Has(FieldCgroupID) {
			t.Errorf("%s has an optional field that nobody gave", k)
		}
	}
	ev := event(Exit)
	ev.Exit, ev.Rusage.UTimeNS, ev.Task.Argv, ev.Task.UID = ExitStatus{Code: -3, Core: true}, 5, []string{"a", "b"}, IDs{1, 2, 3, 4}
	for f, want := range map[Fields]string{FieldExitCode: "-3", FieldExitCore: "true", FieldUTime: "5", FieldArgv: "a b", FieldUID: "1 2 3 4"} {
		if v, ok := ev.Value(f); v.String() != want || !ok {
			t.Errorf("%s is %q, want %q", f, v, want)
		}
	}
	if _, ok := ev.Value(FieldExitCode | FieldExitCore); ok {
		t.Error("two fields have a value")
	}
}

func TestParseFields(t *testing.T) {
	for list, want := range map[string]Fields{
		"exe": FieldExe, " exe , exit.code": FieldExe | FieldExitCode, "exit": FieldsExit, "rusage": FieldsRusage, "all": AllFields,
	} {
		if got, err := ParseFields(list); got != want || err != nil {
			t.Errorf("%q: %v, %v", list, got, err)
		}
	}
	for _, bad := range []string{"", "Exe", "exe,", "exit.", "code"} {
		if got, err := ParseFields(bad); err == nil || got != 0 || !strings.Contains(err.Error(), "cgroup_id") {
			t.Errorf("%q: %v, %v", bad, got, err)
		}
	}
	if f := AllFields.Info(); f != (FieldInfo{}) {
		t.Errorf("all fields are one: %+v", f)
	}
	if list := (FieldPID | FieldExe).List(); !slices.Equal(list, []Fields{FieldPID, FieldExe}) {
		t.Errorf("list %v", list)
	}
}

// Optional fields are missing only where they were asked for.
func TestGive(t *testing.T) {
	var r Registry
	optional := &Module{Name: "optional"}
	optional.Watch(Exec, func(*Event) error { return nil }, Reads(FieldExe|OptionalFields))
	plain := module("plain", Exit, func(*Event) error { return nil })
	for range 2 { // before the first event, and after it
		mustRegister(t, &r, optional, plain)
		feed := r.Feed()
		if got := feed.Optional(Exec); got != OptionalOf(Exec) {
			t.Errorf("of exec %v is asked for", got)
		}
		if got := feed.Optional(Exit); got != 0 {
			t.Errorf("of exit %v is asked for, by nobody", got)
		}
		if !feed.Fields().Has(OptionalOf(Exec)) {
			t.Errorf("nobody reads %v", OptionalOf(Exec))
		}
		if err := feed.Notify(event(Exec)); err != nil {
			t.Fatal(err)
		}
		mustUnregister(t, &r, optional, plain)
	}
	one := OptionalOf(Exec) & -OptionalOf(Exec)
	ev := event(Exec)
	ev.Give(one, &Extra{})
	if ev.Extra != nil || ev.Missing != one || ev.Has(one) {
		t.Errorf("nothing given: %+v", ev)
	}
	ev = event(Exec)
	ev.Give(one, &Extra{Given: OptionalFields})
	if ev.Missing != 0 || !ev.Has(one) || ev.Fields() != FieldsOf(Exec)|one {
		t.Errorf("one given: %+v", ev)
	}
}
