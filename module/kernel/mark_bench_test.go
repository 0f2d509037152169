package kernel

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testmodule"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/internal/watchtest"
)

// BenchmarkMarks measures what the marks of a module with attach cost a fork, from
// init to free, beside the same module without attach. The ways take turns; the
// figures are medians.
//
//	go test -run '^$' -bench Marks -benchtime 9x ./module/kernel
func BenchmarkMarks(b *testing.B) {
	testutil.Require(b, testmodule.NeedsCompiler)
	const source = `#include "task_watchers.h"
static int nothing(unsigned long val, struct task_struct *tsk) { return 0; }
task_watcher_func(init, nothing);
task_watcher_func(free, nothing);
MODULE_LICENSE("GPL");
`
	load := func(name, more string) *Module {
		file := filepath.Join(b.TempDir(), name+".c")
		if err := os.WriteFile(file, []byte(source+more), 0o600); err != nil {
			b.Fatal(err)
		}
		return loadFile(b, name, file)
	}
	d := newDriven(b, new(watchtest.CallLog)).(*driven)
	ways := []struct {
		name   string
		module *Module
	}{{"nothing", nil}, {"watchers", load("plain", "")}, {"marks", load("marked", "task_watcher_func(attach, nothing);\n")}}
	took := make([][]float64, len(ways))
	for b.Loop() {
		for i, way := range ways {
			if way.module != nil {
				register(b, d.table, way.module)
			}
			start, end := time.Now(), d.Storm()
			time.Sleep(time.Second)
			n := end()[taskwatch.Clone]
			took[i] = append(took[i], float64(time.Since(start).Nanoseconds())/float64(n))
			if way.module != nil {
				if err := d.table.Unregister(way.module); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	b.ReportMetric(0, "ns/op")
	for i, way := range ways {
		slices.Sort(took[i])
		b.ReportMetric(took[i][len(took[i])/2], way.name+"-ns/task")
	}
}
