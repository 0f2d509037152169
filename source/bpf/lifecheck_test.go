package bpf

import (
	"errors"
	"fmt"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/module/kernel"
	stock "github.com/taskwatch/taskwatch/modules"
)

// watchLives has the module lifecheck judge all events of the machine until the
// test ends: the hooks themselves, whatever the source makes of them.
func watchLives(t testing.TB, table *kernel.Table) {
	t.Helper()
	support, err := probed()
	if err != nil {
		t.Fatal(err)
	}
	o, err := kernel.Parse("lifecheck", stock.Find("lifecheck").Object())
	if err != nil {
		t.Fatal(err)
	}
	everyFree := support.FEntry == nil
	m, err := o.Load(kernel.LoadOptions{Params: map[string]string{"frees": fmt.Sprint(everyFree)}})
	if err != nil {
		t.Fatal(err)
	}
	if err := table.Register(m, kernel.RegisterOptions{}); err != nil {
		t.Fatal(errors.Join(err, m.Close()))
	}
	t.Cleanup(func() {
		if err := table.Unregister(m); err != nil && !errors.Is(err, taskwatch.ErrNotRegistered) { // the source has ended
			t.Error(err)
		}
		globals, err := m.Globals()
		if err = errors.Join(err, m.Close()); err != nil {
			t.Fatal(err)
		}
		for _, g := range globals {
			switch g.Name {
			case "impossible", "twice", "leaked", "full", "dropped":
				if g.Value != uint64(0) {
					t.Errorf("lifecheck: %s = %v; its records say of which tasks", g.Name, g.Value)
				}
			case "checked":
				if g.Value == uint64(0) {
					t.Error("lifecheck has seen nothing")
				}
				t.Logf("lifecheck: %v events came in an order that can be", g.Value)
			}
		}
	})
}
