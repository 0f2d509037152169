package watchtest

import (
	"slices"

	"github.com/taskwatch/taskwatch"
)

// overtaking is an exec by a thread that is not the leader: it takes over the
// leader's tid, and the leader ends.
type overtaking struct{ thread, leader *life }

// swapped returns the truth as it would be had the leader called exec, and the
// thread ended. It shares nothing with tr that it changes.
func (tr *truth) swapped(o overtaking) *truth {
	thread, leader := *o.thread, *o.leader
	exec := slices.IndexFunc(o.thread.wants, func(w want) bool { return w.kind == taskwatch.Exec && w.over == o.leader })
	end := slices.IndexFunc(o.leader.wants, func(w want) bool { return w.kind == taskwatch.Exit })
	last := o.thread.wants[exec-1].state
	thread.wants = slices.Clone(o.thread.wants[:exec])
	for _, w := range o.leader.wants[end:] {
		w.state = last // its names and ids are the thread's
		thread.wants = append(thread.wants, w)
	}
	leader.wants = slices.Concat(o.leader.wants[:end], o.thread.wants[exec:])

	as := map[*life]*life{o.thread: &thread, o.leader: &leader}
	s := *tr
	s.lives = nil
	for _, l := range tr.lives {
		copied := as[l]
		if copied == nil {
			c := *l
			copied = &c
			as[l] = copied
		}
		s.lives = append(s.lives, copied)
	}
	for _, l := range s.lives {
		if l.maker != nil {
			l.maker = as[l.maker]
		}
	}
	return &s
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
		if len(c.compare(tr.swapped(o), events)) == 0 {
			return &o, true
		}
	}
	return nil, false
}
