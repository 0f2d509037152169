package watchtest

import (
	"slices"

	"github.com/taskwatch/taskwatch"
)

// overtaking is an exec by a thread that is not the leader: it takes over the
// leader's tid, and the leader ends.
type overtaking struct{ thread, leader *life }

// swap makes the truth what it would be had the leader called exec, and the
// thread ended, until undo is called.
func (o overtaking) swap() (undo func()) {
	thread, leader := o.thread.wants, o.leader.wants
	exec := slices.IndexFunc(thread, func(w want) bool { return w.kind == taskwatch.Exec && w.over == o.leader })
	end := slices.IndexFunc(leader, func(w want) bool { return w.kind == taskwatch.Exit })
	ends := slices.Clone(leader[end:])
	for i := range ends {
		ends[i].state = thread[exec-1].state // its names and ids are the thread's
	}
	o.thread.wants = slices.Concat(thread[:exec], ends)
	o.leader.wants = slices.Concat(leader[:end], thread[exec:])
	return func() { o.thread.wants, o.leader.wants = thread, leader }
}

// overtakings returns those of the run, in their order.
func (tr *truth) overtakings() (list []overtaking) {
	for _, l := range tr.lives {
		for _, w := range l.wants {
			if w.over != nil {
				list = append(list, overtaking{l, w.over})
			}
		}
	}
	return list
}

// forgiven reports whether the events are right if one exec by a thread was
// one by its leader: see Config.LeaderExecs.
func (c *comparison) forgiven(tr *truth, events []seen) (*overtaking, bool) {
	for _, o := range tr.overtakings() {
		undo := o.swap()
		problems := c.compare(tr, events)
		undo()
		if len(problems) == 0 {
			return &o, true
		}
	}
	return nil, false
}
