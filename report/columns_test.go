package report

import (
	"math/rand/v2"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/randevent"
)

// Each field of the table is a column under its name, which is empty where the field
// is missing.
func TestEachFieldIsAColumn(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, bit := range taskwatch.AllFields.List() {
		shown := false
		for _, c := range allColumns {
			if c.name != bit.Info().Name || c.reads != bit || c.value(&row{c: new(Columns), ev: randevent.New(r, taskwatch.Exec)}) != nil {
				continue
			}
			for _, k := range bit.Info().Kinds.List() {
				ev := randevent.New(r, k)
				ev.Extra = randevent.Extra(r, taskwatch.OptionalOf(k), func() string { return "x" })
				if c.value(&row{c: new(Columns), ev: ev, has: ev.Fields()}) != nil {
					shown = true
				}
			}
		}
		if !shown {
			t.Errorf("no column has %s", bit)
		}
	}
}
