package taskwatch_test

import (
	"testing"

	"github.com/taskwatch/taskwatch"
)

// onlySink wants all events of some tasks.
type onlySink struct {
	taskwatch.Sink
	only taskwatch.Only
}

func (s *onlySink) Only() taskwatch.Only { return s.only }

// A source leaves out a task only if nobody wants it.
func TestOnly(t *testing.T) {
	uid := func(ids ...uint32) taskwatch.Only { return taskwatch.Only{UIDs: ids} }
	none := taskwatch.NewSink(nil, func(taskwatch.Item) {}) // it gets losses alone
	for _, c := range []struct {
		name  string
		sinks []taskwatch.Only
		watch bool
		want  taskwatch.Only
	}{
		{"no sink wants all", nil, false, taskwatch.Only{}},
		{"one", []taskwatch.Only{uid(7, 3, 7)}, false, uid(3, 7)},
		{"two", []taskwatch.Only{uid(7), uid(1)}, false, uid(1, 7)},
		{"one of them wants all", []taskwatch.Only{uid(7), {}}, false, taskwatch.Only{}},
		{"a field that only one of them gives", []taskwatch.Only{{UIDs: []uint32{7}, PIDs: []int{1}}, uid(8)}, false, uid(7, 8)},
		{"fields that do not meet", []taskwatch.Only{uid(7), {PIDs: []int{1}}}, false, taskwatch.Only{}},
		{"cgroups and names", []taskwatch.Only{{CgroupIDs: []uint64{9, 2}, Comms: []string{"b"}}, {CgroupIDs: []uint64{2}, Comms: []string{"a", "b"}}}, false,
			taskwatch.Only{CgroupIDs: []uint64{2, 9}, Comms: []string{"a", "b"}}},
		{"a watcher", []taskwatch.Only{uid(7)}, true, taskwatch.Only{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var reg taskwatch.Registry
			if c.watch {
				m := &taskwatch.Module{Name: "m"}
				m.Watch(taskwatch.Exec, func(*taskwatch.Event) error { return nil })
				if err := reg.Register(m); err != nil {
					t.Fatal(err)
				}
			}
			if err := reg.Attach(none); err != nil {
				t.Fatal(err)
			}
			for _, only := range c.sinks {
				s := &onlySink{taskwatch.NewSink(taskwatch.WantAll(taskwatch.AllKinds), func(taskwatch.Item) {}), only}
				if err := reg.Attach(s); err != nil {
					t.Fatal(err)
				}
			}
			if got := reg.Feed().Only(); !got.Equal(c.want) {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestOnlyCovers(t *testing.T) {
	all, one, two := taskwatch.Only{}, taskwatch.Only{UIDs: []uint32{1}}, taskwatch.Only{UIDs: []uint32{1, 2}}
	named := taskwatch.Only{UIDs: []uint32{1}, Comms: []string{"a"}}
	for _, c := range []struct {
		a, b taskwatch.Only
		want bool
	}{
		{all, all, true}, {all, named, true}, {one, all, false}, {two, one, true}, {one, two, false}, {one, named, true}, {named, one, false}, {named, named, true},
	} {
		if got := c.a.Covers(c.b); got != c.want {
			t.Errorf("%+v covers %+v: %v, want %v", c.a, c.b, got, c.want)
		}
		for _, x := range []taskwatch.Only{c.a, c.b} {
			if or := c.a.Or(c.b); !or.Covers(x) {
				t.Errorf("%+v does not cover %+v", or, x)
			}
		}
		if and := c.a.And(c.b); !c.a.Covers(and) && !c.b.Covers(and) {
			t.Errorf("%+v is within neither %+v nor %+v", and, c.a, c.b)
		}
	}
}
