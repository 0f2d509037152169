package modules

import (
	"errors"
	"testing"

	"github.com/taskwatch/taskwatch/module/kernel"
)

// register registers an object in the kernel until the test ends.
func register(t testing.TB, table *kernel.Table, name string, object []byte, load kernel.LoadOptions, opts kernel.RegisterOptions) *kernel.Module {
	t.Helper()
	o, err := kernel.Parse(name, object)
	if err != nil {
		t.Fatal(err)
	}
	m, err := o.Load(load)
	if err != nil {
		t.Fatal(err)
	}
	if err := table.Register(m, opts); err != nil {
		t.Fatal(errors.Join(err, m.Close()))
	}
	t.Cleanup(func() {
		if err := errors.Join(table.Unregister(m), m.Close()); err != nil {
			t.Error(err)
		}
	})
	return m
}
