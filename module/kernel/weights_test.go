package kernel

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch/internal/plan"
	"github.com/taskwatch/taskwatch/internal/probe"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

// slab returns how much memory the kernel has for objects that it cannot give up, in bytes.
func slab(t testing.TB) int64 {
	t.Helper()
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(b), "SUnreclaim:")
	var kib int64
	if _, err := fmt.Sscan(text, &kib); err != nil {
		t.Fatalf("/proc/meminfo: %v", err)
	}
	return kib << 10
}

// The values of tasks that are gone take no memory. There are two tasks at a time.
func TestStorageOfManyTasks(t *testing.T) {
	table := newTable(t, Config{})
	n := testutil.Size(5_000, 10_000, 1_000_000)
	if os.Getenv("TASKWATCH_VM") != "" {
		n = min(n, 10_000) // an emulated machine makes some 200 a second
	}
	w := startLoad(t, n, 0, 0)
	m := loadFile(t, "weights", "testdata/modules/weights.c", param("pid", w.pid()))
	register(t, table, m)
	before := slab(t)
	w.run()
	made, full := global(t, m, "made"), global(t, m, "full")
	// A real-time kernel has a few values of that size ready, and makes others a moment later.
	if short := probe.Preemption() == plan.PreemptRT && full < made/100; made+full != uint64(n) || full != 0 && !short {
		t.Errorf("%d values were made, and %d not for want of memory; there were %d tasks", made, full, n)
	}
	const size = 8 << 10 // of a value
	// What is freed is so a moment later. Half of it leaves room for what others do.
	most := int64(n) * size / 2
	grown := slab(t) - before
	for end := time.Now().Add(time.Minute); grown > most && time.Now().Before(end); grown = slab(t) - before {
		time.Sleep(10 * time.Millisecond)
	}
	t.Logf("%d tasks; the kernel's objects grew by %d KiB; all values together had %d", n, grown>>10, int64(n)*size>>10)
	if grown > most {
		t.Errorf("after %d tasks with %d bytes each, the kernel has %d bytes more", n, size, grown)
	}
}
