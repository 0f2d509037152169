package filter

import (
	"time"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/interpreter"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/enrich"
	"github.com/taskwatch/taskwatch/internal/names"
	"github.com/taskwatch/taskwatch/process"
)

// item is the item of an expression: the variables by name.
type item struct {
	ev       *taskwatch.Event
	task     *taskwatch.Task
	kind     string
	all, has taskwatch.Fields // what the kind has, and what of it is known
	proc     *process.Process // nil where that is unknown
	unborn   bool             // proc is the maker of a task that has no pid yet
	probing  bool             // nothing is known but the kind

	places enrich.Places
	names  *enrich.Names // nil where no runtime is asked

	root, self, parent, container object
	groups                        []object        // as groupClasses
	copy                          taskwatch.Event // for what is no event
}

func newItem() *item {
	it := new(item)
	it.root = object{class: eventClass, item: it}
	it.self = object{class: selfClass, item: it}
	it.container = object{class: containerClass, item: it}
	it.parent = object{class: processClass, item: it}
	for _, c := range groupClasses {
		it.groups = append(it.groups, object{class: c, item: it})
	}
	return it
}

// nobody is the task of an item without one: all its fields are missing.
var nobody = new(taskwatch.Task)

// set makes the item refer to an event, or something similar.
func (it *item) set(kind string, ev *taskwatch.Event, all taskwatch.Fields) {
	it.ev, it.task, it.kind = ev, ev.Task, kind
	it.all = all
	it.has = all &^ ev.Missing
	if optional := all & taskwatch.OptionalFields; optional != 0 {
		it.has &^= optional
		if ev.Extra != nil {
			it.has |= ev.Extra.Given & optional &^ ev.Missing
		}
	}
	if it.task == nil {
		it.task = nobody
		it.has &^= taskwatch.FieldsTask
	}
}

// ResolveName returns a variable.
func (it *item) ResolveName(name string) (any, bool) {
	if name == theEvent {
		return &it.root, true
	}
	f := eventClass.fields[name]
	if f == nil {
		return nil, false
	}
	return f.value(&it.root), true
}

// Parent is for activations within others; this is none.
func (it *item) Parent() interpreter.Activation { return nil }

// place returns where the task is, by its cgroup.
func (it *item) place() enrich.Place { return it.places.Locate(it.task.Cgroup) }

var unknownName = types.NewUnknown(1, types.NewAttributeTrail("container"))

// named returns something that the runtime knows about a container. Outside of
// containers it is empty.
func named(get func(enrich.Container) ref.Val) func(*object) ref.Val {
	return func(o *object) ref.Val {
		id := o.item.place().ID
		if id == "" {
			return get(enrich.Container{})
		}
		if o.item.names != nil {
			if c, ok := o.item.names.Of(id); ok {
				return get(c)
			}
		}
		return unknownName
	}
}

// containerUser returns what a container calls the user. It is found by the
// task's process.
func containerUser(o *object) ref.Val {
	const fields = taskwatch.FieldUID | taskwatch.FieldPID | taskwatch.FieldCgroup
	it := o.item
	switch {
	case !it.all.Has(fields):
		return noContainerUser
	case !it.has.Has(fields):
		return unknownName
	}
	id := it.place().ID
	if id == "" {
		return types.String("")
	}
	if it.names != nil {
		if name, ok := it.names.User(id, it.task.PID, it.task.UID[taskwatch.RealID]); ok {
			return types.String(name)
		}
	}
	return unknownName
}

var noContainerUser = types.NewErr("container.user: events of this kind do not have it")

func list[T any](values []T, val func(T) ref.Val) ref.Val {
	out := make([]ref.Val, len(values))
	for i, v := range values {
		out[i] = val(v)
	}
	return types.NewRefValList(types.DefaultTypeAdapter, out)
}

func boolean(get func(*item) bool) func(*object) ref.Val {
	return func(o *object) ref.Val { return types.Bool(get(o.item)) }
}

func text(get func(*item) string) func(*object) ref.Val {
	return func(o *object) ref.Val { return types.String(get(o.item)) }
}

func number(get func(*item) int64) func(*object) ref.Val {
	return func(o *object) ref.Val { return types.Int(get(o.item)) }
}

func duration(get func(*item) int64) func(*object) ref.Val {
	return func(o *object) ref.Val { return types.Duration{Duration: time.Duration(get(o.item))} }
}

func user(get func(*item) uint32) func(*object) ref.Val {
	return func(o *object) ref.Val { return types.String(names.Host.User.Of(get(o.item))) }
}

func group(get func(*item) uint32) func(*object) ref.Val {
	return func(o *object) ref.Val { return types.String(names.Host.Group.Of(get(o.item))) }
}

// maker returns the creator of the item's process, and whether the item can have
// one.
func (it *item) maker() (p *process.Process, has bool) {
	switch {
	case it.proc == nil:
		return nil, true
	case it.unborn:
		return it.proc, true
	case it.proc.Parent() != nil:
		return it.proc.Parent(), true
	}
	return nil, it.proc.PID != 1
}

// noParent is the parent of init.
var noParent = types.NewErr("parent: the first process has none")

func parentOf(o *object) ref.Val {
	p, has := o.item.maker()
	switch {
	case !has:
		return noParent
	case p == nil:
		return unknownParent
	}
	o.item.parent.proc = p
	return &o.item.parent
}

var (
	unknownParent = types.NewUnknown(1, types.NewAttributeTrail("parent"))
	unknownTree   = types.NewUnknown(1, types.NewAttributeTrail("tree"))
)

// inTree returns whether the item's process or one of its ancestors has this
// pid.
func inTree(self, pid ref.Val) ref.Val {
	o, ok := self.(*object)
	n, isInt := pid.(types.Int)
	if !ok || !isInt {
		return types.MaybeNoSuchOverloadErr(pid)
	}
	it := o.item
	if it.probing || it.proc == nil {
		return unknownTree
	}
	p := it.proc
	for ; ; p = p.Parent() {
		if int64(p.PID) == int64(n) {
			return types.True
		}
		if p.Parent() == nil {
			break
		}
	}
	if p.PID == 1 || p.PID == 2 { // init, and the kernel's own
		return types.False
	}
	return unknownTree
}
