package bpf

import (
	"encoding/json"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/module/kernel"
)

// misses are what the kernel has passed by: see [kernel.Missed].
type misses struct {
	lastNS  int64             // when the reader looked
	told    map[string]uint64 // by hook
	inits   uint64            // of them that were told in the scope of a tree or a cgroup
	alarmed map[skip]uint64
}

// skip is a hook that passes a module by.
type skip struct{ hook, module string }

// missedPause is between two looks at the counters, a system call for each hook
// and as good as free.
const missedPause = int64(100 * time.Millisecond)

// lookMissed delivers as lost what hooks have missed since the last look. The
// kernel only counts, so a loss stands behind what had come when it was seen.
// Hooks are those of the machine: in a smaller scope it is not known how many
// of the tasks were in it, but for inits, which the clones behind them show.
//
// final waits for a change of the table to end.
func (st *runner) lookMissed(final bool) error {
	table := st.kernel.table
	list, ok, err := table.TryMissed()
	if !ok && final {
		list, err = table.Missed()
	}
	if err != nil {
		return err
	}
	for _, m := range list {
		if m.Seen == onlyInit {
			st.tellInits(m.Count)
		}
		n := m.Count - st.misses.told[m.Hook]
		if n == 0 {
			continue
		}
		if st.misses.told == nil {
			st.misses.told, st.misses.alarmed = map[string]uint64{}, map[skip]uint64{}
		}
		st.misses.told[m.Hook] = m.Count
		scope := st.src.cfg.scope()
		switch seen := m.Seen & st.kinds &^ taskwatch.KindsOf(taskwatch.Free); { // a free is inferred
		case seen == 0:
		case scope == scopeMachine:
			st.tellLost(n)
		case seen != onlyInit || scope == scopeChosen:
			st.feed.Deliver(taskwatch.Item{Loss: &taskwatch.Loss{Seq: st.seq + 1}})
		}
		if m.Seen&idKinds != 0 {
			st.resyncs.want(st.kernel.ring.Produced()) // the ids of tasks are not what is known
		}
		for _, skipped := range m.Skipped {
			if err := st.tellSkipped(m.Hook, skipped); err != nil {
				return err
			}
		}
	}
	return nil
}

const onlyInit = taskwatch.Kinds(1 << taskwatch.Init)

// tellInits delivers as lost the inits of a tree or a cgroup that the kernel has
// passed by. The kernel side counts tasks that were not marked at their init, those
// whose fork had begun when init was attached among them. So it is no more than the
// hook has missed; what the count is short of, comes with the next clones.
func (st *runner) tellInits(missed uint64) {
	n := min(uint64(st.kernel.control.Load(controlUntold)), missed) - st.misses.inits
	st.misses.inits += n
	st.tellLost(n)
}

// tellSkipped delivers, as a record of the module, how often it was not asked
// since the last look.
func (st *runner) tellSkipped(hook string, s kernel.Skipped) error {
	key := skip{hook, s.Module}
	n := s.Count - st.misses.alarmed[key]
	if n == 0 {
		return nil
	}
	st.misses.alarmed[key] = s.Count
	data, err := json.Marshal(struct {
		Alarm string `json:"alarm"`
		Event string `json:"event"`
		Hook  string `json:"hook"`
		Count uint64 `json:"count"`
	}{"veto skipped", s.Kinds.String(), hook, n})
	if err != nil {
		return err
	}
	at := now()
	st.feed.Deliver(taskwatch.Item{Record: &taskwatch.Record{
		Module: s.Module, Data: data, Time: st.clocks.time(at), MonoNS: at, Source: Name, Missing: taskwatch.FieldsTask,
	}})
	return nil
}
