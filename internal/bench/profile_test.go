package bench

import (
	"math"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch/internal/bench/profile"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

func TestActivityOf(t *testing.T) {
	for want, stacks := range map[string][][]string{
		atSource: {
			{ownPath + "/source/bpf.(*record).decode", ownPath + "/source/bpf.(*stream).drain"},
			{"runtime.mapaccess2_fast64", ownPath + "/source/bpf.(*table).find", ownPath + "/source/bpf.(*stream).drain"},
		},
		atDelivery:  {{"aeshashbody", ownPath + "/bench.(*counter).watch", ownPath + ".(*Registry).Notify", ownPath + "/source/bpf.(*stream).deliver"}},
		atWriting:   {{"strconv.AppendInt", ownPath + "/record.Append", ownPath + ".(*Registry).Notify"}},
		atSandbox:   {{"github.com/tetratelabs/wazero/internal/engine/wazevo.entrypoint", "runtime.goexit"}, {"runtime._ExternalCode"}},
		atMemory:    {{"runtime.nextFreeFast", "runtime.mallocgc", ownPath + "/source/bpf.(*table).add"}, {"runtime.scanobject", "runtime.gcDrain", "runtime.gcBgMarkWorker"}},
		atScheduler: {{"runtime.findRunnable", "runtime.schedule", "runtime.park_m", "runtime.mcall"}},
		atSystem:    {{"internal/runtime/syscall/linux.Syscall6", "runtime.netpoll", "runtime.findRunnable"}, {"runtime.futex", "runtime.notesleep"}},
		atRest:      {{"os.(*File).Write"}},
	} {
		for _, stack := range stacks {
			if got := activityOf(stack); got != want {
				t.Errorf("%v is %s, want %s", stack, got, want)
			}
		}
	}
}

// Samples come a hundred times a second, so enough of them take long.
func TestProfiles(t *testing.T) {
	testutil.Root(t)
	testutil.Nightly(t)
	cfg := testConfig()
	cfg.ReadProfile = profile.Read
	cfg.Operations, cfg.Run, cfg.Profiles = 40000, time.Millisecond, t.TempDir() // for some 50 samples, of which a fifth is JSON
	results, err := measureProfiles(t.Context(), cfg, []*Watcher{ByName(ToJSON)})
	if err != nil {
		t.Fatal(err)
	}
	if len(results) != 1 || results[0].Watcher != ToJSON || results[0].Samples == 0 || results[0].Share[atWriting] == 0 {
		t.Fatalf("results %+v", results)
	}
	all := 0.0
	for _, share := range results[0].Share {
		all += share
	}
	if math.Abs(all-1) > 1e-9 {
		t.Errorf("the shares add up to %v", all)
	}
}
