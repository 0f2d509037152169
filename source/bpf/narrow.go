package bpf

import (
	"fmt"

	"github.com/taskwatch/taskwatch"
)

// choice is one key of the kernel side's map of choices.
type choice struct{ By, Value uint32 }

// narrow has the kernel side leave out tasks that nobody wants. It chooses once,
// and takes all tasks when that changes, until nothing is watched any more: the
// tasks that were left out are found by a resync. It reports whether that is
// needed.
//
// A task comes in when it has the wanted id. So the changes of user ids must be
// seen as they happen, with the ids before, which on_sys_exit does not tell.
func (st *stream) narrow(kinds taskwatch.Kinds) (widened bool, err error) {
	if !st.src.cfg.Narrow {
		return false, nil
	}
	only := st.feed.Only()
	if kinds == 0 {
		st.only, st.chosen = taskwatch.Only{}, false
		return false, nil
	}
	if !st.chosen {
		st.chosen = true
		if only.All() || only.UIDs != nil && st.kernel.bySyscall() || len(only.UIDs)+len(only.PIDs) > maxChoices {
			only = taskwatch.Only{}
		}
		st.only = only
		return false, st.kernel.choose(only)
	}
	if st.only.All() || only.Equal(st.only) && !st.kernel.instead {
		return false, nil
	}
	st.only = taskwatch.Only{}
	return true, st.kernel.choose(st.only)
}

// choose tells the kernel side which tasks are wanted.
func (k *half) choose(only taskwatch.Only) error {
	var by uint32
	k.control.Store(controlChoice, 0)
	choices := k.beside.Maps[streamMapChoices]
	put := func(key choice) error {
		by |= key.By
		if err := choices.Put(key, uint32(1)); err != nil {
			return fmt.Errorf("bpf: choose tasks: %w", err)
		}
		return nil
	}
	for _, uid := range only.UIDs {
		if err := put(choice{chosenUID, uid}); err != nil {
			return err
		}
	}
	for _, pid := range only.PIDs {
		if err := put(choice{chosenPID, uint32(pid)}); err != nil {
			return err
		}
	}
	k.follow = 0
	if by&chosenUID != 0 {
		k.follow = taskwatch.KindsOf(taskwatch.UID)
	}
	k.control.Store(controlChoice, by)
	return nil
}

// entered adds a task that is chosen in the middle of its life, with what it is
// so far.
func (st *stream) entered(r *record) {
	if st.table.find(r) != nil {
		return // the iterator was faster
	}
	e := st.entry(r)
	if !e.kthread {
		st.program(e, r)
	}
	st.refresh(e, r)
	if e.task.ArgvCut {
		st.describe(e) // the kernel side sends the beginning
	}
}
