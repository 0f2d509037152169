package bpf

// departed are the tasks that have left the table last. What a module says of one at
// its exit or free comes right behind the record with which it leaves; what other
// processors do stands between, and is less than this.
type departed struct {
	last [256]*entry
	next int
}

func (d *departed) add(e *entry) {
	d.last[d.next] = e
	d.next = (d.next + 1) % len(d.last)
}

// find returns the entry that a record is about, or nil.
func (d *departed) find(r *record) *entry {
	for _, e := range d.last {
		if e != nil && e.addr == r.task && e.start == r.start {
			return e
		}
	}
	return nil
}
