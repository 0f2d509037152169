package kernel

import (
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testmodule"
)

func loadBuiltin(t testing.TB, src string) *Module {
	t.Helper()
	o, err := ParseBuiltin("builtin", testmodule.Object(t, src))
	if err != nil {
		t.Fatal(err)
	}
	return loadObject(t, o)
}

// report is what the built-in of testdata keeps of one call.
type report struct {
	Watcher, Flags, Event uint64
	Err                   int64
}

// reports returns the first 64 reports.
func reports(t testing.TB, builtin *Module) []report {
	t.Helper()
	globals, err := builtin.Globals()
	if err != nil {
		t.Fatal(err)
	}
	var list []report
	for _, g := range globals {
		if g.Name != "reports" {
			continue
		}
		for _, e := range g.Value.([]any)[:min(global(t, builtin, "count"), 64)] {
			r := e.(map[string]any)
			list = append(list, report{r["watcher"].(uint64), r["flags"].(uint64), r["event"].(uint64), r["err"].(int64)})
		}
	}
	return list
}

// A built-in's report and emit functions are told which watcher failed and
// which module sends.
func TestReportAndEmit(t *testing.T) {
	w := startLoad(t, 1, 1, 0)
	builtin := loadBuiltin(t, "testdata/modules/report.c")
	table := newTable(t, Config{Builtins: []Builtin{{Module: builtin, Kinds: taskwatch.AllKinds}}})
	m := loadFile(t, "order", "testdata/modules/order.c", param("pid", w.pid()))
	register(t, table, m)
	w.run()
	if err := table.Unregister(m); err != nil {
		t.Fatal(err)
	}

	// Each of the two clones was an error of the watcher second.
	if n := global(t, builtin, "count"); n != 2 {
		t.Fatalf("%d reports, want 2", n)
	}
	for _, r := range reports(t, builtin) {
		who, ok := table.Watcher(uint32(r.Watcher)) // after it was unregistered
		want := WatcherInfo{Module: "order", Watcher: "second", Kind: taskwatch.Clone}
		if !ok || who != want || r.Err != -5 || r.Flags != 0 || r.Event != uint64(taskwatch.Clone) {
			t.Errorf("report %+v is of %+v, want %+v with error -5 and no flags", r, who, want)
		}
	}
	if _, ok := table.Watcher(1 << 30); ok {
		t.Error("an id that was never given has a name")
	}

	// The load's children left with codes 7 and 0, in this order.
	if got := global(t, builtin, "emits"); got != 2 {
		t.Errorf("%d records, want 2", got)
	}
	if got := global(t, builtin, "emitted_size"); got != 8 {
		t.Errorf("record of %d bytes, want 8", got)
	}
	if name, _, ok := table.Record(uint32(global(t, builtin, "emitted_by")), 0, nil); !ok || name != "order" {
		t.Errorf("the record is of module %q", name)
	}
	if global(t, builtin, "execs") == 0 {
		t.Error("the built-in saw no exec")
	}
}

// A built-in is called only for the events it is set to.
func TestSetKinds(t *testing.T) {
	builtin := loadBuiltin(t, "testdata/modules/report.c")
	table := newTable(t, Config{Builtins: []Builtin{{Module: builtin}}})
	if len(table.attached) != 0 {
		t.Fatalf("%d hooks attached for a built-in that watches nothing", len(table.attached))
	}
	wantError(t, table.Register(builtin, RegisterOptions{}), taskwatch.ErrInvalid, "built-in")
	run := func() uint64 {
		t.Helper()
		before := global(t, builtin, "execs")
		startLoad(t, 0, 5, 0).run()
		return global(t, builtin, "execs") - before
	}
	if n := run(); n != 0 {
		t.Errorf("%d execs seen while nobody asked", n)
	}
	if err := table.SetKinds(builtin, taskwatch.KindsOf(taskwatch.Exec, taskwatch.Exit)); err != nil {
		t.Fatal(err)
	}
	if n := run(); n < 6 { // others may exec meanwhile
		t.Errorf("%d execs seen, want 6", n)
	}
	if err := table.SetKinds(builtin, 0); err != nil {
		t.Fatal(err)
	}
	if n := run(); n != 0 {
		t.Errorf("%d execs seen after they were turned off", n)
	}
	if len(table.attached) != 0 {
		t.Errorf("%d hooks still attached", len(table.attached))
	}
}
