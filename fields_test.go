package taskwatch

import "testing"

func TestFieldsAreThoseThatSomebodyReads(t *testing.T) {
	var r Registry
	expect := func(want Fields) {
		t.Helper()
		if got := r.Fields(); got != want {
			t.Errorf("fields %v, want %v", got, want)
		}
	}
	some := &Module{Name: "some", Table: on(Exec, watchers(1)...), Ignores: FieldCwd | FieldArgv}
	other := &Module{Name: "other", Table: on(Exit, watchers(1)...), Ignores: FieldCwd | FieldsRusage}
	all := &Module{Name: "all", Table: on(Exit, watchers(1)...)}
	for range 2 { // before the first event, and after it
		expect(0)
		mustRegister(t, &r, some)
		expect(AllFields &^ (FieldCwd | FieldArgv))
		mustRegister(t, &r, other)
		expect(AllFields &^ FieldCwd)
		mustRegister(t, &r, all)
		expect(AllFields)
		for _, m := range []*Module{all, other, some} {
			if err := r.Unregister(m); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.Notify(&Event{Kind: Exec, Task: &Task{}}); err != nil {
			t.Fatal(err)
		}
	}
	for k := range Kind(NumKinds) {
		if !AllFields.Has(FieldsOf(k)) {
			t.Errorf("%v has fields that AllFields lacks", k)
		}
	}
}
