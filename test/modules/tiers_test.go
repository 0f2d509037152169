package modules

import (
	"errors"
	"sync"
	"testing"

	"github.com/taskwatch/taskwatch/module/kernel"
)

// tier is what is left of this kernel with better ways turned off: what other kernels
// have.
type tier struct {
	name string
	*kernel.Support
}

// denies reports whether modules can deny operations there.
func (s tier) denies() bool { return s.LSM == nil || s.ModifyReturn == nil }

// probed is what this kernel supports, tried once.
var probed = sync.OnceValues(kernel.Probe)

// tiers returns those of this kernel, the best first.
func tiers(t testing.TB) (list []tier) {
	t.Helper()
	found, err := probed()
	if err != nil {
		t.Fatal(err)
	}
	left := *found
	for _, way := range []struct {
		name string
		best *error
	}{{"LSM", &left.LSM}, {"fmod_ret", &left.ModifyReturn}, {"fentry", &left.FEntry}, {"tracepoints", new(error)}} {
		if *way.best == nil {
			s := left
			list = append(list, tier{way.name, &s})
			*way.best = errors.New("turned off for a test")
		}
	}
	return list
}

// tableOf returns a table of a tier that is closed when the test ends.
func tableOf(t testing.TB, s tier) *kernel.Table {
	t.Helper()
	table, err := kernel.NewTable(kernel.Config{Support: s.Support})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := table.Close(); err != nil {
			t.Error(err)
		}
	})
	return table
}
