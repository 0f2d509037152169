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
		found := map[string]int{}
		for _, g := range globals {
			if n, ok := g.Value.(uint64); ok {
				found[g.Name] = int(n)
			}
		}
		if found["checked"] == 0 {
			t.Error("lifecheck has seen nothing")
		}
		// A clone whose init the kernel has passed by cannot come then, and a task whose
		// free it has passed by seems to be there still.
		inits, frees := missed(t, table, onlyInit), missed(t, table, 1<<taskwatch.Free)
		problems := found["impossible"] + found["twice"] + found["leaked"]
		if found["impossible"] > inits || found["twice"]+found["leaked"] > frees || found["full"] > 0 || found["dropped"] > problems {
			t.Errorf("lifecheck: %v, where the kernel has passed by %d inits and %d frees; its records say of which tasks", found, inits, frees)
		}
		t.Logf("lifecheck: %d events, %d of them in an order that cannot be", found["checked"], problems)
	})
}
