package taskwatch

import (
	"context"
	"testing"
)

func TestFieldsAreThoseThatSomebodyReads(t *testing.T) {
	var r Registry
	expect := func(want Fields) {
		t.Helper()
		if got := r.Feed().Fields(); got != want {
			t.Errorf("fields %v, want %v", got, want)
		}
	}
	nothing := func(*Event) error { return nil }
	some, other := &Module{Name: "some"}, &Module{Name: "other"}
	some.Watch(Exec, nothing, Reads(FieldExe|FieldsRusage)) // an exec has no rusage
	other.Watch(Exit, nothing, Reads(FieldExitCode))
	other.Watch(Exit, nothing, Reads(FieldComm))
	all := module("all", Exit, nothing)
	sink := NewSink(Wants{Exit: FieldUTime, Free: 0}, func(Item) {})
	for range 2 { // before the first event, and after it
		expect(0)
		mustRegister(t, &r, some)
		expect(FieldExe)
		mustRegister(t, &r, other)
		expect(FieldExe | FieldExitCode | FieldComm)
		if err := r.Attach(sink); err != nil {
			t.Fatal(err)
		}
		expect(FieldExe | FieldExitCode | FieldComm | FieldUTime)
		if got := r.Feed().Kinds(); got != KindsOf(Exec, Exit, Free) {
			t.Errorf("kinds %v", got)
		}
		mustRegister(t, &r, all)
		expect(FieldsOf(Exit))
		mustUnregister(t, &r, all, other, some)
		expect(FieldUTime)
		if err := r.Detach(context.Background(), sink); err != nil {
			t.Fatal(err)
		}
		if err := r.Feed().Notify(&Event{Kind: Exec, Task: &Task{}}); err != nil {
			t.Fatal(err)
		}
	}
	for k := range Kind(NumKinds) {
		if !DefaultFields.Has(FieldsOf(k)) || !OptionalFields.Has(OptionalOf(k)) || FieldsOf(k)&OptionalOf(k) != 0 {
			t.Errorf("%v: what is optional, and what is not, is mixed up", k)
		}
	}
}

// The bit of a field is part of what modules in the sandbox are built against,
// and of what the kernel side is told: it never changes.
func TestBitsOfFieldsArePinned(t *testing.T) {
	pinned := 0
	for i, f := range []Fields{
		FieldVal, FieldParentID, FieldPID, FieldTID, FieldPPID, FieldStart, FieldComm, FieldExe, FieldArgv, FieldCwd,
		FieldUID, FieldGID, FieldCgroup, FieldOldExe, FieldOld, FieldCause,
		FieldExitCode, FieldExitSignal, FieldExitCore, FieldExitGroup,
		FieldUTime, FieldSTime, FieldMaxRSS, FieldMinFlt, FieldMajFlt, FieldNVCSw, FieldNIvCSw, FieldReadBytes, FieldWriteBytes,
		FieldLifetime, FieldCgroupID, FieldAUID, FieldSessionID, FieldTTY,
		FieldCapsEffective, FieldCapsPermitted, FieldCapsInheritable, FieldCapsBounding, FieldCapsAmbient, FieldGroups,
		FieldVPID, FieldNSMnt, FieldNSPID, FieldNSNet, FieldNSUser, FieldExeHost, FieldExeDev, FieldExeIno, FieldEnv, FieldCapsSecure, FieldNice, FieldCapsGained,
		FieldBeforeUTime, FieldBeforeSTime, FieldLabel, FieldSID, FieldBeforeMaxRSS,
	} {
		pinned++
		if f != 1<<i {
			t.Errorf("field %v is bit %#x, want bit %d", f, uint64(f), i)
		}
	}
	for i, k := range []Kind{Init, Clone, Exec, UID, GID, Exit, Free} {
		if int(k) != i {
			t.Errorf("%v is number %d, want %d", k, k, i)
		}
	}
	if pinned != numFields {
		t.Errorf("%d fields are pinned here, of %d", pinned, numFields)
	}
	if left := 64 - numFields; left < 1 {
		t.Errorf("%d of 64 bits of Fields are left", left)
	} else {
		t.Logf("%d of 64 bits of Fields are left", left)
	}
}
