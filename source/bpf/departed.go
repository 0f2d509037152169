package bpf

// departed are the tasks that have gone last. What a module says of one at
// its exit or free comes right behind the record with which it leaves; what other
// processors do stands between, and is less than this.
type departed struct {
	last [256]*taskState
	next int
}

func (d *departed) add(e *taskState) {
	d.last[d.next] = e
	d.next = (d.next + 1) % len(d.last)
}

// find returns the state of the task that a record is about, or nil.
func (d *departed) find(r *record) *taskState {
	for _, e := range d.last {
		if e != nil && e.addr == r.task && e.start == r.start {
			return e
		}
	}
	return nil
}
