package bpf

import (
	"encoding/binary"
	"fmt"

	"github.com/taskwatch/taskwatch"
)

// choice is one key of the kernel side's map of choices.
type choice struct {
	By, Reserved uint32
	Value        [16]byte // a number in the machine's byte order, or a comm
}

func numberChoice(by uint32, n uint64) (c choice) {
	c.By = by
	binary.NativeEndian.PutUint64(c.Value[:], n)
	return c
}

// choicesOf returns the keys that stand for what is wanted.
func choicesOf(only taskwatch.Only) map[choice]bool {
	keys := map[choice]bool{}
	for _, uid := range only.UIDs {
		keys[numberChoice(chosenUID, uint64(uid))] = true
	}
	for _, pid := range only.PIDs {
		keys[numberChoice(chosenPID, uint64(pid))] = true
	}
	for _, id := range only.CgroupIDs {
		keys[numberChoice(chosenCgroup, id)] = true
	}
	for _, comm := range only.Comms {
		c := choice{By: chosenComm}
		copy(c.Value[:], comm)
		keys[c] = true
	}
	return keys
}

// narrow has the kernel side leave out tasks that nobody wants. It reports
// whether that is other tasks than before.
func (st *runner) narrow(kinds taskwatch.Kinds) (changed bool, err error) {
	if !st.src.cfg.Narrow {
		return false, nil
	}
	if kinds == 0 {
		st.only, st.chosen, st.uidsUnseen = taskwatch.Only{}, false, false
		return false, nil
	}
	only := st.wanted()
	if st.chosen && only.Equal(st.only) {
		return false, nil
	}
	// What was not left out before is known, but the kernel side does
	// not know it.
	unmarked := st.chosen && st.only.All()
	if changed, err = st.chosen, st.kernel.choose(only); err != nil {
		return changed, err
	}
	st.only, st.chosen = only, true
	switch {
	case only.All():
		st.resyncs.forget = false
	case unmarked:
		st.resyncs.forget, st.resyncs.forgetNS = true, now()
	}
	return changed, nil
}

// wanted returns which tasks somebody may want, as far as the kernel side can
// tell them. What modules in the kernel say may be about any task.
func (st *runner) wanted() taskwatch.Only {
	only := st.feed.Only()
	if st.kernel.table.Called() > 0 {
		return taskwatch.Only{}
	}
	// A task comes in when it has the wanted id. So the changes of user ids must
	// be seen as they happen, with the ids before, which on_sys_exit does not
	// tell.
	if st.uidsUnseen || st.kernel.bySyscall() || st.kernel.instead {
		only.UIDs = nil
	}
	if only.Len() > maxChoices/2 { // the old ones and the new ones have room together
		return taskwatch.Only{}
	}
	return only
}

// choose tells the kernel side which tasks are wanted. Meanwhile it takes those
// that are wanted before and after.
func (k *half) choose(only taskwatch.Only) error {
	choices := k.beside.Maps[streamMapChoices]
	keys := choicesOf(only)
	var by uint32
	for key := range keys {
		by |= key.By
		if k.choices[key] {
			continue
		}
		if err := choices.Put(key, uint32(1)); err != nil {
			return fmt.Errorf("bpf: choose tasks: %w", err)
		}
	}
	k.control.Store(controlChoice, by)
	k.follow = 0
	if by&chosenUID != 0 {
		k.follow = taskwatch.KindsOf(taskwatch.UID)
	}
	old := k.choices
	k.choices = keys
	for key := range old {
		if keys[key] {
			continue
		}
		if err := choices.Delete(key); err != nil {
			return fmt.Errorf("bpf: choose tasks: %w", err)
		}
	}
	return nil
}

// entered adds a task that is chosen in the middle of its life, with what it is
// so far.
func (st *runner) entered(r *record) {
	e := st.tasks.find(r)
	switch {
	case e == nil:
		e = st.stateOf(r)
	case e.generation == st.tasks.generation:
		return // the iterator was faster
	default: // it was known before it was left out, if only for a moment
		e.generation = st.tasks.generation
		e.task.UID, e.task.GID = r.uid, r.gid
	}
	if !e.kthread {
		e.takeProgram(r)
	}
	st.refresh(e, r)
	if e.task.ArgvCut {
		st.describe(e) // the kernel side sends the beginning
	}
}
