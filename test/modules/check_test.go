package modules

import (
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testmodule"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/module/kernel"
	"github.com/taskwatch/taskwatch/source/bpf"
)

// What is said of a module that is checked is what is said when it is loaded, beside
// the programs of the source: they take a part of what it may use.
func TestCheckSaysWhatLoadingSays(t *testing.T) {
	testutil.Root(t)
	var live taskwatch.Registry
	loaded := watchOurselves(t, &live).Table()
	checked, free, err := bpf.NewTable()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := free(); err != nil {
			t.Error(err)
		}
	})
	found, err := probed()
	if err != nil {
		t.Fatal(err)
	}
	alone := tableOf(t, tier{"alone", found})
	for _, c := range []struct {
		src     string
		refused string // by a table with the programs of the source; or ""
		before  testutil.Need
	}{
		{src: "../../module/kernel/testdata/modules/most.c", refused: "its watchers of exit use 59 maps"},
		{src: "testdata/modules/sendlarge.c", refused: "512 bytes of stack", before: testutil.NeedsKernel(6, 13)}, // which may give each function a stack
		{src: "testdata/modules/scratch.c"},
	} {
		t.Run(c.src[strings.LastIndex(c.src, "/")+1:], func(t *testing.T) {
			o, err := kernel.Parse("module", testmodule.Object(t, c.src))
			if err != nil {
				t.Fatal(err)
			}
			load := func(table *kernel.Table) *kernel.Module {
				m, err := o.Load(kernel.LoadOptions{Table: table})
				if err != nil {
					t.Fatal(err)
				}
				closeAtEnd(t, m)
				return m
			}
			if err := alone.Check(load(alone), kernel.RegisterOptions{}); err != nil {
				t.Errorf("without the programs of the source: %v", err)
			}
			m := load(loaded)
			check, register := checked.Check(load(checked), kernel.RegisterOptions{}), loaded.Register(m, kernel.RegisterOptions{})
			if register == nil {
				if err := loaded.Unregister(m); err != nil {
					t.Fatal(err)
				}
			}
			if c.before.Met != nil && c.before.Met() && check == nil && register == nil {
				return
			}
			for what, err := range map[string]error{"check": check, "register": register} {
				if (err != nil) != (c.refused != "") || err != nil && !strings.Contains(err.Error(), c.refused) {
					t.Errorf("%s: %v, want %q", what, err, c.refused)
				}
			}
		})
	}
}
